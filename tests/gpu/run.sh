#!/usr/bin/env bash
# run.sh - build and run everything that needs an NVIDIA GPU, on a machine that has some
#
#     tests/gpu/run.sh [PART...]        default: all
#
#   tests, side by side, each on a GPU of its own when there are several:
#     ops        every operation against the reference
#     vae        those of the autoencoder
#     big        operations on tensors of more than 2^31 elements
#     golden     the golden cases of the CPU engine, in every precision
#     load       weights converted on the GPU and read by ranks: the host's bytes
#     program    a small random model from prompt to video, latents against the cpu
#                backend in every precision
#     sanitize   ops, vae and golden under compute-sanitizer
#     accuracy   14B shape: an fp8 forward beside a bf16 one, block by block
#   then, alone on the machine:
#     bench      14B shape, 960x544x97: forward in bf16 and fp8, VAE, text encoder,
#                loading, every op beside what the machine can do
#     long       14B shape, 1280x720x121: forward in fp8
#     tune       algorithms of the products of a 14B block in fp8, and a forward with the
#                fastest; its rows go to build/gpu-logs/algorithms
#     ranks      several GPUs (ranks.sh)
#
# `ops`, `vae` and `big` alone need no library but CUDA's; the others those of the whole
# program. Where some are not installed, put them in .prefix/ (include/, lib/,
# lib/pkgconfig/ with relocatable .pc files). BIN=DIR takes programs that are already
# built. Logs go to build/gpu-logs. Prints one table last and exits 1 if a test failed.
set -uo pipefail
cd "$(dirname "$0")/../.."

logs=$PWD/build/gpu-logs
mkdir -p "$logs"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
table=$work/table
: >"$table"
. tests/gpu/table.sh

side=(ops vae big golden load program sanitize accuracy)
alone=(bench long tune ranks)
parts=" ${*:-${side[*]} ${alone[*]}} "
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

# ---- tests ---------------------------------------------------------------------------

# passes NAME SECONDS COMMAND...: a row that says its exit code; output goes to the log
passes()
{
    local name=$1 begin=$SECONDS code

    timeout -k 5 "$2" "${@:3}" </dev/null
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

part_sanitize()
{
    local tool

    command -v compute-sanitizer >/dev/null || { row "compute-sanitizer" none 0; return; }
    for tool in memcheck racecheck; do
        passes "$tool: operations" 400 compute-sanitizer --tool $tool \
            --error-exitcode 9 --print-limit 5 "$bin/test_ops_gpu" --small
    done
    passes "memcheck: the autoencoder's operations" 300 compute-sanitizer \
        --error-exitcode 9 --print-limit 5 "$bin/test_vae_gpu"
}

# generate BACKEND PRECISION: latents to BACKEND-PRECISION.h5
generate()
{
    "$bin/framefleet" generate --model "$work/model" --backend "$1" \
        --precision "$2" --output "$work/$1-$2.y4m" --save_latents "$work/$1-$2.h5" \
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
    local file=$logs/accuracy.json all worst

    timeout -k 5 300 "$bin/framefleet" bench --backend cuda --shape 14b --precision fp8 \
        --parts accuracy --ops --no-guidance --json "$file"
    all=$(json relative_l2 "$file")
    worst=$(json relative_l2 "$file" 2)
    row "14B, fp8 beside bf16, velocity: relative L2" "${all:-none}" 1.5e-1
    row "    cosine" "$(json cosine "$file")" -
    row "    worst block, $(json worst_block "$file"): relative L2" "${worst:-none}" 1.5e-1
    row "    cosine" "$(json cosine "$file" 2)" -
}

# ---- figures -------------------------------------------------------------------------

# gib KEY FILE
gib()
{
    json "$1" "$2" | awk '{ printf "%.2f", $1 / 2^30; n++ } END { if (!n) print "none" }'
}

# Of the table of ops in a log: work of self attention by the time of it and of what
# prepares its codes.
attention_rate()
{
    awk '$1 == "attention" && $3 == "I8" { flop = $6 * $4 * $5; us += $4 * $5 }
         $1 == "heads" && $3 == "I8" || $1 == "values" && $3 == "F8_E4M3" ||
             $1 == "key_sum" { us += $4 * $5 }
         END { if (us > 0) printf "%.0f", flop / us; else print "none" }' "$1"
}

# seconds FILE [NTH]: of the first, second … part in it
seconds()
{
    local s

    s=$(json median_seconds "$1" "${2:-1}")
    [ -n "$s" ] && printf %.3f "$s" || echo none
}

part_bench()
{
    local b=(timeout -k 5 400 "$bin/framefleet" bench --backend cuda --shape 14b --ops)
    local file=$logs/bench

    "${b[@]}" --precision bf16 --parts forward --json "$file-bf16.json"
    figure "14B forward, 51,000 tokens, bf16, s" "$(seconds "$file-bf16.json")" - 5.75
    "${b[@]}" --precision fp8 --parts forward,vae,text,load --json "$file-fp8.json" |
        tee "$file-fp8.txt"
    figure "14B forward, 51,000 tokens, fp8, s" "$(seconds "$file-fp8.json")" 3.0 4.02
    figure "    peak memory, GiB" "$(gib peak_bytes "$file-fp8.json")" 16.5 18.3
    "${b[@]/%cuda/cuda:all}" --precision fp8 --parts forward,vae,text \
        --json "$file-all.json" | tee "$file-all.txt"
    figure "    with every kernel, s" "$(seconds "$file-all.json")" 3.0 4.02
    figure_up "    8-bit attention with its preparation, TFLOP/s" \
        "$(attention_rate "$file-fp8.txt")" 1050 803
    figure "VAE decode, 97 frames of 960x544, s" "$(seconds "$file-fp8.json" 2)" 1.6 2.82
    figure "    with every kernel, s" "$(seconds "$file-all.json" 2)" 1.6 2.82
    "${b[@]/%cuda/cuda:portable}" --precision fp8 --parts vae \
        --json "$file-portable.json" | tee "$file-portable.txt"
    figure "    with those of any gpu, s" "$(seconds "$file-portable.json")" - 2.82
    figure "text encoder, 512 tokens, s" "$(seconds "$file-fp8.json" 3)" - -
    figure "    with every kernel, s" "$(seconds "$file-all.json" 3)" - -
    figure "loading one block's file, s" "$(seconds "$file-fp8.json" 4)" - -
}

part_long()
{
    timeout -k 5 400 "$bin/framefleet" bench --backend cuda --shape 14b --precision fp8 \
        --parts forward --size 1280x720 --num_frames 121 --repeats 2 \
        --json "$logs/long.json"
    figure "14B forward, 111,600 tokens, fp8, s" "$(seconds "$logs/long.json")" 11.8 15.6
}

part_tune()
{
    rm -f "$logs/algorithms"
    timeout -k 5 300 "$bin/framefleet" bench --backend cuda --shape 14b --precision fp8 \
        --tune --tune_file "$logs/algorithms" --parts forward --share_blocks \
        --json "$logs/tune.json"
    figure "14B forward, 51,000 tokens, fp8, tuned, s" "$(seconds "$logs/tune.json")" \
        3.0 4.02
    cat "$logs/algorithms"
}

part_ranks()
{
    TABLE=$table tests/gpu/ranks.sh "$bin"
}

# ---- all of it -----------------------------------------------------------------------

# lane GPU: every so-many-th of the wanted tests, on that GPU
lane()
{
    local i=0 part

    for part in "${side[@]}"; do
        wanted "$part" || continue
        [ $((i++ % gpus)) -eq "$1" ] || continue
        table=$work/rows.$part
        CUDA_VISIBLE_DEVICES=$1 part_"$part" >"$logs/$part" 2>&1
    done
}

for ((gpu = 0; gpu < gpus; gpu++)); do
    lane $gpu &
done
wait
for part in "${side[@]}"; do
    wanted "$part" || continue
    echo "== $part"
    cat "$logs/$part"
    cat "$work/rows.$part" >>"$table"
done
for part in "${alone[@]}"; do
    wanted "$part" || continue
    echo "== $part, $(date +%T)"
    part_"$part" 2>&1 | tee "$logs/$part"
done
table_print
