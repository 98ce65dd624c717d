#!/usr/bin/env bash
# batch.sh - shellcheck has nothing to say about the batch scripts
#
# They run with users' data on other people's machines. Skipped (exit 77) where
# shellcheck is missing; launcher/setup.sh --tests installs it.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v shellcheck >/dev/null; then
    echo "no shellcheck here: ./launcher/setup.sh --tests" >&2
    exit 77
fi
shellcheck -x slurm/*.sbatch slurm/run.sh launcher/setup.sh
