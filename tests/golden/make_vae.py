"""make_vae - a tiny video autoencoder in both layouts, and what it encodes and decodes

base width 3 (so 3, 6, 12, 12 channels), 16 latent channels, random weights with gammas
away from 1. diffusers' AutoencoderKLWan runs in fp64. The folder vae/ is in the
diffusers layout (bf16 where the value allows it), Wan2.1_VAE.pth is torch.save of an
OrderedDict of fp32 tensors under the original names. diffusers' own converter maps the
second onto the first, bit for bit.
"""

import collections

import torch
from diffusers import AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

from common import (fill, fp64_everywhere, generator, path, randn, save, save_json,
                    stored)

CONFIG = {
    "base_dim": 3, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2,
    "attn_scales": [], "temperal_downsample": [False, True, True], "dropout": 0.0,
    "latents_mean": [-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517,
                     1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497,
                     0.2503, -0.2921],
    "latents_std": [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
                    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160],
}
DECODE = [(1, 5, 3), (2, 3, 5), (3, 5, 1), (4, 2, 3)]        # latent frames, h, w
ENCODE = [(1, 40, 24), (5, 24, 40), (9, 8, 24), (13, 16, 8)]  # video frames, H, W


def scale_of(name, shape):
    if name.endswith("gamma"):
        return 0.25, 1.0
    if name.endswith("bias"):
        return 0.2, 0.0
    fan_in = torch.Size(shape[1:]).numel()
    gain = 0.8 if name == "decoder.conv_out.weight" else 1.0
    return gain * fan_in ** -0.5, 0.0


def original_name(name):
    """diffusers name -> name in the published file."""
    for old, new in (("post_quant_conv.", "conv2."), ("quant_conv.", "conv1.")):
        if name.startswith(old):
            return new + name[len(old):]
    side, rest = name.split(".", 1)
    part = rest.split(".")
    if part[0] == "conv_in":
        return f"{side}.conv1.{part[1]}"
    if part[0] == "norm_out":
        return f"{side}.head.0.gamma"
    if part[0] == "conv_out":
        return f"{side}.head.2.{part[1]}"
    if part[0] == "mid_block":
        n = {"resnets0": 0, "attentions0": 1, "resnets1": 2}[part[1] + part[2]]
        head, tail = f"{side}.middle.{n}", part[3:]
    elif part[0] == "down_blocks":
        head, tail = f"{side}.downsamples.{part[1]}", part[2:]
    else:
        n = 4 * int(part[1]) + (3 if part[2] == "upsamplers" else int(part[3]))
        head, tail = f"{side}.upsamples.{n}", part[4:]
    last = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3",
            "conv2": "residual.6", "conv_shortcut": "shortcut"}
    if part[1] == "attentions":
        return ".".join([head] + tail)
    return ".".join([head, last.get(tail[0], tail[0])] + tail[1:])


def make_model():
    torch.set_default_dtype(torch.float64)
    model = AutoencoderKLWan(**CONFIG).eval()
    torch.set_default_dtype(torch.float32)
    state = fill(model.state_dict(), generator(300), scale_of)
    model.load_state_dict(state, strict=True)
    save_json({"_class_name": "AutoencoderKLWan", "_diffusers_version": "0.33.0",
               **CONFIG}, "vae", "vae", "config.json")
    save(stored(state), "vae", "vae", "diffusion_pytorch_model.safetensors",
         metadata={"format": "pt"})
    pth = collections.OrderedDict(
        (original_name(k), state[k].float()) for k in model.state_dict())
    assert len(pth) == 194
    back = convert_wan_vae_to_diffusers(dict(pth))
    assert back.keys() == state.keys()
    assert all(bool((back[k].double() == state[k]).all()) for k in back)
    torch.save(pth, path("vae", "Wan2.1_VAE.pth"))
    return model


def main():
    model = make_model()
    mean = torch.tensor(CONFIG["latents_mean"], dtype=torch.float64).view(-1, 1, 1, 1)
    std = torch.tensor(CONFIG["latents_std"], dtype=torch.float64).view(-1, 1, 1, 1)
    for i, shape in enumerate(DECODE):
        latent = randn(generator(310 + i), 16, *shape)
        with torch.no_grad(), fp64_everywhere():
            video = model.decode((latent * std + mean)[None], return_dict=False)[0][0]
        clipped = float((video.abs() == 1).double().mean())
        print("decode", tuple(video.shape), float(video.std()), "clipped", clipped)
        save(dict(latent=latent, video=video.float()), "vae",
             f"decode.case{i}.safetensors")
    for i, shape in enumerate(ENCODE):
        video = randn(generator(330 + i), 3, *shape, scale=0.5).clamp(-1, 1)
        with torch.no_grad(), fp64_everywhere():
            mu = model.encode(video[None]).latent_dist.mean[0]
        print("encode", tuple(mu.shape), float(mu.std()))
        save(dict(video=video.float(), mean=mu, latent=(mu - mean) / std), "vae",
             f"encode.case{i}.safetensors")


if __name__ == "__main__":
    main()
