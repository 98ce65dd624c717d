#!/usr/bin/env bash
# device.sh - train and judge on a machine with GPUs that is there for minutes
#
#     device.sh train STATE OUT [SECONDS]    build the program, train, pack the model
#     device.sh judge STATE OUT [COUNT]      videos of COUNT held-out captions (200), judged
#     device.sh long STATE OUT [COUNT]       long videos of COUNT captions (40), judged, of
#                                            every kind in KINDS
#     device.sh table STATE OUT [COUNT]      the rows of docs/quality.md, of COUNT captions (20)
#
# Every part uses all GPUs. `train` takes SECONDS at most (540), ends with exit code 75
# when the training needs another call, and leaves model.tar.* in OUT, cut into pieces of
# 15 MiB (cat model.tar.* | tar x), whatever has been reached. The others build the program
# where it is not there, and take the model of STATE or, where there is none, that of
# tests/demo-model/trained. A small model's time on a GPU goes into starting kernels, so
# they make LAUNCHES videos or rows at once on each (8). Cut off, they leave in OUT what was
# judged until then (judge.sofar, long-*.sofar, table.rows).
#
# BACKEND=cpu tries this script without GPUs, BIN=FOLDER takes programs from there, FLAGS
# go to train.py, or to `framefleet generate`.
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
model=$state/model
[ -f "$model/config.json" ] || model=tests/demo-model/trained
quality=tests/demo-model/quality.sh

# What `judge`, `long` and `table` need: the program, and how many launches there may be
ready()
{
    if [ ! -x "$bin/demo_world" ] || [ ! -x "$bin/framefleet" ]; then
        program_build >"$out/build.log" 2>&1 || { tail -5 "$out/build.log"; exit 1; }
        echo "built in $((SECONDS - began)) s"
    fi
    export BACKEND=$backend LAUNCHES=${LAUNCHES:-8}
    [ "$backend" = cpu ] || export GPUS=$gpus
}

# judged NAME FIRST COUNT FLAG...: NAME.log in OUT, a line, and a row for docs/quality.md
judged()
{
    local name=$1 from=$SECONDS
    shift

    # shellcheck disable=SC2086
    SOFAR=$out/$name.sofar KEEP=$state/$name $quality "$bin" "$model" "$@" ${FLAGS:-} \
        >"$out/$name.log" || echo "videos are missing"
    rm -f "$out/$name.sofar"
    echo "$name: $(tail -1 "$out/$name.log") ($((SECONDS - from)) s)"
    tail -1 "$out/$name.log" | awk -v name="$backend, $name${FLAGS:+ $FLAGS}" '{
        gsub(/[.]00/, "")
        print "| " name " | " $4 " | " $7 " | " $9 " | " $11 " | " $13 " | " $15 " | " $17 " |"
        }' >>"$out/rows.md"
}

judge()
{
    ready
    judged judge 0 "${1:-200}"
    (cd "$state/judge" && tar -czf - ./[0-3].y4m) >"$out/samples.tar.gz"
}

# Four segments, judged from the last one on. A kind says how many frames a segment has,
# how many it shares with the one before, and --ar_step: how many steps a frame is behind
# the one before it.
long()
{
    local kind base shared lag

    ready
    for kind in ${KINDS:-17-13-0 17-9-0 25-17-0 17-13-3 17-9-3}; do
        IFS=- read -r base shared lag <<<"$kind"
        FROM=$((3 * base - 2 * shared)) KEPT=$base judged "long-$kind" 200 "${1:-40}" \
            --num_frames $((4 * base - 3 * shared)) --model_kind df --ar_step "$lag" \
            --base_num_frames "$base" --overlap_history "$shared" --addnoise_condition 20
    done
}

table()
{
    ready
    tests/demo-model/quality_table.sh "$bin" "$model" "$state/table" 0 "${1:-20}" \
        2>"$out/table.rows" >"$out/quality.md"
    cat "$out/quality.md"
}

"$part" "${@:4}"
