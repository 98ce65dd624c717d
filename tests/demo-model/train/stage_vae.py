"""stage_vae.py - train both halves of the autoencoder

Windows of clips in a few shapes that cost about the same: small and whole pictures, 5 to
49 frames, most of them with the edge of something. The loss is of the pixels; a little
noise on the latents, which are small at first and so is the noise, and a price on their
size keep them smooth and near zero.
"""
import copy
import os

import torch

import world as earth
from run import Training, fastest
from sizes import SIZES
from vae import VAE, fused

NOISE, PRICE = 0.1, 3e-4
GOOD = 0.04 # seconds of a step, below which nothing faster is looked for
HELD_OUT_CLIPS, JUDGED_FRAMES = 64, 17


def psnr(a, b):
    """Mean over clips, in dB."""
    error = (a.clamp(-1, 1) - b).square().mean(dim=(1, 2, 3, 4)) / 4
    return (-10 * error.log10()).mean().item()


class Windows:
    """Draws a rank's part of batches; `kinds` are (side, frames, clips of all ranks)."""

    def __init__(self, run, world, kinds, scenes):
        index = world.indices(earth.HELD_OUT + 1000000, scenes)
        self.clips = earth.Clips(world, index, earth.FRAMES, run.device)
        self.kinds, self.device, self.size = kinds, run.device, run.size

    def batch(self, step):
        side, frames, n = self.kinds[step % len(self.kinds)]
        n = max(1, n // self.size)
        pick = self.below(n, self.clips.n)
        first = self.below(n, earth.FRAMES - frames + 1)
        corner = self.corner(pick, first + frames // 2, side)
        x = self.clips.draw(pick, first, frames, corner[:, 1], corner[:, 0], side)
        return x.contiguous(memory_format=torch.channels_last_3d)

    def below(self, n, limit):
        return torch.randint(limit, (n,), device=self.device)

    def corner(self, pick, frame, side):
        """x and y [n,2] of windows; three of four look at a shape."""
        n, room = len(pick), earth.SIDE - side
        shape = (torch.rand(n, device=self.device) * self.clips.there[pick]).long()
        centre = self.clips.places[pick, shape, frame, :2]
        jitter = side * 0.9 * (torch.rand(n, 2, device=self.device) - 0.5)
        near = centre + jitter - side / 2
        any_ = torch.rand(n, 2, device=self.device) * room
        look = torch.rand(n, 1, device=self.device) < 0.75
        return torch.where(look, near, any_).clamp(0, room).long()


def judge(run, vae, world):
    """PSNR of whole held-out clips, with weights rounded as they are shipped."""
    rounded = copy.deepcopy(vae).eval()
    for p in rounded.parameters():
        p.data = p.data.to(torch.bfloat16).float()
    index = world.indices(0, HELD_OUT_CLIPS if run.cuda else 6)
    clips = earth.Clips(world, index, JUDGED_FRAMES, run.device)
    total = 0.0
    for i in range(clips.n):
        x = clips.whole(torch.tensor([i], device=run.device), JUDGED_FRAMES)
        with torch.no_grad(), run.work():
            total += psnr(rounded.decode(rounded.encode(x)).float(), x)
    return total / clips.n


def stage(run):
    if os.path.exists(run.path("vae-final.pt")): # latents of it are there
        return True
    torch.manual_seed(1)
    size = SIZES[run.options.size]
    world = earth.World(max(1, run.cores // run.size), size["small"])
    vae = VAE(size["vae_base"]).to(run.device)
    training = Training(run, "vae", vae, 11, run.budget("vae"), peak=size["vae_rate"],
                        betas=(0.9, 0.99), decay=1e-4)
    windows = Windows(run, world, size["vae_kinds"], size["vae_scenes"])

    def loss_of(step):
        x = windows.batch(step)
        with run.work():
            z = vae.encode(x)
            noise = NOISE * min(1.0, 4 * training.clock.share)
            y = vae.decode(z + noise * torch.randn_like(z))
        away = y.float() - x
        return (away.abs().mean() + 2 * away.square().mean()
                + PRICE * z.float().square().mean())

    def way(benchmark, compiled):
        def prepare():
            torch.backends.cudnn.benchmark = benchmark
            torch.backends.cudnn.benchmark_limit = 4
            fused(compiled)
        return prepare

    if not training.clock.done():
        ways = [("plain", way(False, False), lambda: training.gradients(loss_of, 0))]
        compiled = run.options.compile
        if compiled:
            ways.append(("fused norms", way(False, True), ways[0][2]))
        if run.cuda:
            ways.append(("tried convolutions", way(True, compiled), ways[0][2]))
        fastest(run, "vae", ways, GOOD)
        training.go(loss_of)
        if training.clock.done() and run.rank == 0:
            run.log("vae", psnr=round(judge(run, training.ema, world), 2))
        run.barrier()
    return training.clock.done()
