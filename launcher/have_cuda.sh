#!/usr/bin/env bash
# have_cuda.sh - is the CUDA compiler on this machine? (exit 0: yes)
command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]
