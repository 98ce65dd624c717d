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
# the test framework
test_packages=(libcmocka-dev)
# Without these some tests are skipped: the one version of the formatter that the lint
# knows, a reader of scripts, and a Slurm, which the tests start in a folder of their own.
optional=(clang-format-14 shellcheck slurm-wlm munge)

case "${1:-}" in
'') ;;
--tests) packages+=("${test_packages[@]}" "${optional[@]}") ;;
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

is_optional()
{
    [[ " ${optional[*]} " == *" $1 "* ]]
}

missing=()
needed=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" != installed ] || continue
    missing+=("$package")
    is_optional "$package" || needed+=("$package")
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
        [ ${#needed[@]} -gt 0 ] || exit 0
        exit 1
    fi
    as_root=(sudo)
fi

echo "setup: going to install with apt:"
echo "    ${missing[*]}"
"${as_root[@]}" apt-get update -q
# Other releases may not have the old formatter, say.
wanted=()
for package in "${missing[@]}"; do
    if is_optional "$package" && ! apt-cache show "$package" >/dev/null 2>&1; then
        echo "setup: no $package in this release; its tests are skipped"
    else
        wanted+=("$package")
    fi
done
[ ${#wanted[@]} -gt 0 ] || exit 0
# Slurm and munge are for tests only: keep Debian from starting their services. A machine
# that has its own word about that keeps it.
policy=/usr/sbin/policy-rc.d
if [[ " ${wanted[*]} " == *" slurm-wlm "* || " ${wanted[*]} " == *" munge "* ]] &&
    [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${wanted[@]}"
