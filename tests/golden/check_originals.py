"""check_originals - the original model code gives the stored outputs

Usage: check_originals.py SKYREELS_V2 WAN21 - clones as for make_samplers.py. Writes
nothing. The model files of Wan2.1 (transformer, VAE,
UMT5) and SkyReels-V2 (transformer) load our original-layout files strictly and run in
fp64: attention is replaced by torch's, and fp32 and bf16 read as fp64 in their code.
"""

import contextlib
import glob
import importlib
import json
import os
import sys
import types
from unittest import mock

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # their compiled helpers would stay in fp32

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from common import fp64_everywhere, path, rel_l2


FILES = {}  # all data in fp64, read before fp32 means fp64


def read_all():
    for kind, load in (("*.safetensors", load_file), ("*.pth", torch.load)):
        for file in glob.glob(path("**", kind), recursive=True):
            FILES[file] = {k: v.double() if v.is_floating_point() else v
                           for k, v in load(file).items()}


def attention(q, k, v, *args, **kwargs):
    out = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)))
    return out.transpose(1, 2)


def package(name, folder):
    """The folder as a package, without its __init__ and with stand-ins."""
    p = types.ModuleType(name)
    p.__path__ = [folder]
    sys.modules[name] = p
    a = types.ModuleType(name + ".attention")
    a.flash_attention = a.attention = attention
    t = types.ModuleType(name + ".tokenizers")
    t.HuggingfaceTokenizer = None
    sys.modules[a.__name__], sys.modules[t.__name__] = a, t


@contextlib.contextmanager
def fp64_code():
    torch.set_default_dtype(torch.float64)
    with fp64_everywhere(), mock.patch.object(torch, "float32", torch.float64), \
            mock.patch.object(torch, "bfloat16", torch.float64), torch.no_grad():
        yield
    torch.set_default_dtype(torch.float32)


def dit(cls, name):
    folder = path("dit", name, "original", "")
    with open(folder + "config.json", encoding="utf-8") as f:
        c = {k: v for k, v in json.load(f).items() if not k.startswith("_")}
    model = cls(text_dim=48, **c).eval()
    model.load_state_dict(FILES[folder + "diffusion_pytorch_model.safetensors"],
                          strict=True)
    return model


def check_wan(module, name):
    model, worst = dit(module.WanModel, name), 0.0
    for file in sorted(glob.glob(path("dit", name + ".case*"))):
        c = FILES[file]
        if bool((c["timestep"] != c["timestep"][0]).any()):
            continue
        tokens = c["latent"][0].numel() // 4
        out = model([c["latent"]], c["timestep"][:1], [c["context"]], tokens)[0]
        worst = max(worst, rel_l2(out, c["velocity"]))
    return worst


def check_sky(module, name):
    model, worst = dit(module.WanModel, name), 0.0
    for file in sorted(glob.glob(path("dit", name + ".case*"))):
        c = FILES[file]
        ctx = torch.zeros(model.text_len, 48)
        ctx[:len(c["context"])] = c["context"]
        fps = [0 if float(c["fps"]) == 16 else 1] if "fps" in c else None
        out = model(c["latent"][None], c["timestep"][None], ctx[None], fps=fps)[0]
        worst = max(worst, rel_l2(out, c["velocity"]))
    return worst


def check_vae(module):
    model = module.WanVAE_(dim=3, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2,
                           attn_scales=[],
                           temperal_downsample=[False, True, True]).eval()
    model.load_state_dict(FILES[path("vae", "Wan2.1_VAE.pth")], strict=True)
    with open(path("vae", "vae", "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    mean, std = (torch.tensor(c[k], dtype=torch.float64)
                 for k in ("latents_mean", "latents_std"))
    worst = 0.0
    for i in range(4):
        c = FILES[path("vae", f"decode.case{i}.safetensors")]
        video = model.decode(c["latent"][None], [mean, 1 / std])[0].clamp(-1, 1)
        worst = max(worst, rel_l2(video, c["video"]))
        c = FILES[path("vae", f"encode.case{i}.safetensors")]
        z = model.encode(c["video"][None], [mean, 1 / std])[0]
        worst = max(worst, rel_l2(z, c["latent"]))
    return worst


def check_t5(module):
    model = module.T5Encoder(vocab=2304, dim=48, dim_attn=40, dim_ffn=70, num_heads=4,
                             num_layers=3, num_buckets=32, shared_pos=False).eval()
    model.load_state_dict(FILES[path("umt5", "models_t5_umt5-xxl-enc-bf16.pth")],
                          strict=True)
    worst = 0.0
    for i in range(5):
        c = FILES[path("umt5", f"case{i}.safetensors")]
        n = len(c["ids"])
        ids = torch.zeros(512, dtype=torch.long)
        ids[:n] = c["ids"]
        out = model(ids[None], (torch.arange(512) < n).long()[None])[0, :n]
        worst = max(worst, rel_l2(out[::16] if n == 512 else out, c["output"]))
    return worst


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: check_originals.py SKYREELS_V2_CLONE WAN21_CLONE")
    package("sky", os.path.join(sys.argv[1], "skyreels_v2_infer/modules"))
    package("wan", os.path.join(sys.argv[2], "wan/modules"))
    read_all()
    found = {}
    with mock.patch.object(torch.cuda, "current_device", lambda: "cpu"):
        wan, vae, t5, sky = (importlib.import_module(m) for m in
                             ("wan.model", "wan.vae", "wan.t5", "sky.transformer"))
    with fp64_code():
        found["wan2.1 transformer, wan_a"] = check_wan(wan, "wan_a")
        found["wan2.1 transformer, wan_b"] = check_wan(wan, "wan_b")
        for name in ("wan_a", "wan_b", "sky_fps"):
            found["skyreels transformer, " + name] = check_sky(sky, name)
        found["wan2.1 vae (videos stored F32)"] = check_vae(vae)
        found["wan2.1 umt5"] = check_t5(t5)
    for what, worst in found.items():
        print(f"{what}: relative difference {worst:.1e}")


if __name__ == "__main__":
    main()
