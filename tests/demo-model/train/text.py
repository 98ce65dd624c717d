"""text.py - the UMT5 encoder with the published names"""
import torch
from torch import nn
from torch.nn import functional as F

BUCKETS, LONGEST = 32, 128


class Norm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


def bucket(relative):
    """encoders-vae-formats 2.4; the steps are exact integers."""
    m = relative.abs()
    far = 8 + sum((m >= step).long() for step in (12, 16, 23, 32, 46, 64, 91))
    return torch.where(relative > 0, 16, 0) + torch.where(m < 8, m, far)


class Position(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.embedding = nn.Embedding(BUCKETS, heads)

    def forward(self, n, device):
        at = torch.arange(n, device=device)
        return self.embedding(bucket(at[None, :] - at[:, None])).permute(2, 0, 1)


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        for name in "qkvo":
            setattr(self, name, nn.Linear(d, d, bias=False))

    def forward(self, x, bias):
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for layer in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), scale=1.0)
        return self.o(y.transpose(1, 2).flatten(-2))


class FFN(nn.Module):
    def __init__(self, d, ffn):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(d, ffn, bias=False))
        self.fc1 = nn.Linear(d, ffn, bias=False)
        self.fc2 = nn.Linear(ffn, d, bias=False)

    def forward(self, x):
        return self.fc2(self.fc1(x) * F.gelu(self.gate(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, d, ffn, heads):
        super().__init__()
        self.norm1, self.norm2 = Norm(d), Norm(d)
        self.attn = Attention(d, heads)
        self.pos_embedding = Position(heads)
        self.ffn = FFN(d, ffn)

    def forward(self, x, hidden):
        bias = self.pos_embedding(x.shape[1], x.device) + hidden
        x = x + self.attn(self.norm1(x), bias)
        return x + self.ffn(self.norm2(x))


class Text(nn.Module):
    """ids [b,n] and lengths [b] to rows [b,n,d], zero past the length."""

    def __init__(self, vocabulary, d, ffn, heads, layers):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, d)
        self.blocks = nn.ModuleList(Block(d, ffn, heads) for _ in range(layers))
        self.norm = Norm(d)
        for block in self.blocks:
            nn.init.normal_(block.attn.q.weight, std=(d * d / heads) ** -0.5)
            nn.init.normal_(block.pos_embedding.embedding.weight, std=0.5)

    def forward(self, ids, lengths):
        there = torch.arange(ids.shape[1], device=ids.device)[None] < lengths[:, None]
        hidden = torch.where(there, 0.0, -1e9)[:, None, None, :]
        x = self.token_embedding(ids)
        for block in self.blocks:
            x = block(x, hidden)
        return self.norm(x) * there[..., None]
