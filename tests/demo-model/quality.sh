#!/usr/bin/env bash
# quality.sh - videos of held-out captions by the program, and what the judge says
#
#     quality.sh BIN MODEL FIRST COUNT [FLAG...]
#
# BIN is the folder with framefleet and demo_world, FLAGs go to `framefleet generate`. A
# launch makes many videos. Prints a line per video and the shares that are right last;
# fails when a video is missing, after judging the others. From the environment:
#
#     LAUNCHES=N       so many launches at once, which share the videos (1)
#     GPUS=N           and take turns with so many GPUs; LAUNCHES counts per GPU then
#     BACKEND=cuda     what they run on, cpu unless said
#     FROM=FRAME       judge from that frame on, for the end of a long video
#     KEPT=FRAME       say too how many of the videos whose colours and forms are right
#                      before that frame have them right from FROM on
#     KEEP=FOLDER      keep videos and latents there
#     SOFAR=FILE       where to say every few seconds what is right so far
#     CAPTIONS=FILE    lines FIRST to FIRST + COUNT - 1 (from 0) instead of held-out captions
set -euo pipefail
bin=$(realpath "$1") model=$(realpath "$2") first=$3 count=$4
shift 4
parts=$((${GPUS:-1} * ${LAUNCHES:-1}))
work=${KEEP:-$(mktemp -d)}
[ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$work"
work=$(realpath "$work")

if [ -n "${CAPTIONS:-}" ]; then
    sed -n "$((first + 1)),$((first + count))p" "$CAPTIONS" >"$work/captions"
else
    "$bin/demo_world" captions 1 "$first" "$count" >"$work/captions"
fi
awk -v d="$work" -v first="$first" '{ n = NR - 1 + first
    printf "{\"prompt\": \"%s\", \"seed\": %d, \"output\": \"%s/%d.y4m\", ", $0, n, d, n
    printf "\"save_latents\": \"%s/%d.h5\"}\n", d, n }' "$work/captions" >"$work/jobs"
awk -v d="$work" -v first="$first" '{ printf "%s/%d.y4m\t%s\n", d, NR - 1 + first, $0 }' \
    "$work/captions" >"$work/list"
while IFS=$'\t' read -r video _; do
    rm -f "$video"
done <"$work/list"

# generate PART FLAG...: every job whose number leaves PART
generate()
{
    local part=$1
    shift
    awk -v n="$parts" -v k="$part" 'NR % n == k % n' "$work/jobs" >"$work/jobs.$part.json"
    [ -s "$work/jobs.$part.json" ] || return 0
    "$bin/framefleet" generate --job "$work/jobs.$part.json" --model "$model" \
        --backend "${BACKEND:-cpu}" --negative_prompt "" --size 128x128 \
        --num_frames 17 --fps 16 --shift 3 --guidance_scale 4 --force "$@" \
        >"$work/log.$part" 2>&1 || tail -5 "$work/log.$part" >&2
}

# judge: of the videos that are there; a video has its name only when it is whole
judge()
{
    while IFS=$'\t' read -r video caption; do
        [ ! -f "$video" ] || printf '%s\t%s\n' "$video" "$caption"
    done <"$work/list" >"$work/made"
    [ ! -s "$work/made" ] || "$bin/demo_world" judge_all "$work/made" ${FROM:+"$FROM"}
}

# kept: what became of what was right at first; before the last line
kept()
{
    judge >"$work/end"
    "$bin/demo_world" judge_all "$work/made" 0 "$KEPT" >"$work/begin"
    sed '$d' "$work/end"
    paste -d '\n' "$work/begin" "$work/end" | awk '/^right/ { next }
        { right = /: background . colour 1 form 1 / }
        ++n % 2 { at_first = right; next }
        at_first { all++; kept += right }
        END { printf "kept: colours and forms of %d of %d videos, %.1f %%\n", kept, all,
            all ? 100 * kept / all : 0 }'
    tail -1 "$work/end"
}

for ((k = 0; k < parts; k++)); do
    if [ -n "${GPUS:-}" ]; then
        CUDA_VISIBLE_DEVICES=$((k % GPUS)) generate $k "$@" &
    else
        generate $k "$@" &
    fi
done
while [ -n "${SOFAR:-}" ] && [ -n "$(jobs -r)" ]; do
    sleep 5
    judge >"$work/sofar"
    cp "$work/sofar" "$SOFAR"
done
wait
if [ -n "${KEPT:-}" ]; then
    kept
else
    judge
fi
[ "$(wc -l <"$work/made")" = "$(wc -l <"$work/list")" ]
