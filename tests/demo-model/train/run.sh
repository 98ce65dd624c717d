#!/usr/bin/env bash
# run.sh - train the demonstration model from nothing
#
#     run.sh STATE [FLAG...]         FLAGs go to train.py, for example --ranks 4
#
# At most 25 minutes of one H200, on four a quarter. With --limit SECONDS (480) each call of
# train.py takes that long at most, is saved, and goes on. Ends with the model folder
# STATE/model and the log STATE/log. Needs PyTorch 2.8 or later, numpy and a C compiler.
set -euo pipefail
state=$1
shift
code=75
while [ $code = 75 ]; do
    code=0
    python3 "$(dirname "$0")/train.py" vae latents dit export --state "$state" "$@" ||
        code=$?
done
exit $code
