#!/usr/bin/env bash
# functions.sh - no function longer than 120 lines (200 in .cu), and what is usual
#
# The layout puts the brace of a function, and of nothing else, alone in column one. The
# length counts from that brace to the closing one. Prints the shares that style asks
# for: half of the functions within 15 lines, nine in ten within 60.
set -euo pipefail
. "$(dirname "$0")/sources.sh"

sources | xargs awk '
FNR == 1 { begin = 0 }
/^\{$/ { begin = FNR; name = last }
/^\}/ && begin {
    lines = FNR - begin + 1
    limit = FILENAME ~ /\.cuh?$/ ? 200 : 120
    if (lines > limit) {
        print FILENAME ":" begin ": " lines " lines, " limit " at most: " name
        bad = 1
    }
    all++
    short += lines <= 15
    medium += lines <= 60
    begin = 0
}
/^[A-Za-z_]/ { last = $0 }
END {
    printf "%d functions, %d %% within 15 lines, %d %% within 60\n", all,
        all ? 100 * short / all : 0, all ? 100 * medium / all : 0
    exit bad
}
'
