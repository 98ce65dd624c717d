#!/usr/bin/env python3
"""train.py - train the demonstration model from nothing, stage by stage

    train.py STAGE --state DIR [--scale S] [--steps N]

Stages, each from what the ones before left in DIR: `vae` (steps of both halves of the
autoencoder), `latents` (encode clips, fold their statistics into the autoencoder), `dit`
(text encoder and transformer together; run again, it continues until all steps are
done), `export` (the model folder, DIR/model). `run.sh` runs them all. Steps and seeds are
fixed; --scale 0.01 makes everything small, to try the path. Progress goes to DIR/log.
"""
import argparse
import copy
import json
import math
import os
import time

import numpy
import torch
from torch.nn import functional as F

from dit import DiT
from export import export
from text import Text
from tokens import PAD, Tokens
from vae import VAE
from world import FRAMES, HELD_OUT, World

VAE_BASE = 24
TEXT = dict(d=192, ffn=512, heads=3, layers=3)
DIT = dict(d=256, ffn=1024, layers=8)
VAE_STEPS, VAE_BATCH, VAE_FRAMES, VAE_WINDOW = 5000, 32, 9, 64
DIT_STEPS, DIT_TOKENS, DIT_STAGE = 16000, 82000, 8000
LONG_CLIPS, SHORT_CLIPS, SHORT_FRAMES = 12000, 36000, 17
PHRASINGS, PROMPT = 4, 96
LENGTHS, SHARES = (5, 7, 9, 13), (0.5, 0.15, 0.2, 0.15)
EMA, DROP_CAPTION, SHIFT = 0.9995, 0.1, 3.0

torch.set_float32_matmul_precision("high")


class Run:
    """What every stage needs: the place of its state, the device, a log."""

    def __init__(self, options):
        self.state, self.scale = options.state, options.scale
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.begin = time.time()
        self.options = options
        os.makedirs(self.state, exist_ok=True)

    def count(self, n):
        return max(2, round(n * self.scale))

    def path(self, name):
        return os.path.join(self.state, name)

    def save(self, name, value):
        torch.save(value, self.path(name + ".new"))
        os.replace(self.path(name + ".new"), self.path(name))

    def load(self, name):
        return torch.load(self.path(name), map_location=self.device, weights_only=True)

    def log(self, stage, **values):
        line = json.dumps({"stage": stage, "seconds": round(time.time() - self.begin, 1),
                           **values})
        print(line, flush=True)
        with open(self.path("log"), "a") as f:
            f.write(line + "\n")

    def work(self):
        return torch.autocast(self.device, torch.bfloat16)


def rate(step, steps, peak, warm=300):
    """Linear at first, then a cosine down to a hundredth."""
    if step < warm:
        return peak * (step + 1) / warm
    x = (step - warm) / max(1, steps - warm)
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1, x))) / 2)


def pixels(clips, device):
    """u8 [n,t,h,w,3] to [n,3,t,h,w] from -1 to 1"""
    x = torch.from_numpy(clips).to(device, non_blocking=True)
    return x.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def psnr(a, b):
    error = (a.clamp(-1, 1) - b).square().mean(dim=(1, 2, 3, 4)) / 4
    return (-10 * error.log10()).mean().item()


# ---- the autoencoder -----------------------------------------------------------------

def windows(clips, rng):
    """A window of each clip, in space and time: most hold the edge of something."""
    out = numpy.empty((len(clips), VAE_FRAMES, VAE_WINDOW, VAE_WINDOW, 3), numpy.uint8)
    for i, clip in enumerate(clips):
        t = rng.integers(0, clip.shape[0] - VAE_FRAMES + 1)
        y, x = rng.integers(0, clip.shape[1] - VAE_WINDOW + 1, 2)
        out[i] = clip[t:t + VAE_FRAMES, y:y + VAE_WINDOW, x:x + VAE_WINDOW]
    return out


def vae_batches(world, batch, steps):
    """Drawn by threads while the device works on the one before."""
    from concurrent.futures import ThreadPoolExecutor

    def one(step):
        rng = numpy.random.default_rng([11, step])
        first = HELD_OUT + 1000000 + step * batch
        return windows(world.clips(range(first, first + batch), FRAMES // 2), rng)

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(one, s) for s in range(min(4, steps))]
        for step in range(steps):
            clips = waiting.pop(0).result()
            if step + 4 < steps:
                waiting.append(pool.submit(one, step + 4))
            yield step, clips


def vae_judge(run, vae, world):
    clips = pixels(world.clips(range(64 if run.scale >= 1 else 2), SHORT_FRAMES),
                   run.device)
    with torch.no_grad(), run.work():
        return sum(psnr(vae.decode(vae.encode(c[None])).float(), c[None])
                   for c in clips) / len(clips)


def stage_vae(run):
    torch.manual_seed(1)
    steps = run.options.steps or run.count(VAE_STEPS)
    batch = VAE_BATCH if run.scale >= 1 else 2
    world = World()
    vae = VAE(VAE_BASE).to(run.device)
    ema = copy.deepcopy(vae)
    opt = torch.optim.AdamW(vae.parameters(), lr=1e-3, betas=(0.9, 0.99),
                            weight_decay=1e-4)

    def both(x):
        z = vae.encode(x)
        return z, vae.decode(z + 0.05 * torch.randn_like(z))

    fast = torch.compile(both) if run.device == "cuda" else both
    for step, clips in vae_batches(world, batch, steps):
        x = pixels(clips, run.device).contiguous(memory_format=torch.channels_last_3d)
        with run.work():
            z, y = fast(x)
        difference = y.float() - x
        loss = (difference.abs().mean() + 2 * difference.square().mean()
                + 1e-4 * z.float().square().mean())
        for group in opt.param_groups:
            group["lr"] = rate(step, steps, 1e-3)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        opt.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(vae.parameters()),
                                 max(0.002, 1 / (step + 1)))
        if step % 250 == 0 or step == steps - 1:
            run.log("vae", step=step, loss=loss.item())
    run.log("vae", step=steps, psnr=round(vae_judge(run, ema, world), 2))
    run.save("vae.pt", ema.state_dict())


# ---- latents and captions ------------------------------------------------------------

def vae_load(run):
    vae = VAE(VAE_BASE).to(run.device)
    vae.load_state_dict(run.load("vae.pt"))
    return vae.eval().requires_grad_(False)


def encode(run, vae, world, first, n, frames, batch):
    out = []
    for at in range(first, first + n, batch):
        clips = world.clips(range(at, min(first + n, at + batch)), frames)
        x = pixels(clips, run.device).contiguous(memory_format=torch.channels_last_3d)
        with torch.no_grad(), run.work():
            out.append(vae.encode(x).to(torch.bfloat16).cpu())
    return torch.cat(out)


def prompts(world, tokens, first, n):
    """ids i16 [n, PHRASINGS, PROMPT] and their numbers"""
    ids = numpy.full((n, PHRASINGS, PROMPT), PAD, numpy.int16)
    lengths = numpy.zeros((n, PHRASINGS), numpy.int16)
    for i in range(n):
        for k in range(PHRASINGS):
            row = tokens.ids(world.caption(first + i, (first + i) * PHRASINGS + k))
            if len(row) > PROMPT:
                raise SystemExit(f"a caption of {len(row)} tokens; PROMPT is {PROMPT}")
            ids[i, k, :len(row)] = row
            lengths[i, k] = len(row)
    return torch.from_numpy(ids), torch.from_numpy(lengths)


def stage_latents(run):
    world, vae = World(), vae_load(run)
    tokens = Tokens(run.options.tokenizer)
    long, short = run.count(LONG_CLIPS), run.count(SHORT_CLIPS)
    sets = {}
    for name, first, n, frames, batch in (
            ("long", HELD_OUT, long, FRAMES, 8),
            ("short", HELD_OUT + long, short, SHORT_FRAMES, 24)):
        z = encode(run, vae, world, first, n, frames, batch if run.scale >= 1 else 2)
        ids, lengths = prompts(world, tokens, first, n)
        sets[name] = {"z": z, "ids": ids, "lengths": lengths}
        run.log("latents", set=name, clips=n, tokens=int(lengths.max()))
    sample = sets["short"]["z"].float().transpose(0, 1).flatten(1)
    mean, std = sample.mean(1), sample.std(1)
    for part in sets.values():
        shape = (1, -1, 1, 1, 1)
        part["z"] = ((part["z"].float() - mean.view(shape)) / std.view(shape)).to(
            torch.bfloat16)
    run.log("latents", mean=[round(v, 3) for v in mean.tolist()],
            std=[round(v, 3) for v in std.tolist()])
    vae.normalise(mean.to(run.device), std.to(run.device))
    run.save("vae-final.pt", vae.state_dict())
    run.save("latents.pt", sets)


# ---- text encoder and transformer ----------------------------------------------------

class Both(torch.nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.text = Text(vocabulary, **TEXT)
        self.dit = DiT(text=TEXT["d"], **DIT)

    def forward(self, z, sigma, ids, lengths):
        return self.dit(z, sigma, self.text(ids, lengths), lengths)


def noise_levels(b, f, device):
    """sigma [b,f] and weights [b,f] of the loss. Of the clips 45 % have one level for
    all frames, 35 % one for each frame, 20 % a clean beginning, as long videos have."""
    def draw(*shape):
        u = torch.sigmoid(1.2 * torch.randn(*shape, device=device))
        u = torch.where(torch.rand(*shape, device=device) < 0.25,
                        torch.rand(*shape, device=device), u)
        return SHIFT * u / (1 + (SHIFT - 1) * u)

    kind = torch.rand(b, 1, device=device)
    sigma = torch.where(kind < 0.45, draw(b, 1).expand(b, f), draw(b, f))
    prefix = torch.randint(1, f, (b, 1), device=device)
    clean = (kind >= 0.8) & (torch.arange(f, device=device)[None] < prefix)
    sigma = torch.where(kind >= 0.8, draw(b, 1).expand(b, f), sigma)
    faint = 0.03 * torch.rand(b, 1, device=device) * (torch.rand(b, 1, device=device) < 0.5)
    return torch.where(clean, faint, sigma), (~clean).float()


def batch_draw(sets, generator, device, tokens):
    f = LENGTHS[numpy.searchsorted(numpy.cumsum(SHARES)[:-1], generator.random())]
    part = sets["long"] if f > 5 or generator.random() < 0.25 else sets["short"]
    n = part["z"].shape[0]
    b = max(2, tokens // (64 * f) // 8 * 8)
    pick = torch.from_numpy(generator.integers(0, n, b)).to(device)
    phrase = torch.from_numpy(generator.integers(0, PHRASINGS, b)).to(device)
    z = part["z"][pick, :, :f].float()
    ids, lengths = part["ids"][pick, phrase].int(), part["lengths"][pick, phrase].int()
    empty = torch.rand(b, device=device) < DROP_CAPTION
    nothing = torch.zeros_like(ids)
    nothing[:, 0] = 1
    return (z, torch.where(empty[:, None], nothing, ids),
            torch.where(empty, torch.ones_like(lengths), lengths))


def stage_dit(run):
    tokens = Tokens(run.options.tokenizer)
    steps = run.options.steps or run.count(DIT_STEPS)
    size = DIT_TOKENS if run.scale >= 1 else 2048
    torch.manual_seed(2)
    model = Both(tokens.count).to(run.device)
    ema = copy.deepcopy(model)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98),
                            weight_decay=0.01)
    done = 0
    if os.path.exists(run.path("dit.pt")):
        saved = run.load("dit.pt")
        model.load_state_dict(saved["model"])
        ema.load_state_dict(saved["ema"])
        opt.load_state_dict(saved["opt"])
        done = saved["done"]
    if run.device == "cuda":
        for block in model.dit.blocks:
            block.compile(dynamic=False)
    sets = run.load("latents.pt")
    last = min(steps, done + (run.count(DIT_STAGE)))
    total = 0.0
    for step in range(done, last):
        generator = numpy.random.default_rng([22, step])
        torch.manual_seed(1000003 * 3 + step)
        z, ids, lengths = batch_draw(sets, generator, run.device, size)
        sigma, weight = noise_levels(z.shape[0], z.shape[2], run.device)
        noise = torch.randn_like(z)
        s = sigma[:, None, :, None, None]
        with run.work():
            v = model((1 - s) * z + s * noise, sigma, ids, lengths)
        error = (v - (noise - z)).square().mean(dim=(1, 3, 4))
        loss = (error * weight).sum() / weight.sum()
        for group in opt.param_groups:
            group["lr"] = rate(step, steps, 1e-3)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()),
                                 max(1 - EMA, 1 / (step + 1)))
        if step % 250 == 0 or step == last - 1:
            run.log("dit", step=step, loss=round(loss.item(), 5))
    run.save("dit.pt", {"model": model.state_dict(), "ema": ema.state_dict(),
                        "opt": opt.state_dict(), "done": last})
    run.log("dit", done=last, of=steps)


def stage_export(run):
    tokens = Tokens(run.options.tokenizer)
    both = Both(tokens.count)
    both.load_state_dict({k: v.cpu() for k, v in run.load("dit.pt")["ema"].items()})
    vae = {k: v.cpu() for k, v in run.load("vae-final.pt").items()}
    bytes_ = export(run.path("model"), vae, both.text.state_dict(),
                    both.dit.state_dict(), run.options.tokenizer,
                    dict(dim=DIT["d"], ffn_dim=DIT["ffn"], num_heads=DIT["d"] // 128,
                         num_layers=DIT["layers"]))
    run.log("export", bytes=bytes_)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description="train the demonstration model")
    parser.add_argument("stage", choices=["vae", "latents", "dit", "export"])
    parser.add_argument("--state", required=True)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--tokenizer", default=os.path.join(here, "..", "trained",
                                                            "google", "umt5-xxl",
                                                            "spiece.model"))
    run = Run(parser.parse_args())
    globals()["stage_" + run.options.stage](run)


if __name__ == "__main__":
    main()
