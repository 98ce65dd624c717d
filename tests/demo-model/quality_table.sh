#!/usr/bin/env bash
# quality_table.sh - what precision, sampler and steps cost: prints docs/quality.md
#
#     quality_table.sh BIN MODEL WORK FIRST COUNT [PART/PARTS]
#
# For every sampler and number of steps makes videos of COUNT held-out captions from FIRST
# on in every precision, has them judged, and compares latents with those of fp32: cosine,
# relative L2 and PSNR, means over the captions. Rows are kept in WORK, so that a run that
# was stopped goes on, and the table is printed last. With PART/PARTS (from 0) it makes
# only that share of the rows, to be done elsewhere; a run without prints them all.
# GPUS and BACKEND are those of quality.sh; PRECISIONS, SAMPLERS and STEPS shorten it.
set -euo pipefail
here=$(dirname "$0")
bin=$1 model=$2 work=$3 first=$4 count=$5 share=${6:-0/1}
precisions=${PRECISIONS:-fp32 bf16 fp8 int8}
samplers=${SAMPLERS:-unipc dpm++ euler}
steps=${STEPS:-10 20 30 50}
[[ $precisions == fp32* ]] || precisions="fp32 $precisions"
mkdir -p "$work"

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

# row SAMPLER STEPS PRECISION: made once
row()
{
    local stem=$work/$1-$2 name=$work/$1-$2-$3 line

    [ ! -s "$name.row" ] || return 0
    KEEP=$name "$here/quality.sh" "$bin" "$model" "$first" "$count" --sampler "$1" \
        --inference_steps "$2" --precision "$3" >"$name.log"
    line=$(tail -1 "$name.log" | awk '{
        for (i = 1; i < NF; i++) v[$i] = $(i + 1)
        printf "%.1f | %.1f | %.1f | %.1f | %.1f | %.1f", v["background"], v["colour"],
            v["form"], v["size"], v["motion"], v["speed"] }')
    echo "| $3 | $1 | $2 | $line | $(compared "$name" "$stem-fp32") |" >"$name.row.new"
    mv "$name.row.new" "$name.row"
}

n=0
for sampler in $samplers; do
    for count_of_steps in $steps; do
        # one further per sampler: long runs are spread over the parts
        if [ $(((n + n / $(wc -w <<<"$steps")) % ${share#*/})) = "${share%/*}" ]; then
            for precision in $precisions; do
                row "$sampler" "$count_of_steps" "$precision"
            done
        fi
        n=$((n + 1))
    done
done

cat <<END
# Quality

What precision, sampler and number of steps cost, on the trained demonstration model:
\`tests/demo-model/quality_table.sh BIN MODEL WORK $first $count\` on the ${BACKEND:-cpu}
backend. Each row is $count videos of held-out captions (from number $first on), 17 frames of
128x128, guidance 4, shift 3. Percentages are what the judge, which has learned nothing
(\`tests/demo-model/judge.h\`), finds as the caption says, for every shape in it. Latents
are compared with those of fp32 with the same sampler and steps: means over the videos.

END
echo "| precision | sampler | steps | background % | colour % | form % | size % | motion % \
| speed % | cosine | relative L2 | PSNR dB |"
echo "|---|---|---|---|---|---|---|---|---|---|---|---|"
for precision in $precisions; do
    for sampler in $samplers; do
        for count_of_steps in $steps; do
            cat "$work/$sampler-$count_of_steps-$precision.row" 2>/dev/null || true
        done
    done
done
