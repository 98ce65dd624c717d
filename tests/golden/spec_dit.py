"""spec_dit - the DiT forward in fp64, straight from the formulas, original tensor names

Independent of the libraries: make_dit.py requires it to agree with diffusers to 1e-12,
make_e2e.py then uses it where a library would get in the way.
"""

import math

import torch
import torch.nn.functional as F


def sinusoid(t, n):
    """Time features in fp64, cosines first; t [f] -> [f, n]."""
    half = n // 2
    w = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    a = t.double()[:, None] * w
    return torch.cat([a.cos(), a.sin()], 1)


def rope_angles(frames, height, width, head_dim):
    """Angle of every pair for every token, [tokens, head_dim / 2]."""
    side = 2 * (head_dim // 6)
    parts = []
    grid = torch.meshgrid(torch.arange(frames), torch.arange(height),
                          torch.arange(width), indexing="ij")
    for pos, dim in zip(grid, (head_dim - 2 * side, side, side)):
        w = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        parts.append(pos.reshape(-1, 1).double() * w)
    return torch.cat(parts, 1)


def rotate(x, angles):
    """x [tokens, heads, head_dim]; pairs are adjacent elements."""
    c, s = angles.cos()[:, None].to(x.dtype), angles.sin()[:, None].to(x.dtype)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2)


def rms(x, g, eps):
    return g * x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def norm(x, eps):
    m = x.mean(-1, keepdim=True)
    return (x - m) / torch.sqrt(((x - m) ** 2).mean(-1, keepdim=True) + eps)


class SpecDit:
    """config: the original config.json; state: original names, fp64 values."""

    def __init__(self, config, state):
        self.c, self.w = config, state
        self.heads, self.eps = config["num_heads"], config["eps"]

    def linear(self, x, name):
        return x @ self.w[name + ".weight"].flatten(1).T + self.w[name + ".bias"]

    def attend(self, q, k, v):
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(0, 1) for x in (q, k, v))
        p = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), -1)
        return (p @ v).transpose(0, 1).flatten(1)

    def qkv(self, x, ctx, name):
        gq, gk = self.w[name + ".norm_q.weight"], self.w[name + ".norm_k.weight"]
        q = rms(self.linear(x, name + ".q"), gq, self.eps)
        k = rms(self.linear(ctx, name + ".k"), gk, self.eps)
        return q, k, self.linear(ctx, name + ".v")

    def tables(self, t, fps):
        s = sinusoid(t, self.c["freq_dim"]).to(self.w["head.modulation"].dtype)
        e = self.linear(s, "time_embedding.0")
        e = self.linear(F.silu(e), "time_embedding.2")
        e0 = self.linear(F.silu(e), "time_projection.1")
        if "fps_embedding.weight" in self.w:
            g = self.w["fps_embedding.weight"][0 if fps == 16 else 1]
            g = F.silu(self.linear(g, "fps_projection.0"))
            g = self.linear(g, "fps_projection.2")
            e0 = e0 + g
        return e, e0.unflatten(1, (6, -1))

    def block(self, x, i, e0, ctx, angles):
        """e0 [tokens, 6, d]"""
        n = f"blocks.{i}."
        c = self.w[n + "modulation"] + e0
        u = norm(x, self.eps) * (1 + c[:, 1]) + c[:, 0]
        q, k, v = self.qkv(u, u, n + "self_attn")
        q, k = (rotate(y.unflatten(-1, (self.heads, -1)), angles).flatten(1)
                for y in (q, k))
        x = x + self.linear(self.attend(q, k, v), n + "self_attn.o") * c[:, 2]
        u = norm(x, self.eps) * self.w[n + "norm3.weight"] + self.w[n + "norm3.bias"]
        q, k, v = self.qkv(u, ctx, n + "cross_attn")
        x = x + self.linear(self.attend(q, k, v), n + "cross_attn.o")
        u = norm(x, self.eps) * (1 + c[:, 4]) + c[:, 3]
        u = F.gelu(self.linear(u, n + "ffn.0"), approximate="tanh")
        return x + self.linear(u, n + "ffn.2") * c[:, 5]

    def __call__(self, latent, t, context, fps=24):
        """latent [c, f, h, w], t [f], context [n, text_dim] -> velocity [c, f, h, w]"""
        f, h, w = latent.shape[1], latent.shape[2] // 2, latent.shape[3] // 2
        pad = context.new_zeros(self.c["text_len"] - len(context), context.shape[1])
        ctx = self.linear(torch.cat([context, pad]), "text_embedding.0")
        ctx = self.linear(F.gelu(ctx, approximate="tanh"), "text_embedding.2")
        x = latent.unflatten(2, (h, 2)).unflatten(4, (w, 2))   # c f h i w j
        x = x.permute(1, 2, 4, 0, 3, 5).reshape(f * h * w, -1)
        x = self.linear(x, "patch_embedding")
        e, e0 = self.tables(t, fps)
        e, e0 = e.repeat_interleave(h * w, 0), e0.repeat_interleave(h * w, 0)
        angles = rope_angles(f, h, w, x.shape[1] // self.heads)
        for i in range(self.c["num_layers"]):
            x = self.block(x, i, e0, ctx, angles)
        s = self.w["head.modulation"] + e[:, None]
        x = self.linear(norm(x, self.eps) * (1 + s[:, 1]) + s[:, 0], "head.head")
        x = x.reshape(f, h, w, 2, 2, -1).permute(5, 0, 1, 3, 2, 4)
        return x.reshape(-1, f, 2 * h, 2 * w)
