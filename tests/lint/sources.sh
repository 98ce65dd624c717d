# sources.sh - list the C, C++ and CUDA sources of the tree, one path per line
#
# Sourced by the lint scripts: sets `root`, enters it, and defines `sources [folder...]`.
# A lint prints `file:line: what is wrong` for every finding and exits 1 if there was
# any. Bytes, not characters, are compared everywhere, so the locale is fixed.
export LC_ALL=C
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

sources()
{
    local folders=("$@")
    if [ $# -eq 0 ]; then
        folders=(kernels dist engine cluster launcher tests)
    fi
    for folder in "${folders[@]}"; do
        [ -d "$folder" ] || continue
        find "$folder" -type f \( -name '*.c' -o -name '*.h' -o -name '*.cu' \
            -o -name '*.cuh' -o -name '*.cpp' \)
    done | sort
}
