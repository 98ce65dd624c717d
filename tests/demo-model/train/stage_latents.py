"""stage_latents.py - encode clips, and fold the statistics of latents into the VAE

Every rank encodes clips of its own, in rounds of short and long ones, for as long as the
budget lasts, and keeps them with their captions' ids in a file of its own.
"""
import os
import time

import numpy
import torch

import world as earth
from sizes import SIZES
from tokens import PAD, Tokens
from vae import VAE

PHRASINGS, PROMPT = 4, 96


def prompts(world, tokens, index):
    """ids i16 [n, PHRASINGS, PROMPT] and their numbers; the last id is always PAD."""
    ids = numpy.full((len(index), PHRASINGS, PROMPT), PAD, numpy.int16)
    lengths = numpy.zeros((len(index), PHRASINGS), numpy.int16)
    for k in range(PHRASINGS):
        for i, text in enumerate(world.captions(index, index * PHRASINGS + k)):
            row = tokens.ids(text)
            if len(row) >= PROMPT:
                raise SystemExit(f"a caption of {len(row)} tokens; PROMPT is {PROMPT}")
            ids[i, k, :len(row)] = row
            lengths[i, k] = len(row)
    return torch.from_numpy(ids), torch.from_numpy(lengths)


def encode(run, vae, world, index, frames):
    clips = earth.Clips(world, index, frames, run.device)
    x = clips.whole(torch.arange(clips.n, device=run.device), frames)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad(), run.work():
        return vae.encode(x).float()


def rounds(run, vae, world, size, seconds):
    """{name: (latents f32, indices)} of this rank, until its time is over."""
    index = world.indices(earth.HELD_OUT, size["clips_most"])[run.rank::run.size]
    sets = {name: (*size[name], [], []) for name in ("short", "long")}
    a_round, at = sum(size[name][1] for name in sets), 0
    while True:
        for frames, n, z, used in sets.values():
            z.append(encode(run, vae, world, index[at:at + n], frames))
            used.append(index[at:at + n])
            at += n
        run.wait()
        if time.time() - run.stage_begin > seconds or at + a_round > len(index):
            return {name: (torch.cat(z), numpy.concatenate(used))
                    for name, (_, _, z, used) in sets.items()}


def statistics(run, z):
    """Mean and deviation of every channel, over all ranks."""
    z = z.transpose(0, 1).flatten(1).double()
    one = torch.full((len(z), 1), float(z.shape[1]), device=z.device)
    sums = run.sum(torch.stack([z.sum(1), z.square().sum(1), one[:, 0].double()]))
    mean = sums[0] / sums[2]
    return mean.float(), (sums[1] / sums[2] - mean.square()).sqrt().float()


def stage(run):
    if os.path.exists(run.path("vae-final.pt")):
        return True
    run.worked = True
    size = SIZES[run.options.size]
    world = earth.World(max(1, run.cores // run.size), size["small"])
    tokens = Tokens(run.options.tokenizer)
    vae = VAE(size["vae_base"]).to(run.device)
    vae.load_state_dict(run.load("vae.pt")["ema"])
    vae.eval().requires_grad_(False)
    found = rounds(run, vae, world, size, run.budget("latents") / run.size)
    mean, std = statistics(run, found["short"][0])
    sets = {}
    for name, (z, index) in found.items():
        z = (z - mean.view(1, -1, 1, 1, 1)) / std.view(1, -1, 1, 1, 1)
        ids, lengths = prompts(world, tokens, index)
        sets[name] = {"z": z.to(torch.bfloat16).cpu(), "ids": ids, "lengths": lengths}
    run.log("latents", short=len(sets["short"]["z"]) * run.size,
            long=len(sets["long"]["z"]) * run.size,
            tokens=int(max(s["lengths"].max() for s in sets.values())),
            mean=[round(v, 3) for v in mean.tolist()],
            std=[round(v, 3) for v in std.tolist()])
    run.save(f"latents-{run.rank}.pt", sets)
    if run.rank == 0:
        vae.normalise(mean, std)
        run.save("vae-final.pt", vae.state_dict())
    run.barrier()
    return True
