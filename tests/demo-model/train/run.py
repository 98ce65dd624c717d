"""run.py - what every stage of the training needs: ranks, a clock, state, a log

One process per GPU. Every process does the same and averages gradients with the others;
rank 0 writes. A stage has a budget of GPU seconds, and all that changes over a stage
(learning rate, end) goes by the share of it that is spent, so that a machine of any
speed comes to the end of every schedule.
"""
import copy
import datetime
import json
import math
import os
import subprocess
import sys
import time

import torch
import torch.distributed as dist

from muon import Muon
from sizes import SIZES

BEGIN = time.time()
AGAIN = 75 # exit code: stopped before the end, the same call goes on


def ranks_start(n, args):
    """Run this program once per rank, and end all when one fails. Exit status."""
    where = dict(os.environ, WORLD_SIZE=str(n), MASTER_ADDR="127.0.0.1",
                 MASTER_PORT=str(20000 + os.getpid() % 20000))
    where.setdefault("GLOO_SOCKET_IFNAME", "lo")
    where.setdefault("NCCL_SOCKET_IFNAME", "lo")
    cores = max(1, len(os.sched_getaffinity(0)) // n)
    where.setdefault("OMP_NUM_THREADS", str(min(8, cores)))
    where.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(min(16, cores)))
    running = [subprocess.Popen([sys.executable] + args, env=dict(where, RANK=str(r)))
               for r in range(n)]
    status = 0
    while running:
        time.sleep(0.2)
        for child in running[:]:
            if child.poll() is not None:
                running.remove(child)
                if child.returncode in (0, AGAIN):
                    status = status or child.returncode
                    continue
                status = abs(child.returncode) if status in (0, AGAIN) else status
                for other in running:
                    other.kill()
    return status


class Run:
    def __init__(self, options):
        self.options, self.state = options, options.state
        self.stage_begin = BEGIN
        self.worked = False # has a stage of this call done anything?
        self.rank = int(os.environ.get("RANK", 0))
        self.size = int(os.environ.get("WORLD_SIZE", 1))
        self.cuda = torch.cuda.is_available()
        self.cores = len(os.sched_getaffinity(0))
        self.device = "cpu"
        if self.cuda:
            torch.cuda.set_device(self.rank)
            self.device = f"cuda:{self.rank}"
        if self.size > 1:
            dist.init_process_group("nccl" if self.cuda else "gloo",
                                    timeout=datetime.timedelta(seconds=180))
        os.makedirs(self.state, exist_ok=True)

    # ---- state and log

    def path(self, name):
        return os.path.join(self.state, name)

    def save(self, name, value):
        """Any rank may save what is its own; the name is there only when it is whole."""
        new = self.path(f"{name}.new")
        torch.save(value, new)
        os.replace(new, self.path(name))

    def load(self, name, device=None):
        return torch.load(self.path(name), map_location=device or self.device,
                          weights_only=True)

    def log(self, stage, **values):
        if self.rank:
            return
        line = json.dumps({"stage": stage, "seconds": round(time.time() - BEGIN, 1),
                           **values})
        print(line, flush=True)
        with open(self.path("log"), "a") as f:
            f.write(line + "\n")

    # ---- several ranks

    def mine(self, n):
        """First and behind-last of n things that are this rank's."""
        return n * self.rank // self.size, n * (self.rank + 1) // self.size

    def close(self):
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()

    def budget(self, stage):
        whole = self.options.budget or SIZES[self.options.size]["budget"][stage]
        return whole * self.options.scale

    def room(self, stage):
        """Is there time for a stage in this call? `latents` is made in one piece, the
        others need to try what is fastest. The first that has work to do always begins."""
        gone = time.time() - BEGIN
        if not self.options.limit or stage == "export" or not self.worked:
            return True
        need = 15 + self.budget(stage) / self.size if stage == "latents" else 60
        return self.told(self.options.limit - gone)[0] >= need

    def wait(self):
        if self.cuda:
            torch.cuda.synchronize()

    def told(self, *values):
        """Numbers as rank 0 has them."""
        if self.size == 1:
            return list(values)
        t = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.broadcast(t, 0)
        return t.tolist()

    def sum(self, t):
        if self.size > 1:
            dist.all_reduce(t)
        return t

    def barrier(self):
        self.told(0.0)

    def alike(self, module):
        """Every rank goes on from rank 0's parameters."""
        if self.size == 1:
            return
        list_ = [p.data for p in module.parameters()]
        flat = torch.cat([p.reshape(-1) for p in list_])
        dist.broadcast(flat, 0)
        parts = torch.split(flat, [p.numel() for p in list_])
        torch._foreach_copy_(list_, [f.view(p.shape) for f, p in zip(parts, list_)])

    def average(self, parameters):
        """Gradients averaged over ranks, in one message."""
        if self.size == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in grads])
        dist.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [g.numel() for g in grads])
        torch._foreach_copy_(grads, [p.view(g.shape) for p, g in zip(parts, grads)])

    def work(self):
        return torch.autocast("cuda" if self.cuda else "cpu", torch.bfloat16)


class Clock:
    """The share of a stage's budget that is spent, the same on every rank.

    Rank 0's time is told every EVERY steps; between, the share grows as it did before.
    `limit` is the share at which this call of the program stops and saves.
    """

    EVERY = 16

    def __init__(self, run, budget, spent):
        self.run, self.budget, self.spent = run, budget / run.size, spent / run.size
        self.begin, self.limit = run.stage_begin, 1.0
        if run.options.limit:
            left = run.options.limit - (self.begin - BEGIN)
            self.limit = min(1.0, (self.spent + left) / self.budget)
        self.step, self.share, self.rate = None, self.spent / self.budget, 0.0

    def gpu_seconds(self):
        return (self.spent + time.time() - self.begin) * self.run.size

    def read(self, step):
        """The share at a step. Collective at steps that EVERY divides."""
        if step % self.EVERY == 0:
            self.run.wait()
            now, = self.run.told(self.gpu_seconds() / self.run.size / self.budget)
            if self.step is not None and step > self.step:
                self.rate = (now - self.share) / (step - self.step)
            self.step, self.share = step, now
        return min(1.0, self.share + self.rate * (step - (self.step or 0)))

    def over(self, step):
        """May only become true where the time was told."""
        return step % self.EVERY == 0 and self.share >= self.limit

    def done(self):
        """Is the whole budget spent? What a last step lacks to it does not count."""
        return self.share >= 0.999


def rate(share, begun, peak, warm=0.03):
    """Rises over `warm` of the stage (and for 50 steps after a start), then falls in a
    straight line to a hundredth."""
    up = min(1.0, share / warm, (begun + 1) / 50)
    down = 1.0 if share < warm else max(0.01, 1 - (share - warm) / (1 - warm))
    return peak * min(up, down)


def average_follow(ema, model, step):
    """The running average spans a tenth of the steps so far, 2000 at most."""
    with torch.no_grad():
        torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()),
                             max(1 / 2000, 10 / (step + 10)))


def fastest(run, stage, ways, good, trials=3):
    """Try ways (name, prepare, step) in turn, until steps take `good` seconds, and
    prepare the one whose steps are fastest for rank 0. A way that fails is logged and
    passed over; the first must work."""
    found = []
    for name, prepare, step in ways:
        if found and run.told(min(found))[0] <= good:
            break
        try:
            begin = time.time()
            prepare()
            step()
            run.wait()
            first = time.time() - begin
            begin = time.time()
            for _ in range(trials):
                step()
            run.wait()
            found.append((time.time() - begin) / trials)
            run.log(stage, way=name, first=round(first, 2), step=round(found[-1], 4))
        except Exception as problem:
            if not found:
                raise
            found.append(1e9)
            run.log(stage, way=name, failed=repr(problem)[:300])
    best = min(range(len(found)), key=found.__getitem__)
    best = int(run.told(best)[0])
    if found[best] >= 1e9:
        best = 0
    ways[best][1]()
    run.log(stage, chosen=ways[best][0])


class Training:
    """A model, its optimizers (Muon for `matrices`, AdamW for the rest) and its running
    average, from a saved state if there is one, and the loop that trains it.

    seed, budget (GPU seconds) and peak rate are the stage's. State NAME.pt has what is
    needed to go on; it is saved every SAVE seconds, too.
    """

    SAVE, LOG = 60, 100

    def __init__(self, run, name, model, seed, budget, peak, betas, decay,
                 matrices=None):
        self.run, self.name, self.model, self.seed = run, name, model, seed
        self.peak, self.step = peak, 0
        self.ema = copy.deepcopy(model)
        matrices = matrices or []
        own = {id(p) for p in matrices}
        rest = [p for p in model.parameters() if id(p) not in own]
        self.opts = [torch.optim.AdamW(rest, lr=peak, betas=betas, weight_decay=decay)]
        if matrices:
            self.opts.append(Muon(matrices, lr=peak, weight_decay=decay))
        spent = 0.0
        if os.path.exists(run.path(name + ".pt")):
            spent = self.back()
        run.alike(self.model)
        run.alike(self.ema)
        self.begun = self.step
        self.clock = Clock(run, budget, spent)

    def back(self):
        saved = self.run.load(self.name + ".pt")
        self.model.load_state_dict(saved["model"])
        self.ema.load_state_dict(saved["ema"])
        for opt, state in zip(self.opts, saved["opts"]):
            opt.load_state_dict(state)
        self.step = saved["step"]
        return saved["spent"]

    def keep(self):
        if self.run.rank == 0:
            self.run.save(self.name + ".pt", {
                "model": self.model.state_dict(), "ema": self.ema.state_dict(),
                "opts": [opt.state_dict() for opt in self.opts], "step": self.step,
                "spent": self.clock.gpu_seconds()})

    def gradients(self, loss_of, step):
        """Of this rank's part of the batch; every rank and step has its own lots."""
        torch.manual_seed((self.seed * 1000003 + step) * 64 + self.run.rank)
        self.model.zero_grad(set_to_none=True)
        loss = loss_of(step)
        loss.backward()
        return loss.detach()

    def update(self, share):
        parameters = list(self.model.parameters())
        self.run.average(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for opt in self.opts:
            for group in opt.param_groups:
                group["lr"] = rate(share, self.step - self.begun, self.peak)
            opt.step()
        self.step += 1
        average_follow(self.ema, self.model, self.step)

    def go(self, loss_of):
        """Until the budget is spent, or this call's share of it."""
        saved, most = time.time(), self.run.options.steps
        self.run.worked = True
        total, count = 0.0, 0
        while True:
            share = self.clock.read(self.step)
            if self.clock.over(self.step) or (most and self.step - self.begun >= most):
                break
            loss = self.gradients(loss_of, self.step)
            self.update(share)
            total, count = total + loss, count + 1
            if self.step % self.LOG == 0:
                mean = self.run.sum(total / count).item() / self.run.size
                self.run.log(self.name, step=self.step, share=round(share, 4),
                             loss=round(mean, 5))
                if not math.isfinite(mean):
                    self.retreat()
                total, count = 0.0, 0
            if time.time() - saved > self.SAVE:
                self.keep()
                saved = time.time()
        self.keep()
        self.run.log(self.name, step=self.step, share=round(self.clock.share, 4),
                     gpu_seconds=round(self.clock.gpu_seconds()))

    def retreat(self):
        """After a loss that is no number: the saved state, at half the rate."""
        step = self.step
        self.run.barrier()
        if not os.path.exists(self.run.path(self.name + ".pt")):
            raise SystemExit(f"{self.name}: the loss is no number")
        self.back()
        self.step, self.begun, self.peak = step, step, self.peak / 2
        self.run.log(self.name, retreat=step, peak=self.peak)
