#!/usr/bin/env bash
# run.sh - install, build and test everything, and end with CTest's summary
#
#     tests/run.sh           every test but the long ones, under 20 minutes on 2 cores
#     tests/run.sh --long    the long ones too
#
# Builds with strict warnings as errors; compiles for CUDA as well if its compiler is
# here (running that is tests/gpu/run.sh); runs the tests of everything that reads files
# under AddressSanitizer and UBSan first. Stops at the first part that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

select=(-LE long)
case "${1:-}" in
'') ;;
--long) select=() ;;
*)
    echo "usage: tests/run.sh [--long]" >&2
    exit 2
    ;;
esac
jobs=$(nproc)

# build PRESET [cmake --build option...]: configured anew each time, because a package
# that has just been installed may bring tests with it
build()
{
    local preset=$1
    shift
    cmake --preset "$preset"
    cmake --build --preset "$preset" --parallel "$jobs" "$@"
}

./launcher/setup.sh --tests
build cpu
if ./launcher/have_cuda.sh; then
    build gpu
fi
build cpu-asan --target reader_tests
if [[ $(ctest --preset cpu -N -L unit) == *"Total Tests: 0"* ]]; then
    echo "run.sh: the unit tests are not in the build" >&2
    exit 1
fi
ctest --preset cpu-asan --parallel "$jobs" -L reader "${select[@]}"
ctest --preset cpu --parallel "$jobs" "${select[@]}"
