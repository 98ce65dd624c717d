"""stage_dit.py - train the text encoder and the transformer together, and export

Flow matching: a latent with noise of level sigma is (1 - sigma) z + sigma noise, and the
transformer is to say noise - z. Every latent frame has a level of its own (diffusion
forcing); in most clips all frames share one, as plain sampling has it, and some begin
with clean frames, as the windows of a long video do.
"""
import glob
import os

import numpy
import torch

from dit import DiT
from export import export
from run import Training, fastest
from sizes import SIZES
from stage_latents import PHRASINGS
from text import Text
from tokens import Tokens

FRAME_TOKENS = 64
DROP_CAPTION, SHIFT = 0.1, 3.0
ALIKE, APART = 0.5, 0.25 # shares of clips; the rest has a clean beginning
GOOD = 0.004  # seconds of a step, below which nothing faster is looked for
FAINT = 0.03             # noise on a clean beginning, at most


class Both(torch.nn.Module):
    def __init__(self, vocabulary, size):
        super().__init__()
        self.text = Text(vocabulary, **size["text"])
        self.dit = DiT(text=size["text"]["d"], **size["dit"])

    def matrices(self):
        """What Muon trains: the products of the blocks."""
        blocks = [*self.text.blocks.parameters(), *self.dit.blocks.parameters()]
        return [p for p in blocks if p.dim() == 2 and min(p.shape) >= 64]

    def forward(self, z, sigma, ids, lengths):
        return self.dit(z, sigma, self.text(ids, lengths), lengths)


class Latents:
    """This rank's share of the encoded clips, on its device."""

    def __init__(self, run, size):
        files = sorted(glob.glob(run.path("latents-*.pt")))
        mine = files[run.rank::run.size] or [files[run.rank % len(files)]]
        parts = [run.load(os.path.basename(f)) for f in mine]
        self.sets = {name: {k: torch.cat([p[name][k] for p in parts])
                            for k in parts[0][name]} for name in parts[0]}
        self.run, self.size, self.device = run, size, run.device
        self.short = self.sets["short"]["z"].shape[2]

    def shape(self, step):
        """Latent frames and clips of a step, the same on every rank."""
        generator = numpy.random.default_rng([22, step])
        at = numpy.searchsorted(numpy.cumsum(self.size["shares"])[:-1],
                                generator.random(), "right")
        frames = self.size["lengths"][at]
        clips = self.size["tokens"] // self.run.size // (FRAME_TOKENS * frames)
        long = frames > self.short or generator.random() < 0.3
        return frames, max(2, clips // 4 * 4 or clips), "long" if long else "short"

    def below(self, n, limit):
        return torch.randint(limit, (n,), device=self.device)

    def batch(self, step):
        """z, sigma, weights of the loss, ids, lengths"""
        f, b, name = self.shape(step)
        part = self.sets[name]
        n, frames = part["z"].shape[0], part["z"].shape[2]
        kind = torch.rand(b, 1, device=self.device)
        begins = kind >= ALIKE + APART
        # a window of a long video begins anywhere, and is given its first frames
        first = self.below(b, frames - f + 1) * (begins[:, 0] & (self.below(b, 4) > 0))
        pick, phrase = self.below(b, n), self.below(b, PHRASINGS)
        at = first[:, None] + torch.arange(f, device=self.device)
        z = part["z"][pick[:, None], :, at].transpose(1, 2).float()
        ids, lengths = part["ids"][pick, phrase].int(), part["lengths"][pick, phrase].int()
        empty = torch.rand(b, device=self.device) < DROP_CAPTION
        nothing = torch.zeros_like(ids)
        nothing[:, 0] = 1
        sigma, weight = self.levels(kind, begins, f)
        return (z, sigma, weight, torch.where(empty[:, None], nothing, ids),
                torch.where(empty, torch.ones_like(lengths), lengths))

    def draw(self, *shape):
        """Levels: the middle is drawn more often, and all are shifted to noise as the
        sampler's are."""
        u = torch.sigmoid(1.2 * torch.randn(*shape, device=self.device))
        rest = torch.rand(*shape, device=self.device)
        u = torch.where(torch.rand(*shape, device=self.device) < 0.25, rest, u)
        return SHIFT * u / (1 + (SHIFT - 1) * u)

    def levels(self, kind, begins, f):
        b = len(kind)
        alike = (kind < ALIKE) | begins
        sigma = torch.where(alike, self.draw(b, 1).expand(b, f), self.draw(b, f))
        prefix = 1 + self.below(b, max(1, f - 1))[:, None]
        clean = begins & (torch.arange(f, device=self.device)[None] < prefix)
        faint = FAINT * torch.rand(b, 1, device=self.device)
        faint = faint * (torch.rand(b, 1, device=self.device) < 0.5)
        return torch.where(clean, faint, sigma), (~clean).float()


def loss_of_batch(run, model, z, sigma, weight, ids, lengths):
    noise = torch.randn_like(z)
    s = sigma[:, None, :, None, None]
    with run.work():
        v = model((1 - s) * z + s * noise, sigma, ids, lengths)
    error = (v - (noise - z)).square().mean(dim=(1, 3, 4))
    return (error * weight).sum() / weight.sum()


def stage(run):
    torch.manual_seed(2)
    size = SIZES[run.options.size]
    model = Both(Tokens(run.options.tokenizer).count, size).to(run.device)
    training = Training(run, "dit", model, 33, run.budget("dit"), peak=size["dit_rate"],
                        betas=(0.9, 0.98), decay=0.01, matrices=model.matrices())
    latents = Latents(run, size)

    def loss_of(step):
        return loss_of_batch(run, model, *latents.batch(step))

    def way(compiled):
        def prepare():
            for block in model.dit.blocks:
                block._compiled_call_impl = None
                if compiled:
                    block.compile(dynamic=False)
        return prepare

    if training.clock.done():
        return True
    trial = next(s for s in range(1000) if latents.shape(s)[0] == size["lengths"][0])
    ways = [("plain", way(False), lambda: training.gradients(loss_of, trial))]
    if run.options.compile:
        ways.append(("compiled", way(True), ways[0][2]))
    fastest(run, "dit", ways, GOOD, 5)
    training.go(loss_of)
    return training.clock.done()


def stage_export(run):
    if run.rank or not os.path.exists(run.path("dit.pt")):
        return True
    size = SIZES[run.options.size]
    both = Both(Tokens(run.options.tokenizer).count, size)
    both.load_state_dict(run.load("dit.pt", "cpu")["ema"])
    dit = size["dit"]
    weights = export(run.path("model"), run.load("vae-final.pt", "cpu"),
                     both.text.state_dict(), both.dit.state_dict(),
                     run.options.tokenizer,
                     dict(dim=dit["d"], ffn_dim=dit["ffn"], num_heads=dit["d"] // 128,
                          num_layers=dit["layers"]))
    run.log("export", bytes=weights)
    return True
