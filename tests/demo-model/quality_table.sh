#!/usr/bin/env bash
# quality_table.sh - the section of docs/quality.md on precision, sampler and steps
#
#     quality_table.sh BIN MODEL WORK FIRST COUNT
#
# For every sampler, number of steps and precision makes videos of COUNT held-out captions
# from FIRST on, has them judged, and compares latents with those of fp32: cosine, relative
# L2 and PSNR, means over the captions. Rows are kept in WORK, so that a run that was
# stopped goes on. What is judged is said on standard error at once; the table is printed
# last. From the environment:
#
#     LAUNCHES=N, GPUS=N   rows made at once (1), per GPU, as quality.sh has them
#     BACKEND=cuda         what they run on, cpu unless said
#     PRECISIONS, SAMPLERS, STEPS   what to make, instead of all
#     FLAGS                go to `framefleet generate`
set -euo pipefail
here=$(dirname "$0")
precisions=${PRECISIONS:-fp32 bf16 fp8 int8}
samplers=${SAMPLERS:-unipc dpm++ euler}
steps=${STEPS:-10 20 30 50}
[[ $precisions == fp32* ]] || precisions="fp32 $precisions"

# row_make SAMPLER STEPS PRECISION: videos, and what the judge finds in them, once
row_make()
{
    local name=$work/$1-$2-$3

    [ ! -s "$name.judged" ] || return 0
    # shellcheck disable=SC2086
    KEEP=$name LAUNCHES=1 GPUS='' "$here/quality.sh" "$bin" "$model" "$first" "$count" \
        --sampler "$1" --inference_steps "$2" --precision "$3" ${FLAGS:-} >"$name.log" ||
        return 0
    tail -1 "$name.log" >"$name.judged"
    echo "$1, $2 steps, $3: $(cat "$name.judged")" >&2
}

# compared FOLDER REFERENCE: means of cosine, relative L2 and PSNR over all latents
compared()
{
    local n

    for ((n = first; n < first + count; n++)); do
        echo "$2/$n.h5 $1/$n.h5"
    done | xargs -n 2 -P "$(nproc)" "$bin/framefleet" compare |
        awk '/^relative L2:/ { l2 += $3 } /^cosine:/ { c += $2; n++ }
            /^PSNR:/ { if ($2 == "inf") same++; else p += $2 }
            END { if (n == same) printf "1 | 0 | same bits"
                else printf "%.6f | %.3g | %.1f", c / n, l2 / n, p / (n - same) }'
}

# row_print SAMPLER STEPS PRECISION: nothing where it has not been made
row_print()
{
    local name=$work/$1-$2-$3 reference=$work/$1-$2-fp32 line far="| |"

    [ -s "$name.judged" ] || return 0
    if [ -s "$reference.judged" ]; then
        [ -s "$name.far" ] || compared "$name" "$reference" >"$name.far"
        far=$(cat "$name.far")
    fi
    line=$(awk '{ for (i = 1; i < NF; i++) v[$i] = $(i + 1)
        printf "%.1f | %.1f | %.1f | %.1f | %.1f | %.1f", v["background"], v["colour"],
            v["form"], v["size"], v["motion"], v["speed"] }' "$name.judged")
    echo "| $3 | $1 | $2 | $line | $far |"
}

# every SAMPLER STEPS PRECISION on a line, what all are compared with and long ones first
rows()
{
    local precision sampler n

    for precision in $precisions; do
        for n in $(tr ' ' '\n' <<<"$steps" | sort -rn); do
            for sampler in $samplers; do
                echo "$sampler $n $precision"
            done
        done
    done
}

# One row, for xargs below: its slot says which GPU it has.
if [ "$1" = row ]; then
    [ -z "${GPUS:-}" ] || export CUDA_VISIBLE_DEVICES=$((SLOT % GPUS))
    bin=$2 model=$3 work=$4 first=$5 count=$6
    row_make "${@:7}"
    exit
fi

bin=$1 model=$2 work=$3 first=$4 count=$5
mkdir -p "$work"
rows | xargs -L 1 -P $((${GPUS:-1} * ${LAUNCHES:-1})) --process-slot-var=SLOT \
    "$0" row "$bin" "$model" "$work" "$first" "$count"

cat <<END
## Precision, sampler and steps

\`tests/demo-model/quality_table.sh BIN MODEL WORK $first $count\` on the ${BACKEND:-cpu}
backend: each row is $count videos of held-out captions (from number $first on). Latents are
compared with those of fp32 with the same sampler and steps: means over the videos.

| precision | sampler | steps | background % | colour % | form % | size % | motion % | speed % | cosine | relative L2 | PSNR dB |
|---|---|---|---|---|---|---|---|---|---|---|---|
END
for precision in $precisions; do
    for sampler in $samplers; do
        for n in $steps; do
            row_print "$sampler" "$n" "$precision"
        done
    done
done
