"""dit.py - the Wan transformer with the published names, one timestep per latent frame"""
import functools

import torch
from torch import nn
from torch.nn import functional as F

HEAD, FREQUENCIES, ROWS = 128, 256, 512


@functools.lru_cache
def rope_table(frames, height, width, device):
    """cos and sin [tokens, 64] of the angles of the pairs: 22 for time, 21, 21."""
    angles = []
    for pairs, length in ((22, frames), (21, height), (21, width)):
        rate = 10000.0 ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
        angles.append(torch.arange(length, dtype=torch.float64)[:, None] * rate)
    f, h, w = angles
    whole = torch.cat([f[:, None, None].expand(-1, height, width, -1),
                       h[None, :, None].expand(frames, -1, width, -1),
                       w[None, None].expand(frames, height, -1, -1)], -1).flatten(0, 2)
    return whole.cos().float().to(device), whole.sin().float().to(device)


def rotate(x, table):
    cos, sin = table
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


class RMS(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return F.rms_norm(x.float(), self.weight.shape, self.weight, 1e-6)


class Attention(nn.Module):
    def __init__(self, d):
        super().__init__()
        for name in "qkvo":
            setattr(self, name, nn.Linear(d, d))
        self.norm_q, self.norm_k = RMS(d), RMS(d)

    def forward(self, x, context, table=None, bias=None):
        q, k, v = self.norm_q(self.q(x)), self.norm_k(self.k(context)), self.v(context)
        q, k, v = (t.unflatten(-1, (-1, HEAD)).transpose(1, 2) for t in (q, k, v))
        if table is not None:
            q, k = rotate(q, table), rotate(k, table)
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v,
                                           attn_mask=bias)
        return self.o(y.transpose(1, 2).flatten(-2))


def modulated(x, shift, scale):
    """x [b,tokens,d], normalised; shift and scale [b,frames,1,d]"""
    y = F.layer_norm(x, x.shape[-1:], eps=1e-6).unflatten(1, (shift.shape[1], -1))
    return (y * (1 + scale) + shift).flatten(1, 2)


def gated(x, y, gate):
    frames = gate.shape[1]
    return (x.unflatten(1, (frames, -1)) + y.unflatten(1, (frames, -1)) * gate).flatten(1, 2)


class Block(nn.Module):
    def __init__(self, d, ffn):
        super().__init__()
        self.modulation = nn.Parameter(torch.randn(1, 6, d) * d ** -0.5)
        self.self_attn, self.cross_attn = Attention(d), Attention(d)
        self.norm3 = nn.LayerNorm(d, eps=1e-6)
        self.ffn = nn.Sequential(nn.Linear(d, ffn), nn.GELU(approximate="tanh"),
                                 nn.Linear(ffn, d))

    def forward(self, x, table, e, context, bias):
        c = (self.modulation[:, None] + e).unsqueeze(2).unbind(3)
        y = modulated(x, c[0], c[1])
        x = gated(x, self.self_attn(y, y, table), c[2])
        x = x + self.cross_attn(self.norm3(x), context, bias=bias)
        return gated(x, self.ffn(modulated(x, c[3], c[4])), c[5])


class Head(nn.Module):
    def __init__(self, d, out):
        super().__init__()
        self.modulation = nn.Parameter(torch.randn(1, 2, d) * d ** -0.5)
        self.head = nn.Linear(d, out)

    def forward(self, x, e):
        c = (self.modulation[:, None] + e[:, :, None]).unsqueeze(2).unbind(3)
        return self.head(modulated(x, c[0], c[1]))


class DiT(nn.Module):
    """Latents [b,16,f,h,w], noise levels [b,f], text rows [b,n,text] with lengths [b] to
    velocities like the latents."""

    def __init__(self, d, ffn, layers, text, channels=16):
        super().__init__()
        self.patch_embedding = nn.Conv3d(channels, d, (1, 2, 2), stride=(1, 2, 2))
        self.text_embedding = nn.Sequential(nn.Linear(text, d),
                                            nn.GELU(approximate="tanh"), nn.Linear(d, d))
        self.time_embedding = nn.Sequential(nn.Linear(FREQUENCIES, d), nn.SiLU(),
                                            nn.Linear(d, d))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(d, 6 * d))
        self.blocks = nn.ModuleList(Block(d, ffn) for _ in range(layers))
        self.head = Head(d, 4 * channels)
        nn.init.zeros_(self.head.head.weight)
        nn.init.zeros_(self.head.head.bias)

    def times(self, sigma):
        rate = 10000.0 ** (-torch.arange(FREQUENCIES // 2, dtype=torch.float64,
                                         device=sigma.device) / (FREQUENCIES // 2))
        angle = 1000.0 * sigma.double()[..., None] * rate
        e = self.time_embedding(torch.cat([angle.cos(), angle.sin()], -1).float())
        return e.float(), self.time_projection(e).float().unflatten(-1, (6, -1))

    def context(self, rows, lengths):
        """Text rows; the last one, which must be padding, stands for all of it."""
        at = torch.arange(rows.shape[1], device=rows.device)[None]
        bias = torch.where(at < lengths[:, None], 0.0, -1e9)
        bias[:, -1] = torch.log(ROWS - lengths.float())
        return self.text_embedding(rows), bias[:, None, None, :]

    def forward(self, z, sigma, rows, lengths):
        f, h, w = z.shape[2], z.shape[3] // 2, z.shape[4] // 2
        x = self.patch_embedding(z).flatten(2).transpose(1, 2).float()
        e, e0 = self.times(sigma)
        context, bias = self.context(rows, lengths)
        bias = bias.to(context.dtype)
        table = rope_table(f, h, w, z.device)
        for block in self.blocks:
            x = block(x, table, e0, context, bias)
        out = self.head(x, e).float().unflatten(1, (f, h, w)).unflatten(-1, (2, 2, -1))
        return out.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)
