"""make_e2e - whole sampling runs in fp64: guided, diffusion forcing, prompt to video

Uses the models that the other scripts have written, the forwards from the formulas
(spec_dit.py, make_umt5.py: equal to the libraries to 1e-12), the solver of
spec_sampler.py (equal to the original class) and diffusers' decoder in fp64. Every run
is repeated in fp32 to see how far rounding alone moves it (printed).
"""

import json

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file

import spec_sampler as spec
from common import fp64_everywhere, generator, path, randn, rel_l2, save, save_json
from make_umt5 import spec_forward
from spec_dit import SpecDit


def load_dit(name, dtype=torch.float64):
    folder = path("dit", name, "original", "")
    with open(folder + "config.json", encoding="utf-8") as f:
        config = json.load(f)
    state = load_file(folder + "diffusion_pytorch_model.safetensors")
    return SpecDit(config, {k: v.to(dtype) for k, v in state.items()})


def guided(dit, x, t, cond, uncond, g, fps):
    u = dit(x, t, uncond, fps)
    return u + g * (dit(x, t, cond, fps) - u)


def sample(dit, x, cond, uncond, n, shift, g, solver):
    """Plain run; returns the states after every step."""
    grid = spec.dpm_schedule if solver is spec.DpmPP else spec.unipc_schedule
    times, sigmas = grid(n, shift)
    s, out = solver(sigmas), []
    for t in times:
        ts = torch.full((x.shape[1],), float(t), dtype=torch.float64)
        x = s.step(guided(dit, x, ts, cond, uncond, g, 24), x)
        out.append(x)
    return out


def force(dit, x, cond, uncond, c, ready, prefix_noise):
    """One segment of diffusion forcing; prefix_noise [rows, 16, ready, h, w]."""
    times, sigmas = spec.unipc_schedule(c["steps"], c["shift"])
    value = [999] + times + [0]
    frames, x = x.shape[1], x.clone()
    solvers = [spec.UniPC(sigmas) for _ in range(frames)]
    rows = spec.forcing_rows(frames, c["steps"], c["ar_step"], ready, c["block"])
    for row, (counters, flags) in enumerate(rows):
        t = [float(value[k]) for k in counters for _ in range(c["block"])]
        net, a = x.clone(), c["addnoise"] / 1000
        if a > 0 and ready > 0:
            net[:, :ready] = (1 - a) * x[:, :ready] + a * prefix_noise[row]
            t[:ready] = [float(c["addnoise"])] * ready
        ts = torch.tensor(t, dtype=torch.float64)
        v = guided(dit, net, ts, cond, uncond, c["guidance"], c["fps"])
        for f in range(frames):
            if flags[f // c["block"]]:
                x[:, f] = solvers[f].step(v[:, f], x[:, f].clone())
    return x, len(rows)


def as32(*tensors):
    return [None if t is None else t.float() for t in tensors]


def make_guided(cases):
    c = dict(model="wan_a", steps=10, shift=5.0, guidance=5.0)
    g = generator(600)
    noise, cond, uncond = randn(g, 16, 3, 2, 6), randn(g, 9, 48), randn(g, 14, 48)
    out = dict(noise=noise, cond=cond, uncond=uncond)
    dit, dit32 = load_dit("wan_a"), load_dit("wan_a", torch.float32)
    for name, solver in (("unipc", spec.UniPC), ("dpmpp", spec.DpmPP),
                         ("euler", spec.Euler)):
        x = sample(dit, noise, cond, uncond, 10, 5.0, 5.0, solver)
        y = sample(dit32, *as32(noise, cond, uncond), 10, 5.0, 5.0, solver)
        print("guided", name, "std", float(x[-1].std()), "fp32 is off by",
              rel_l2(y[-1].double(), x[-1]))
        out[name] = x[-1]
        if name == "unipc":
            out["unipc_after_1"], out["unipc_after_5"] = x[0], x[4]
    save(out, "e2e", "guided.safetensors")
    cases["guided"] = c


def make_forcing(name, cases, seed, frames, prefix, **c):
    c = dict(model="sky_fps", **c)
    g = generator(seed)
    h, w = 2, 4
    noise, cond, uncond = randn(g, 16, frames, h, w), randn(g, 6, 48), randn(g, 11, 48)
    x = noise.clone()
    out = dict(noise=noise, cond=cond, uncond=uncond)
    rows = len(spec.forcing_rows(frames, c["steps"], c["ar_step"], prefix, c["block"]))
    pn = None
    if prefix:
        out["prefix"] = randn(g, 16, prefix, h, w)
        x[:, :prefix] = out["prefix"]
    if prefix and c["addnoise"]:
        pn = randn(g, rows, 16, prefix, h, w)
        out["prefix_noise"] = pn.float()
    y, _ = force(load_dit("sky_fps"), x, cond, uncond, c, prefix, pn)
    z, _ = force(load_dit("sky_fps", torch.float32), *as32(x, cond, uncond), c, prefix,
                 *as32(pn))
    print(name, rows, "rows, std", float(y.std()), "fp32 is off by",
          rel_l2(z.double(), y))
    out["latents"] = y
    save(out, "e2e", name + ".safetensors")
    cases[name] = dict(c, prefix_frames=prefix, rows=rows)


def make_long(cases):
    """8 latent frames as two segments of 5 with 2 of history, chained in latents."""
    c = dict(model="sky_fps", steps=5, shift=8.0, guidance=3.0, ar_step=1, block=1,
             addnoise=20, fps=24)
    g = generator(640)
    cond, uncond = randn(g, 6, 48), randn(g, 11, 48)
    noise = [randn(g, 16, 5, 2, 4) for _ in range(2)]
    rows = len(spec.forcing_rows(5, 5, 1, 2, 1))
    pn = randn(g, rows, 16, 2, 2, 4)
    for dtype in (torch.float32, torch.float64):
        dit = load_dit("sky_fps", dtype)
        a, b, cc, uu, p = (x.to(dtype) for x in (*noise, cond, uncond, pn))
        first, _ = force(dit, a, cc, uu, c, 0, None)
        b = b.clone()
        b[:, :2] = first[:, -2:]
        second, _ = force(dit, b, cc, uu, c, 2, p)
        full = torch.cat([first, second[:, 2:]], 1)
        if dtype == torch.float32:
            keep = full.double()
    print("long, std", float(full.std()), "fp32 is off by", rel_l2(keep, full))
    save(dict(noise0=noise[0], noise1=noise[1], prefix_noise1=pn.float(), cond=cond,
              uncond=uncond, latents=full), "e2e", "forcing_long.safetensors")
    cases["forcing_long"] = dict(c, num_frames=29, base_num_frames=17,
                                 overlap_history=5)


def encode(prompt, dtype):
    with open(path("tokenizer", "prompts.jsonl"), encoding="utf-8") as f:
        ids = next(r["ids"] for r in map(json.loads, f) if r["prompt"] == prompt)
    state = torch.load(path("umt5", "models_t5_umt5-xxl-enc-bf16.pth"))
    return spec_forward({k: v.to(dtype) for k, v in state.items()}, torch.tensor(ids))


def make_pipeline(cases):
    """Prompt to video with the complete tiny model."""
    with open(path("tokenizer", "prompts.jsonl"), encoding="utf-8") as f:
        prompts = [json.loads(line)["prompt"] for line in f]
    prompt = "A cat sits on the table."
    negative = next(p for p in prompts if p.startswith("色调艳丽"))
    c = dict(model="wan_a", steps=4, shift=3.0, guidance=4.0, solver="unipc",
             prompt=prompt, negative_prompt=negative, height=16, width=48, num_frames=5)
    noise = randn(generator(650), 16, 2, 2, 6)
    vae = AutoencoderKLWan.from_pretrained(path("vae", "vae", ""),
                                           torch_dtype=torch.float32).double().eval()
    mean, std = (torch.tensor(vae.config[k], dtype=torch.float64).view(-1, 1, 1, 1)
                 for k in ("latents_mean", "latents_std"))
    for dtype in (torch.float32, torch.float64):
        cond, uncond = encode(prompt, dtype), encode(negative, dtype)
        x = sample(load_dit("wan_a", dtype), noise.to(dtype), cond, uncond, 4, 3.0, 4.0,
                   spec.UniPC)[-1]
        if dtype == torch.float32:
            keep = x.double()
    with torch.no_grad(), fp64_everywhere():
        video = vae.decode((x * std + mean)[None], return_dict=False)[0][0]
    print("pipeline", len(cond), len(uncond), "tokens, std", float(x.std()),
          "fp32 is off by", rel_l2(keep, x), "clipped",
          float((video.abs() == 1).double().mean()))
    save(dict(noise=noise, cond=cond, latents=x, video=video.float()),
         "e2e", "pipeline.safetensors")
    cases["pipeline"] = c


def make_model_folder():
    """The two small files that only the diffusers layout of the whole model has."""
    save_json({"_class_name": "WanPipeline", "_diffusers_version": "0.33.0",
               "scheduler": ["diffusers", "UniPCMultistepScheduler"],
               "text_encoder": ["transformers", "UMT5EncoderModel"],
               "tokenizer": ["transformers", "T5TokenizerFast"],
               "transformer": ["diffusers", "WanTransformer3DModel"],
               "vae": ["diffusers", "AutoencoderKLWan"]}, "model", "model_index.json")
    save_json({"_class_name": "UniPCMultistepScheduler", "_diffusers_version": "0.33.0",
               "flow_shift": 3.0, "num_train_timesteps": 1000,
               "prediction_type": "flow_prediction", "solver_order": 2,
               "solver_type": "bh2", "use_flow_sigmas": True,
               "final_sigmas_type": "zero", "lower_order_final": True,
               "predict_x0": True},
              "model", "scheduler", "scheduler_config.json")


def main():
    cases = {}
    make_model_folder()
    make_guided(cases)
    make_forcing("forcing_sync", cases, 610, 3, 1, steps=6, shift=5.0, guidance=5.0,
                 ar_step=0, block=1, addnoise=0, fps=24)
    make_forcing("forcing_lagged", cases, 620, 6, 2, steps=6, shift=8.0, guidance=5.0,
                 ar_step=2, block=2, addnoise=20, fps=16)
    make_forcing("forcing_free", cases, 630, 5, 0, steps=4, shift=8.0, guidance=1.0,
                 ar_step=3, block=1, addnoise=20, fps=24)
    make_long(cases)
    make_pipeline(cases)
    save_json(cases, "e2e", "cases.json")


if __name__ == "__main__":
    main()
