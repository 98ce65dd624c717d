#!/usr/bin/env bash
# run.sh - a test program on several ranks of this machine, for CTest
#
#     run.sh RANKS PROGRAM [ARGUMENTS...]
#
# Ranks may outnumber cores. Exit code 77 (skipped) where mpirun is missing.
set -euo pipefail

if ! command -v mpirun >/dev/null; then
    echo "skipped: no mpirun here"
    exit 77
fi
options=(--oversubscribe --bind-to none --timeout 280)
[ "$(id -u)" -ne 0 ] || options+=(--allow-run-as-root)
export OPENBLAS_NUM_THREADS=1
exec mpirun "${options[@]}" -n "$1" "${@:2}"
