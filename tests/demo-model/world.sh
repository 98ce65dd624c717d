#!/usr/bin/env bash
# world.sh - the judge makes next to no mistakes on clips that are what captions say
#
#     world.sh DEMO_WORLD
set -euo pipefail
demo_world=$1

for clips in "400 17" "100 33"; do
    line=$("$demo_world" self 1 $clips | tail -1)
    echo "$line"
    for part in background colour form size motion speed; do
        awk -v part="$part" '{ for (i = 1; i < NF; i++) if ($i == part) bad = $(i + 1) <= 99 }
            END { exit NR != 1 || bad }' <<<"$line" || { echo "wrong: $part"; exit 1; }
    done
done
[ "$("$demo_world" captions 1 0 500 | sort -u | wc -l)" -eq 500 ]
