#!/usr/bin/env python3
"""train.py - train the demonstration model from nothing, stage by stage

    train.py STAGE... --state DIR [--ranks N] [--size tiny] [--limit SECONDS]

Stages, each from what the ones before left in DIR:

    vae       both halves of the autoencoder                     vae.pt
    latents   encodes clips, folds their statistics into it      latents-*.pt
    dit       text encoder and transformer together              dit.pt
    export    the model folder, DIR/model

Each has a budget of GPU seconds (sizes.py) and goes on from its saved state. --limit
ends this call after so many seconds; then the exit code is 75, and the same call again
goes on. --ranks starts a process per GPU (with gloo on a CPU). Seeds are fixed. Progress:
DIR/log.
"""
import argparse
import os
import sys
import time

import torch

import stage_dit
import stage_latents
import stage_vae
from run import AGAIN, Run, ranks_start
from sizes import SIZES

HERE = os.path.dirname(os.path.abspath(__file__))
STAGES = {"vae": stage_vae.stage, "latents": stage_latents.stage,
          "dit": stage_dit.stage, "export": stage_dit.stage_export}


def options_read(args):
    parser = argparse.ArgumentParser(description="train the demonstration model")
    parser.add_argument("stages", nargs="+", choices=list(STAGES))
    parser.add_argument("--state", required=True)
    parser.add_argument("--ranks", type=int, default=0)
    parser.add_argument("--size", choices=list(SIZES), default="whole")
    parser.add_argument("--budget", type=float, help="GPU seconds, instead of the size's")
    parser.add_argument("--scale", type=float, default=1.0, help="of every budget")
    parser.add_argument("--limit", type=float, help="seconds of this call")
    parser.add_argument("--steps", type=int, help="at most so many in this call")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--tokenizer", default=os.path.join(
        HERE, "..", "trained", "google", "umt5-xxl", "spiece.model"))
    return parser.parse_args(args)


def main():
    options = options_read(sys.argv[1:])
    if options.ranks > 1 and "RANK" not in os.environ:
        return ranks_start(options.ranks, sys.argv)
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.suppress_errors = True
    torch._dynamo.config.recompile_limit = 64
    run = Run(options)
    done = True
    for name in options.stages:
        if name != "export" and not (done and run.room(name)):
            done = False
            continue
        done = STAGES[name](run) and done
        run.stage_begin = time.time()
    run.close()
    return 0 if done else AGAIN


if __name__ == "__main__":
    sys.exit(main())
