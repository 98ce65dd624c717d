#!/usr/bin/env bash
# run.sh - fuzz every target for some time, one after the other
#
#     CC=clang-14 CXX=clang++-14 cmake --preset fuzz
#     cmake --build --preset fuzz
#     tests/fuzz/run.sh [SECONDS=600] [CORPUS=build/fuzz/corpus] [TARGET...]
#
# Seeds are the files that build/fuzz/bin/test_malformed writes, beside the reference
# data. Prints one line for each target: executions, coverage. Stops at the first crash,
# leaving the input in the corpus folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-600}
corpus=${2:-build/fuzz/corpus}
targets=("${@:3}")
[ ${#targets[@]} -gt 0 ] || targets=(json safetensors index config pickle pth h5_walk job tokenizer y4m)
bin=build/fuzz/bin

mkdir -p "$corpus/seeds"
"$bin/test_malformed" --write "$corpus/seeds" >"$corpus/seeds.log"
mkdir -p "$corpus/seeds/job" "$corpus/seeds/tokenizer" "$corpus/seeds/y4m"
cp tests/fuzz/seeds/job/* "$corpus/seeds/json/"* "$corpus/seeds/job/"
cp tests/fuzz/seeds/y4m/* "$corpus/seeds/y4m/"
cp tests/demo-model/spiece.model "$corpus/seeds/tokenizer/"
if [ -d /dev/shm ]; then
    export TMPDIR=/dev/shm
fi
for target in "${targets[@]}"; do
    longest=4096
    [ "$target" != tokenizer ] || longest=300000 # its seed has 270 kB
    mkdir -p "$corpus/$target" "$corpus/seeds/$target"
    nice -n 19 "$bin/fuzz_$target" -max_total_time="$seconds" -max_len=$longest \
        -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$corpus/$target-" \
        "$corpus/$target" "$corpus/seeds/$target" >"$corpus/$target.log" 2>&1 || {
        tail -n 30 "$corpus/$target.log"
        exit 1
    }
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$corpus/$target.log")
    coverage=$(grep -o 'cov: [0-9]* ft: [0-9]*' "$corpus/$target.log" | tail -n 1)
    echo "$target: $executions executions, $coverage"
done
