#!/usr/bin/env bash
# device.sh - train and judge on a machine with GPUs that is there for minutes
#
#     device.sh train STATE OUT [SECONDS]    build the program, train, pack the model
#     device.sh judge STATE OUT [COUNT]      videos of COUNT held-out captions, judged
#     device.sh table STATE OUT [COUNT]      the rows of docs/quality.md
#
# Every part uses all GPUs. `train` takes SECONDS at most (540), ends with exit code 75
# when the training needs another call, and leaves model.tar.* in OUT, cut into pieces of
# 15 MiB (cat model.tar.* | tar x), whatever has been reached. `judge` and `table` take
# the model of STATE or, where there is none, that of tests/demo-model/trained. BACKEND=cpu
# tries this script without GPUs, BIN=FOLDER takes programs from there, FLAGS go to
# train.py.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."
part=$1 state=$2 out=$3
backend=${BACKEND:-cuda}
bin=${BIN:-build/gpu/bin}
gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
[ "$gpus" -gt 0 ] || gpus=2
began=$SECONDS
mkdir -p "$state" "$out"

program_build()
{
    export PKG_CONFIG_PATH="$PWD/.prefix/lib/pkgconfig:${PKG_CONFIG_PATH:-}"
    export CMAKE_PREFIX_PATH="$PWD/.prefix:${CMAKE_PREFIX_PATH:-}"
    cmake --preset gpu &&
        cmake --build --preset gpu --parallel "$(nproc)" --target framefleet demo_world
}

model_pack()
{
    [ -f "$state/model/config.json" ] || return 0
    rm -f "$out"/model.tar.*
    tar -C "$state/model" -cf - . | split -d -b 15m - "$out/model.tar."
}

train()
{
    local limit=${1:-540} code=0

    if [ ! -x "$bin/demo_world" ] || [ ! -x "$bin/framefleet" ]; then
        program_build >"$out/build.log" 2>&1 &
    fi
    python3 "$here/train.py" vae latents dit export --state "$state" --ranks "$gpus" \
        --limit "$limit" ${FLAGS:-} || code=$?
    if [ $code != 0 ] && [ $code != 75 ]; then
        echo "training on $gpus GPUs ended with $code; going on with one"
        limit=$((limit - SECONDS + began))
        code=0
        python3 "$here/train.py" vae latents dit export --state "$state" \
            --limit "$limit" ${FLAGS:-} || code=$?
    fi
    wait
    tail -2 "$out/build.log" 2>/dev/null
    model_pack
    cp "$state/log" "$out/train.log"
    return $code
}

export LD_LIBRARY_PATH="$PWD/.prefix/lib:${LD_LIBRARY_PATH:-}"
export GPUS=$gpus BACKEND=$backend
model=$state/model
[ -f "$model/config.json" ] || model=tests/demo-model/trained
quality=tests/demo-model/quality.sh

judge()
{
    local count=${1:-200}

    for scale in 4 2.5 6; do
        echo "== guidance $scale"
        KEEP=$state/judge-$scale $quality "$bin" "$model" 0 "$count" \
            --guidance_scale $scale >"$out/judge-$scale.log" || true
        tail -1 "$out/judge-$scale.log"
        count=$(((count + 1) / 2))
    done
    for overlap in 9 5; do
        echo "== four segments that share $overlap frames, judged from the last one on"
        FROM=$((17 + 2 * (17 - overlap))) KEEP=$state/long-$overlap $quality "$bin" \
            "$model" 200 "$count" --num_frames $((17 + 3 * (17 - overlap))) \
            --model_kind df --base_num_frames 17 --overlap_history $overlap \
            --addnoise_condition 20 \
            >"$out/long-$overlap.log" || true
        tail -1 "$out/long-$overlap.log"
    done
    tar -C "$state/judge-4" -czf "$out/samples.tar.gz" $(cd "$state/judge-4" && ls ./*.y4m |
        sed -n 1,4p)
}

table()
{
    local count=${1:-40} k

    unset GPUS # a launch has one GPU; parts of the table run beside one another
    for ((k = 0; k < gpus; k++)); do
        CUDA_VISIBLE_DEVICES=$k tests/demo-model/quality_table.sh "$bin" "$model" \
            "$state/table" 0 "$count" "$k/$gpus" >/dev/null &
    done
    wait
    tests/demo-model/quality_table.sh "$bin" "$model" "$state/table" 0 "$count" |
        tee "$out/quality.md"
}

"$part" "${@:4}"
