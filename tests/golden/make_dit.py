"""make_dit - tiny diffusion transformers in both layouts, and their velocities

Models (all: 16 channels, text_dim 48 = width of the tiny text encoder, 2 blocks):
  wan_a   4 heads of 20, ffn 150, text_len 512   original and diffusers layout
  wan_b   3 heads of 14, ffn 101, text_len 12    original layout
  sky_fps 5 heads of 8,  ffn 91,  text_len 512, fps embedding   both layouts

The velocities come from diffusers' own classes with two repairs: the time sinusoid is
computed in fp64, and every widening to fp32 widens to fp64. Per-frame timesteps reach
the Wan class as one value per token (its TI2V path) and the SkyReels class through
enable_diffusion_forcing, without block mask. spec_dit.py must agree to 1e-12.
"""

import torch
from diffusers import SkyReelsV2Transformer3DModel, WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

from common import (fill, fp64_everywhere, generator, path, randn, rel_l2, save,
                    save_json, save_sharded, stored)
from spec_dit import SpecDit, sinusoid

TEXT_DIM = 48
MODELS = {
    "wan_a": dict(heads=4, head_dim=20, ffn=150, text_len=512, fps=False, both=True),
    "wan_b": dict(heads=3, head_dim=14, ffn=101, text_len=12, fps=False, both=False),
    "sky_fps": dict(heads=5, head_dim=8, ffn=91, text_len=512, fps=True, both=True),
}
# model, (frames, height, width), timesteps (one or per frame), prompt rows, fps
CASES = [
    ("wan_a", (3, 6, 10), [955], 7, 24),
    ("wan_a", (1, 2, 2), [999], 1, 24),
    ("wan_a", (2, 4, 14), [216], 33, 24),
    ("wan_a", (3, 6, 10), [0, 437, 999], 12, 24),
    ("wan_a", (5, 6, 2), [20, 20, 888, 959, 999], 3, 24),
    ("wan_b", (3, 6, 10), [1000], 5, 24),
    ("wan_b", (2, 4, 14), [92], 12, 24),
    ("wan_b", (1, 2, 2), [937.5], 12, 24),
    ("wan_b", (5, 10, 6), [0, 0, 302, 978, 999], 11, 24),
    ("sky_fps", (3, 6, 10), [799], 9, 16),
    ("sky_fps", (3, 6, 10), [799], 9, 24),
    ("sky_fps", (1, 2, 2), [363], 2, 24),
    ("sky_fps", (7, 2, 6), [0, 216, 470, 773, 922, 986, 999], 21, 24),
    ("sky_fps", (4, 4, 14), [20, 20, 948, 999], 6, 16),
]
RENAME = [  # original part -> diffusers part, all applied in this order
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
    ("head.modulation", "scale_shift_table"), ("head.head", "proj_out"),
    (".modulation", ".scale_shift_table"), (".norm3.", ".norm2."),
    (".self_attn.o.", ".attn1.to_out.0."), (".cross_attn.o.", ".attn2.to_out.0."),
    (".self_attn.norm_", ".attn1.norm_"), (".cross_attn.norm_", ".attn2.norm_"),
    (".self_attn.", ".attn1.to_"), (".cross_attn.", ".attn2.to_"),
    (".ffn.0.", ".ffn.net.0.proj."), (".ffn.2.", ".ffn.net.2."),
    ("fps_projection.0.", "fps_projection.net.0.proj."),
    ("fps_projection.2.", "fps_projection.net.2."),
]


def original_shapes(m):
    d, ffn = m["heads"] * m["head_dim"], m["ffn"]
    s = {"patch_embedding.weight": (d, 16, 1, 2, 2), "patch_embedding.bias": (d,),
         "head.modulation": (1, 2, d)}

    def linear(name, n_out, n_in):
        s[name + ".weight"], s[name + ".bias"] = (n_out, n_in), (n_out,)

    linear("text_embedding.0", d, TEXT_DIM)
    linear("text_embedding.2", d, d)
    linear("time_embedding.0", d, 256)
    linear("time_embedding.2", d, d)
    linear("time_projection.1", 6 * d, d)
    linear("head.head", 64, d)
    for i in range(2):
        n = f"blocks.{i}."
        s[n + "modulation"] = (1, 6, d)
        s[n + "norm3.weight"] = s[n + "norm3.bias"] = (d,)
        for a in ("self_attn", "cross_attn"):
            for p in "qkvo":
                linear(f"{n}{a}.{p}", d, d)
            s[f"{n}{a}.norm_q.weight"] = s[f"{n}{a}.norm_k.weight"] = (d,)
        linear(n + "ffn.0", ffn, d)
        linear(n + "ffn.2", d, ffn)
    if m["fps"]:
        s["fps_embedding.weight"] = (2, d)
        linear("fps_projection.0", d, d)
        linear("fps_projection.2", 6 * d, d)
    return {k: torch.empty(v) for k, v in s.items()}


def scale_of(name, shape):
    """Large enough that no bias, norm or modulation can be dropped unnoticed."""
    if "norm" in name and name.endswith("weight"):
        return 0.25, 1.0
    if name.endswith("bias"):
        return 0.2, 0.0
    if "modulation" in name:
        return 0.3, 0.0
    if name == "fps_embedding.weight":
        return 1.0, 0.0
    fan_in = torch.Size(shape[1:]).numel()
    return fan_in ** -0.5, 0.0


def original_config(m):
    c = {"_class_name": "WanModel", "_diffusers_version": "0.30.0",
         "dim": m["heads"] * m["head_dim"], "eps": 1e-06, "ffn_dim": m["ffn"],
         "freq_dim": 256, "in_dim": 16, "model_type": "t2v", "num_heads": m["heads"],
         "num_layers": 2, "out_dim": 16, "text_len": m["text_len"]}
    if m["fps"]:
        c["inject_sample_info"] = True
    return c


def diffusers_config(m):
    c = {"_class_name": "WanTransformer3DModel", "_diffusers_version": "0.33.0",
         "added_kv_proj_dim": None, "attention_head_dim": m["head_dim"],
         "cross_attn_norm": True, "eps": 1e-06, "ffn_dim": m["ffn"], "freq_dim": 256,
         "image_dim": None, "in_channels": 16, "num_attention_heads": m["heads"],
         "num_layers": 2, "out_channels": 16, "patch_size": [1, 2, 2],
         "pos_embed_seq_len": None, "qk_norm": "rms_norm_across_heads",
         "rope_max_seq_len": 1024, "text_dim": TEXT_DIM}
    if m["fps"]:
        c["_class_name"] = "SkyReelsV2Transformer3DModel"
        c["inject_sample_info"] = True
        c["num_frame_per_block"] = 1
    return c


def to_diffusers(name):
    for old, new in RENAME:
        name = name.replace(old, new)
    return name


def make_model(name, seed):
    """Writes the folders; returns (config, fp64 state with original names)."""
    m = MODELS[name]
    state = fill(original_shapes(m), generator(seed), scale_of)
    config = original_config(m)
    save_json(config, "dit", name, "original", "config.json")
    save(stored(state), "dit", name, "original",
         "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    if m["both"]:
        renamed = {to_diffusers(k): v for k, v in stored(state).items()}
        save_json(diffusers_config(m), "dit", name, "transformer", "config.json")
        save_sharded(renamed, 3, "diffusion_pytorch_model", "dit", name, "transformer")
    return config, state


class Sinusoid64(torch.nn.Module):
    def forward(self, t):
        return sinusoid(t.flatten(), 256).reshape(*t.shape, 256)


def library_model(name, state):
    """The diffusers class in fp64 with our weights."""
    m = MODELS[name]
    cls = SkyReelsV2Transformer3DModel if m["fps"] else WanTransformer3DModel
    config = {k: v for k, v in diffusers_config(m).items() if not k.startswith("_")}
    torch.set_default_dtype(torch.float64)
    with fp64_everywhere():
        model = cls(**config).eval()
    torch.set_default_dtype(torch.float32)
    model.load_state_dict({to_diffusers(k): v for k, v in state.items()}, strict=True)
    model.condition_embedder.timesteps_proj = Sinusoid64()
    for p in list(model.parameters()) + list(model.buffers()):
        assert p.dtype == torch.float64
    return model


def library_velocity(model, name, latent, t, context, fps):
    m = MODELS[name]
    pad = context.new_zeros(m["text_len"] - len(context), TEXT_DIM)
    ctx = torch.cat([context, pad])[None]
    per_frame = len(t) > 1
    kw = {}
    if m["fps"]:
        kw = dict(fps=[0 if fps == 16 else 1], enable_diffusion_forcing=per_frame)
        t = t[None] if per_frame else t
    elif per_frame:
        t = t.repeat_interleave(latent.shape[2] * latent.shape[3] // 4)[None]
    with torch.no_grad(), fp64_everywhere():
        return model(latent[None], t, ctx, return_dict=False, **kw)[0][0]


def check_folder(name, state):
    """The published loader and the published converter give the same numbers."""
    cls = SkyReelsV2Transformer3DModel if MODELS[name]["fps"] else WanTransformer3DModel
    loaded = cls.from_pretrained(path("dit", name, "transformer", ""),
                                 torch_dtype=torch.float32)
    ours = {to_diffusers(n): x for n, x in state.items()}
    for k, v in loaded.state_dict().items():
        assert bool((v.double() == ours[k]).all()), k
    if not MODELS[name]["fps"]:
        theirs = convert_wan_transformer_to_diffusers(dict(state))
        assert theirs.keys() == ours.keys()
        assert all(bool((theirs[k] == ours[k]).all()) for k in ours)


def main():
    models, worst = {}, 0.0
    for i, name in enumerate(MODELS):
        config, state = make_model(name, 100 + i)
        models[name] = (library_model(name, state), SpecDit(config, state))
        if MODELS[name]["both"]:
            check_folder(name, state)
    count = {}
    for i, (name, grid, t, rows, fps) in enumerate(CASES):
        g = generator(200 + i)
        latent, context = randn(g, 16, *grid), randn(g, rows, TEXT_DIM)
        lib, spec = models[name]
        v = library_velocity(lib, name, latent, torch.tensor(t, dtype=torch.float64),
                             context, fps)
        frames = torch.tensor(t if len(t) > 1 else t * grid[0], dtype=torch.float64)
        worst = max(worst, rel_l2(spec(latent, frames, context, fps), v))
        k = count.get(name, 0)
        count[name] = k + 1
        out = dict(latent=latent, timestep=frames, context=context, velocity=v)
        if MODELS[name]["fps"]:
            out["fps"] = torch.tensor([float(fps)], dtype=torch.float64)
        save(out, "dit", f"{name}.case{k}.safetensors")
        print(name, k, tuple(v.shape), float(v.std()))
    print("largest difference between diffusers and the formulas:", worst)
    assert worst < 1e-12


if __name__ == "__main__":
    main()
