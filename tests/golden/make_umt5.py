"""make_umt5 - a tiny UMT5 encoder in both layouts, and its outputs

width 48 (= text width of the tiny transformers), 4 heads of 10, ffn 70, 3 layers, 2304
rows of vocabulary (2000 pieces, 300 typed extra ids, 4 spare rows: the shape of the
published model around data/tokenizer/spiece.model). transformers' UMT5EncoderModel runs
in fp64 with its norm in fp64 as well, on 512 ids with the mask, as the pipelines feed
it; only the first n rows are kept. A forward written from the formulas, on n ids and
with the integer bucket table, must agree to 1e-12.
"""

import collections
import math

import torch
import torch.nn.functional as F
from transformers import UMT5Config, UMT5EncoderModel
from transformers.models.umt5 import modeling_umt5

from common import (fill, fp64_everywhere, generator, path, rel_l2, save, save_json,
                    save_sharded, stored)

CONFIG = {
    "architectures": ["UMT5EncoderModel"], "model_type": "umt5", "d_model": 48,
    "d_kv": 10, "d_ff": 70, "num_heads": 4, "num_layers": 3, "num_decoder_layers": 3,
    "vocab_size": 2304, "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-06,
    "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
    "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0,
    "dropout_rate": 0.1, "is_encoder_decoder": True, "use_cache": True,
}
LENGTHS = [1, 7, 40, 150, 512]
ORIGINAL = {  # transformers part -> original part, all applied
    "encoder.final_layer_norm.": "norm.", "shared.": "token_embedding.",
    "encoder.block.": "blocks.", ".layer.0.layer_norm.": ".norm1.",
    ".layer.1.layer_norm.": ".norm2.",
    ".layer.0.SelfAttention.relative_attention_bias.": ".pos_embedding.embedding.",
    ".layer.0.SelfAttention.": ".attn.",
    ".layer.1.DenseReluDense.wi_0.": ".ffn.gate.0.",
    ".layer.1.DenseReluDense.wi_1.": ".ffn.fc1.",
    ".layer.1.DenseReluDense.wo.": ".ffn.fc2.",
}
ORDER = ["token_embedding", "norm1", "attn.q", "attn.k", "attn.v", "attn.o", "norm2",
         "ffn.gate.0", "ffn.fc1", "ffn.fc2", "pos_embedding"]


def original_name(name):
    for old, new in ORIGINAL.items():
        name = name.replace(old, new)
    return name


def scale_of(name, shape):
    if "norm" in name:
        return 0.25, 1.0
    if name == "shared.weight":
        return 1.0, 0.0
    if "relative_attention_bias" in name:
        return 1.0, 0.0
    return {"q": 0.4, "wo": 1.0}.get(name.split(".")[-2], 1.0) * shape[1] ** -0.5, 0.0


class Norm64(torch.nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, x):
        return self.weight * x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6)


def library_model(state):
    modeling_umt5.UMT5LayerNorm.forward = Norm64.forward
    torch.set_default_dtype(torch.float64)
    model = UMT5EncoderModel(UMT5Config(**CONFIG)).eval()
    torch.set_default_dtype(torch.float32)
    full = dict(state)
    full["encoder.embed_tokens.weight"] = full["shared.weight"]
    model.load_state_dict(full, strict=True)
    assert all(p.dtype == torch.float64 for p in model.parameters())
    return model


def bucket(rel):
    m = abs(rel)
    limits = [8, 12, 16, 23, 32, 46, 64, 91]
    b = m if m < 8 else 7 + sum(m >= n for n in limits)
    return b + (16 if rel > 0 else 0)


def spec_forward(w, ids):
    """Original names, exactly n rows, no mask."""
    n, heads = len(ids), CONFIG["num_heads"]
    buckets = torch.tensor([[bucket(c - r) for c in range(n)] for r in range(n)])

    def rms(x, g):
        return g * x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6)

    x = w["token_embedding.weight"][ids]
    for i in range(CONFIG["num_layers"]):
        b = f"blocks.{i}."
        u = rms(x, w[b + "norm1.weight"])
        q, k, v = ((u @ w[f"{b}attn.{p}.weight"].T).unflatten(1, (heads, -1))
                   .transpose(0, 1) for p in "qkv")
        bias = w[b + "pos_embedding.embedding.weight"][buckets].permute(2, 0, 1)
        y = torch.softmax(q @ k.transpose(1, 2) + bias, -1) @ v
        x = x + y.transpose(0, 1).flatten(1) @ w[b + "attn.o.weight"].T
        u = rms(x, w[b + "norm2.weight"])
        gate = F.gelu(u @ w[b + "ffn.gate.0.weight"].T, approximate="tanh")
        x = x + (u @ w[b + "ffn.fc1.weight"].T * gate) @ w[b + "ffn.fc2.weight"].T
    return rms(x, w["norm.weight"])


def make_model():
    shapes = UMT5EncoderModel(UMT5Config(**CONFIG)).state_dict()
    shapes.pop("encoder.embed_tokens.weight", None)
    state = fill(shapes, generator(400), scale_of)
    state = {k: v.bfloat16().double() for k, v in state.items()}
    save_json(CONFIG, "umt5", "text_encoder", "config.json")
    save_sharded(stored(state), 2, "model", "umt5", "text_encoder")
    named = {original_name(k): v for k, v in state.items()}

    def place(k):
        part = next((i for i, p in enumerate(ORDER) if p in k), -1)
        return k == "norm.weight", k != "token_embedding.weight", k.split(".")[1], part

    order = sorted(named, key=place)
    pth = collections.OrderedDict((k, named[k].bfloat16()) for k in order)
    torch.save(pth, path("umt5", "models_t5_umt5-xxl-enc-bf16.pth"))
    loaded = UMT5EncoderModel.from_pretrained(path("umt5", "text_encoder", ""),
                                              dtype=torch.float32)
    for k, v in state.items():
        assert bool((loaded.state_dict()[k].double() == v).all()), k
    return state, named


def main():
    state, named = make_model()
    model, worst = library_model(state), 0.0
    for i, n in enumerate(LENGTHS):
        g = generator(410 + i)
        ids = torch.randint(4, 2300, (n,), generator=g)
        ids[-1] = 1
        padded = torch.zeros(512, dtype=torch.long)
        padded[:n] = ids
        mask = (torch.arange(512) < n).long()
        with torch.no_grad(), fp64_everywhere():
            out = model(padded[None], mask[None]).last_hidden_state[0, :n]
        worst = max(worst, rel_l2(spec_forward(named, ids), out))
        keep = out if n <= 150 else out[::16]
        save(dict(ids=ids, output=keep), "umt5", f"case{i}.safetensors")
        print(n, tuple(keep.shape), float(out.std()))
    print("largest difference between transformers and the formulas:", worst)
    assert worst < 1e-12


if __name__ == "__main__":
    main()
