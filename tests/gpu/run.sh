#!/usr/bin/env bash
# run.sh - build and run the GPU tests on a machine with an NVIDIA GPU
#
#     tests/gpu/run.sh
#
# Needs CMake 3.25, a C and C++ compiler and CUDA 12.9 or later; no other library. Prints
# one table last and exits 1 if a row of it failed.
set -euo pipefail
cd "$(dirname "$0")/../.."

cmake --preset gpu -B build/gpu-kernels -DFF_KERNELS_ONLY=ON
cmake --build build/gpu-kernels --parallel "$(nproc)"
./build/gpu-kernels/bin/test_ops_gpu
