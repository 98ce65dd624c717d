#!/usr/bin/env bash
# quality.sh - videos of held-out captions by the program, and what the judge says
#
#     quality.sh BIN MODEL FIRST COUNT [FLAG...]
#
# BIN is the folder with framefleet and demo_world, FLAGs go to `framefleet generate`. One
# launch makes all videos. Prints a line per video and the shares that are right last.
# FROM=FRAME judges from that frame on, for the end of a long video. KEEP=FOLDER keeps
# videos and latents.
set -euo pipefail
bin=$(realpath "$1") model=$(realpath "$2") first=$3 count=$4
shift 4
work=${KEEP:-$(mktemp -d)}
[ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$work"

"$bin/demo_world" captions 1 "$first" "$count" >"$work/captions"
awk -v d="$work" -v first="$first" '{ n = NR - 1 + first
    printf "{\"prompt\": \"%s\", \"seed\": %d, \"output\": \"%s/%d.y4m\", ", $0, n, d, n
    printf "\"save_latents\": \"%s/%d.h5\"}\n", d, n }' "$work/captions" >"$work/jobs.json"
awk -v d="$work" -v first="$first" '{ printf "%s/%d.y4m\t%s\n", d, NR - 1 + first, $0 }' \
    "$work/captions" >"$work/list"
"$bin/framefleet" generate --job "$work/jobs.json" --model "$model" --negative_prompt "" \
    --size 128x128 --num_frames 17 --fps 16 --shift 3 --guidance_scale 4 --force "$@" \
    >"$work/log" 2>&1 || { tail -5 "$work/log"; exit 1; }
"$bin/demo_world" judge_all "$work/list" ${FROM:+"$FROM"}
