#!/usr/bin/env bash
# run.sh - build and run everything that needs an NVIDIA GPU, on a machine that has some
#
#     tests/gpu/run.sh [PART...]        default: all
#
#   tests, at once, four to a GPU (they wait for the reference on the host):
#     ops        every operation against the reference
#     vae        those of the autoencoder
#     golden     the golden cases of the CPU engine, in every precision
#     load       weights converted on the GPU: the host's bytes
#     program    a small random model from prompt to video, latents against the cpu
#                backend in every precision
#     sanitize   few small cases that meet every kernel, under compute-sanitizer
#   beside them, one to a GPU, because of the memory they take (28 and 50 GiB):
#     big        operations on tensors of more than 2^31 elements
#     accuracy   14B shape: an fp8 forward beside a bf16 one, block by block; of other
#                precisions with ACCURACY="NAME..."
#   then, each alone on a GPU, on two of them at once:
#     bench      14B shape, 960x544x97: forward in fp8, fp8_fast and bf16, VAE, text
#                encoder, loading, every op beside what the machine can do
#     long       14B shape, 1280x720x121: forward in fp8
#     tune       algorithms of the products of a 14B block in fp8, and a forward with the
#                fastest; its rows go to build/gpu-logs/algorithms
#   then, alone on the machine:
#     ranks      several GPUs (ranks.sh)
#
# `ops`, `vae` and `big` alone need no library but CUDA's; the others those of the whole
# program. Where some are not installed, put them in .prefix/ (include/, lib/,
# lib/pkgconfig/ with relocatable .pc files). BIN=DIR takes programs that are already
# built. With LIMIT=SECONDS everything that is not over by then is ended. Logs go to
# build/gpu-logs. Prints one table last and exits 1 if a test failed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

logs=$PWD/build/gpu-logs
mkdir -p "$logs"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
table=$work/table
: >"$table"
. tests/gpu/table.sh
[ -z "${LIMIT:-}" ] || export DEADLINE=$(($(date +%s) + LIMIT))

light=(ops vae golden load program sanitize)
heavy=(big accuracy)
figures=(bench long tune)
parts=" ${*:-${light[*]} ${heavy[*]} ${figures[*]} ranks} "
gpus=$(nvidia-smi -L | wc -l)

wanted()
{
    [[ $parts == *" $1 "* ]]
}

# ---- building ------------------------------------------------------------------------

# build PRESET_FLAGS... -- TARGETS...: into $bin
build()
{
    local folder=$1 flags=()

    shift
    while [ "$1" != -- ]; do
        flags+=("$1")
        shift
    done
    shift
    bin=$PWD/$folder/bin
    { cmake --preset gpu -B "$folder" "${flags[@]}" &&
        cmake --build "$folder" --parallel "$(nproc)" --target "$@"; } \
        >"$logs/build" 2>&1 || { tail -40 "$logs/build"; exit 1; }
}

export PKG_CONFIG_PATH="$PWD/.prefix/lib/pkgconfig:${PKG_CONFIG_PATH:-}"
export CMAKE_PREFIX_PATH="$PWD/.prefix:${CMAKE_PREFIX_PATH:-}"
export LD_LIBRARY_PATH="$PWD/.prefix/lib:${LD_LIBRARY_PATH:-}"
kernels=(test_ops_gpu test_vae_gpu test_big_gpu)
if [ -n "${BIN:-}" ]; then
    bin=$(realpath "$BIN")
elif [[ "$parts" =~ ^(\ (ops|vae|big))+\ $ ]]; then
    build build/gpu-kernels -DFF_KERNELS_ONLY=ON -- "${kernels[@]}"
else
    build build/gpu -- framefleet make_demo_model test_golden_gpu ranks_comm \
        ranks_forward ranks_load "${kernels[@]}"
fi

# The race checker has programs of its own (kernels/cuda/shared.cuh).
race=$PWD/build/gpu-race/bin
if wanted sanitize; then
    kept=$bin
    build build/gpu-race -DFF_KERNELS_ONLY=ON -DFF_LANES_ARRIVE=ON \
        -DCMAKE_CUDA_ARCHITECTURES=native -- test_ops_gpu test_vae_gpu
    bin=$kept
fi

# ---- tests ---------------------------------------------------------------------------

# passes NAME SECONDS COMMAND...: a row that says its exit code; output goes to the log
passes()
{
    local name=$1 begin=$SECONDS code

    timeout -k 5 "$(within "$2")" "${@:3}" </dev/null
    code=$?
    row "$name ($((SECONDS - begin)) s), exit code" $code 0
}

part_ops()
{
    passes "operations against the reference" 300 "$bin/test_ops_gpu"
    passes "algorithms of products" 120 "$bin/test_ops_gpu" --ways
}

part_vae()
{
    passes "the autoencoder's operations against the reference" 300 "$bin/test_vae_gpu"
}

part_big()
{
    passes "operations beyond 2^31 elements" 200 "$bin/test_big_gpu"
}

part_golden()
{
    passes "golden cases, fp32, bf16, fp8, int8" 200 "$bin/test_golden_gpu"
}

part_load()
{
    passes "weights converted on the gpu against the host's" 200 "$bin/ranks_load" cuda
}

# Small cases by kernels (`test_…_gpu --small`); only those of `linear` share no memory.
small=(ops:linear ops:rows ops:heads ops:odds ops:plain ops:portable ops:hopper
    ops:fours ops:wide vae:conv vae:portable vae:rows)

# sanitized GPU TOOL PROGRAM PART: its exit code behind its log
sanitized()
{
    local log=$logs/$2-$3-$4 begin=$SECONDS from=$bin

    [ "$2" != racecheck ] || from=$race
    CUDA_VISIBLE_DEVICES=$1 timeout -k 5 "$(within 110)" "$sanitizer" --tool "$2" \
        --error-exitcode 9 --print-limit 10 "$from/test_$3_gpu" --small "$4" \
        >"$log" 2>&1 </dev/null
    echo "exit code $? after $((SECONDS - begin)) s" >>"$log"
}

part_sanitize()
{
    local sanitizer tool part bad last n=0

    sanitizer=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer) ||
        { row "compute-sanitizer" none 0; return; }
    rm -f "$logs"/{memcheck,racecheck}-*
    for tool in memcheck racecheck; do
        for part in "${small[@]}"; do
            [ $tool:$part != racecheck:ops:linear ] || continue
            sanitized $((n++ % gpus)) $tool "${part%:*}" "${part#*:}" &
        done
    done
    wait
    for tool in memcheck racecheck; do
        bad=0
        for part in "$logs"/$tool-*; do
            last=$(tail -1 "$part")
            echo "${part##*/}: $last"
            [[ $last != "exit code 0 "* ]] || continue
            bad=$((bad + 1))
            grep -v ' ok$' "$part" | head -30
            row "    ${part##*/}, $last" none -
        done
        row "$tool: programs of $(ls "$logs"/$tool-* | wc -l) that failed" $bad 0
    done
}

# generate BACKEND PRECISION: latents to BACKEND-PRECISION.h5
generate()
{
    timeout -k 5 "$(within 60)" "$bin/framefleet" generate --model "$work/model" \
        --backend "$1" --precision "$2" --output "$work/$1-$2.y4m" \
        --save_latents "$work/$1-$2.h5" \
        --prompt "a small boat on a calm lake at sunrise" --size 128x128 \
        --num_frames 17 --inference_steps 8 --seed 7
}

# compare PRECISION LIMIT: of the relative L2 of the latents
compare()
{
    local found

    generate cpu "$1" && generate cuda "$1"
    found=$("$bin/framefleet" compare "$work/cpu-$1.h5" "$work/cuda-$1.h5" |
        sed -n 's/^relative L2: //p')
    row "whole run, $1, latents against cpu, relative L2" "${found:-none}" "$2"
}

part_program()
{
    "$bin/make_demo_model" "$work/model" >/dev/null
    # fp32 sums in another order; eight guided steps amplify one forward's 1e-6
    compare fp32 1e-4
    # roundings to 8 bits of mantissa and to codes fall otherwise here and there, and
    # differ as much from one processor to the next
    compare bf16 2e-2
    compare fp8 1e-1
    compare int8 5e-2
}

# An 8-bit block moves by what rounding its products does; far more is a mistake.
part_accuracy()
{
    local precision file all worst

    for precision in ${ACCURACY:-fp8}; do
        file=$logs/accuracy-$precision.json
        rm -f "$file"
        timeout -k 5 "$(within 120)" "$bin/framefleet" bench --backend cuda --shape 14b \
            --precision "$precision" --parts accuracy --no-guidance --json "$file"
        all=$(json relative_l2 "$file")
        worst=$(json relative_l2 "$file" 2)
        row "14B, $precision beside bf16, velocity: relative L2" "${all:-none}" 1.5e-1
        row "    cosine" "$(json cosine "$file")" -
        row "    worst block, $(json worst_block "$file"): relative L2" \
            "${worst:-none}" 1.5e-1
        row "    cosine" "$(json cosine "$file" 2)" -
    done
}

# ---- figures -------------------------------------------------------------------------

# Of the table of ops in a log: work of self attention by the time of it and of what
# prepares its codes.
attention_rate()
{
    awk '$1 == "attention" && $3 == "I8" { flop = $6 * $4 * $5; us += $4 * $5 }
         $1 == "heads" && $3 == "I8" || $1 == "values" && $3 == "F8_E4M3" ||
             $1 == "key_sum" { us += $4 * $5 }
         END { if (us > 0) printf "%.0f", flop / us; else print "none" }' "$1"
}

# bench NAME ARGS...: the 14B shape, to $file.json and $file.txt
bench()
{
    file=$logs/$1
    rm -f "$file".*
    timeout -k 5 "$(within 150)" "$bin/framefleet" bench --shape 14b "${@:2}" \
        --json "$file.json" >"$file.txt" 2>&1
    cat "$file.txt"
}

# loaded FILE: seconds for the whole model's files at the rate of some blocks
loaded()
{
    awk -v b="$(json load_model_bytes "$1")" -v r="$(json load_bytes_per_second "$1")" \
        'BEGIN { if (r > 0) printf "%.2f", b / r; else print "none" }'
}

# Of the table's best elsewhere bf16 is the same library compiled, without 8-bit kernels.
part_bench()
{
    local file whole

    bench bench-fp8 --backend cuda --precision fp8 --ops --parts forward,vae,text,load \
        --load_blocks 2
    figure "14B forward, 51,000 tokens, fp8, 1 gpu, s" "$(seconds "$file.json")" 3.0 4.02
    figure "    peak memory, GiB" "$(gib peak_bytes "$file.json")" 16.5 18.3
    figure "    less on the gpu, libraries included, GiB" \
        "$(gib device_bytes "$file.json")" - 18.3
    figure_up "8-bit attention with its preparation, TFLOP/s" \
        "$(attention_rate "$file.txt")" 1050 803
    figure "VAE decode, 97 frames of 960x544, 1 gpu, s" "$(seconds "$file.json" 2)" 1.6 2.82
    figure "text encoder, 512 tokens, s" "$(seconds "$file.json" 3)" - -
    figure "28.6 GB of bf16 files to 1 gpu in fp8 (2 blocks), s" "$(loaded "$file.json")" - -
    whole=$(sed -n '/"end_to_end"/,$p' "$file.json" |
        json seconds /dev/stdin | awk '{ printf "%.1f", $1 }')
    figure "30 guided steps with text and VAE, estimated, s" "${whole:-none}" - -
    bench bench-fp8_fast --backend cuda --precision fp8_fast --ops --parts forward \
        --share_blocks
    figure "14B forward, 51,000 tokens, fp8_fast, 1 gpu, s" "$(seconds "$file.json")" \
        3.0 4.02
    bench bench-bf16 --backend cuda --precision bf16 --ops --parts forward --repeats 1
    figure "14B forward, 51,000 tokens, bf16, 1 gpu, s" "$(seconds "$file.json")" - 5.75
}

part_long()
{
    local file

    bench bench-long --backend cuda --precision fp8 --ops --parts forward --size 1280x720 \
        --num_frames 121 --repeats 1
    figure "14B forward, 111,600 tokens, fp8, 1 gpu, s" "$(seconds "$file.json")" 11.8 15.6
    figure_up "    8-bit attention with its preparation, TFLOP/s" \
        "$(attention_rate "$file.txt")" 1050 803
}

part_tune()
{
    local file

    rm -f "$logs/algorithms"
    bench bench-tune --backend cuda --precision fp8 --tune --tune_file "$logs/algorithms" \
        --parts forward --share_blocks
    figure "14B forward, 51,000 tokens, fp8, tuned, s" "$(seconds "$file.json")" 3.0 4.02
    cat "$logs/algorithms"
}

part_ranks()
{
    TABLE=$table ONE=$logs/bench-fp8.json LIMIT=${RANKS_LIMIT:-$((gpus * 100))} \
        tests/gpu/ranks.sh "$bin"
}

# ---- all of it -----------------------------------------------------------------------

# on GPU PARTS...: one after another, those that are wanted
on()
{
    local gpu=$1 part

    shift
    for part in "$@"; do
        wanted "$part" || continue
        table=$work/rows.$part
        CUDA_VISIBLE_DEVICES=$gpu part_"$part" >"$logs/$part" 2>&1
    done
}

# lane N OF PARTS...: every OF-th of those that are wanted, from the N-th
lane()
{
    local n=$1 of=$2 i=0 part mine=()

    shift 2
    for part in "$@"; do
        wanted "$part" || continue
        [ $((i++ % of)) -ne "$n" ] || mine+=("$part")
    done
    on $((n % gpus)) "${mine[@]}"
}

# said PARTS...: what is worth a look of their logs, and their rows
said()
{
    local part

    for part in "$@"; do
        wanted "$part" || continue
        echo "== $part"
        grep -v '  ok$' "$logs/$part" | tail -50
        cat "$work/rows.$part" >>"$table"
    done
}

echo "== built after $SECONDS s"
for ((n = 0; n < 4 * gpus; n++)); do
    lane $n $((4 * gpus)) "${light[@]}" &
done
for ((n = 0; n < gpus; n++)); do
    lane $n "$gpus" "${heavy[@]}" &
done
wait
said "${light[@]}" "${heavy[@]}"
echo "== figures, after $SECONDS s"
if [ "$gpus" -gt 1 ]; then
    on 0 bench &
    on 1 long tune &
else
    on 0 "${figures[@]}" &
fi
wait
said "${figures[@]}"
if wanted ranks; then
    echo "== ranks, after $SECONDS s"
    part_ranks 2>&1 | tee "$logs/ranks"
fi
row "everything, seconds" $SECONDS -
table_print | tee "$logs/table"
exit "${PIPESTATUS[0]}"
