"""export.py - the trained weights as a model folder in the original layout"""
import json
import os
import shutil
import struct

import torch

SHARD_BYTES = 14 << 20


def write(path, tensors):
    """One safetensors file of bf16 tensors; names in order."""
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, t in tensors:
        blob = t.to(torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
        header[name] = {"dtype": "BF16", "shape": list(t.shape),
                        "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    return at


def write_sharded(folder, stem, tensors):
    shards, size = [[]], 0
    for name, t in tensors:
        n = 2 * t.numel()
        if shards[-1] and size + n > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append((name, t))
        size += n
    where, total = {}, 0
    for i, shard in enumerate(shards):
        file = f"{stem}-{i + 1:05}-of-{len(shards):05}.safetensors"
        total += write(os.path.join(folder, file), shard)
        where.update({name: file for name, _ in shard})
    with open(os.path.join(folder, stem + ".safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": where}, f,
                  sort_keys=True, indent=1)
        f.write("\n")
    return total


def export(folder, vae, text, dit, tokenizer, sizes):
    os.makedirs(os.path.join(folder, "google", "umt5-xxl"), exist_ok=True)
    total = write_sharded(folder, "diffusion_pytorch_model", sorted(dit.items()))
    total += write_sharded(folder, "Wan2.1_VAE", sorted(vae.items()))
    total += write(os.path.join(folder, "models_t5_umt5-xxl-enc-bf16.safetensors"),
                   sorted(text.items()))
    config = dict(_class_name="WanModel", _diffusers_version="0.30.0", eps=1e-06,
                  freq_dim=256, in_dim=16, model_type="t2v", out_dim=16, text_len=512,
                  **sizes)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, sort_keys=True, indent=2)
        f.write("\n")
    place = os.path.join(folder, "google", "umt5-xxl", "spiece.model")
    if os.path.abspath(tokenizer) != os.path.abspath(place):
        shutil.copy(tokenizer, place)
    return total
