#!/usr/bin/env bash
# run.sh - train the demonstration model from nothing on one GPU
#
#     run.sh STATE [STAGE...]        stages: vae latents dit dit export
#
# Each stage takes at most 8 minutes of an H200 and continues from STATE, which ends with
# the model folder STATE/model and the log STATE/log. Needs PyTorch 2.8 or later, numpy
# and a C compiler.
set -euo pipefail
state=$1
shift
for stage in "${@:-vae latents dit dit export}"; do
    for s in $stage; do
        python3 "$(dirname "$0")/train.py" "$s" --state "$state"
    done
done
