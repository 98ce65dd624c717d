"""common - what all reference scripts share: seeds, fp64 runs, writing of tensors

Every script in this folder builds tiny random models, runs a published library (or,
where that is said, a forward written from the project's notes) on them in fp64 and
stores inputs and outputs for the C tests. Inputs and weights are rounded to a type that
the C program reads without loss (matrices to bf16, everything else to fp32), so that
both sides compute the same function of the same numbers.
"""

import contextlib
import json
import os

import torch
from safetensors.torch import save_file

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")


def generator(seed):
    """A seeded CPU generator; each piece of data takes its own seed."""
    return torch.Generator().manual_seed(seed)


def randn(g, *shape, scale=1.0, shift=0.0):
    """Gaussian values, rounded to fp32, returned as fp64."""
    x = torch.randn(*shape, generator=g, dtype=torch.float64) * scale + shift
    return x.float().double()


def fill(state, g, scale_of):
    """Random values for every tensor of a state dict, as fp64.

    Matrices (two or more axes longer than 1) are rounded to bf16, the rest to fp32.
    scale_of(name, shape) gives (scale, shift).
    """
    out = {}
    for name in sorted(state):
        shape = tuple(state[name].shape)
        scale, shift = scale_of(name, shape)
        x = torch.randn(*shape, generator=g, dtype=torch.float64) * scale + shift
        small = sum(n > 1 for n in shape) < 2
        out[name] = (x.float() if small else x.bfloat16()).double()
    return out


def stored(state):
    """The same values in the type they are stored in: bf16 where exact, else fp32."""
    out = {}
    for name, x in state.items():
        b = x.bfloat16()
        exact = bool((b.double() == x).all())
        out[name] = (b if exact else x.float()).contiguous()
        assert bool((out[name].double() == x).all()), name
    return out


@contextlib.contextmanager
def fp64_everywhere():
    """Libraries widen to fp32 with Tensor.float(): in this block that means fp64."""
    keep = torch.Tensor.float
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.Tensor.float = keep


def path(*parts):
    p = os.path.join(DATA, *parts)
    os.makedirs(os.path.dirname(p), exist_ok=True)
    return p


def save(tensors, *parts, metadata=None):
    save_file({k: v.contiguous() for k, v in tensors.items()}, path(*parts),
              metadata=metadata)


def save_json(obj, *parts, sort=True):
    with open(path(*parts), "w", encoding="utf-8") as f:
        json.dump(obj, f, indent=2, sort_keys=sort, ensure_ascii=False)
        f.write("\n")


def save_sharded(tensors, n_shards, stem, *folder):
    """Shards of about equal size, with the index that diffusers writes."""
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    shards, size = [{}], 0
    for name in sorted(tensors):
        t = tensors[name]
        n = t.numel() * t.element_size()
        if shards[-1] and size + n > total / n_shards and len(shards) < n_shards:
            shards.append({})
            size = 0
        shards[-1][name] = t
        size += n
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"{stem}-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        save(shard, *folder, file, metadata={"format": "pt"})
        weight_map.update({name: file for name in shard})
    save_json({"metadata": {"total_size": total}, "weight_map": weight_map},
              *folder, stem + ".safetensors.index.json")


def rel_l2(a, b):
    d = float((a - b).norm() / b.norm())
    assert d == d, "not a number"
    return d
