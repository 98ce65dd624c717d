#!/usr/bin/env bash
# setup.sh - install the packages that building, or building and testing, needs
#
#     launcher/setup.sh            what the program needs
#     launcher/setup.sh --tests    that, and what the tests need
#
# For Debian 12, Ubuntu 24.04 and their relatives. Says what it is going to install,
# installs only what is missing, through sudo when it is not root, and does nothing at
# all when nothing is missing. CUDA, cuDNN and NCCL come from NVIDIA's own repository
# and are left to you; without them the program is complete on the CPU.
set -euo pipefail

# compiler and build system
packages=(gcc g++ libc6-dev make cmake pkg-config)
# matrix products, ranks, topology
packages+=(libopenblas-dev libopenmpi-dev openmpi-bin libhwloc-dev)
# saved latents, configuration, .pth containers, digests
packages+=(libhdf5-dev libcjson-dev libzip-dev libssl-dev libxxhash-dev)
# text
packages+=(libsentencepiece-dev libutf8proc-dev)
# video and pictures
packages+=(libavformat-dev libavcodec-dev libavutil-dev libswscale-dev)
# the test framework and the one version of the formatter that the lint knows
test_packages=(libcmocka-dev clang-format-14)

case "${1:-}" in
'') ;;
--tests) packages+=("${test_packages[@]}") ;;
*)
    echo "usage: launcher/setup.sh [--tests]" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "setup: this is no Debian or Ubuntu; install by hand what these are called" >&2
    echo "    ${packages[*]}" >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "setup: all ${#packages[@]} packages are installed"
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup: not root and no sudo here; let somebody run" >&2
        echo "    apt-get update && apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "setup: going to install with apt:"
echo "    ${missing[*]}"
"${as_root[@]}" apt-get update -q
# Other releases may not have the old formatter; then its test is skipped.
wanted=()
for package in "${missing[@]}"; do
    if [ "$package" = clang-format-14 ] && ! apt-cache show "$package" >/dev/null 2>&1; then
        echo "setup: no $package in this release; the layout of sources is not checked"
    else
        wanted+=("$package")
    fi
done
[ ${#wanted[@]} -gt 0 ] || exit 0
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${wanted[@]}"
