#!/usr/bin/env bash
# run.sh - build and run everything that needs an NVIDIA GPU, on a machine that has one
#
#     tests/gpu/run.sh [ops] [program] [bench] [ranks]    default: all but ranks
#
#     ops      every operation against the reference
#     program  a small random model from prompt to video, latents against the cpu
#              backend in every precision
#     bench    14B shape, 544x960x97: forward in bf16 and fp8, VAE, text encoder, loading,
#              every op beside what the machine can do
#     ranks    several GPUs (ranks.sh)
#
# All but `ops` need the libraries of the whole program. Where some are not installed, put
# them in .prefix/ (include/, lib/, lib/pkgconfig/ with relocatable .pc files). Prints
# tables and exits 1 if a row of one failed.
set -euo pipefail
cd "$(dirname "$0")/../.."

parts=" ${*:-ops program bench} "
kernels=build/gpu-kernels
whole=build/gpu
failed=0

wanted()
{
    [[ $parts == *" $1 "* ]]
}

mkdir -p build
if wanted ops; then
    cmake --preset gpu -B $kernels -DFF_KERNELS_ONLY=ON >$kernels.log 2>&1 ||
        { cat $kernels.log; exit 1; }
    cmake --build $kernels --parallel "$(nproc)" >>$kernels.log 2>&1 ||
        { tail -40 $kernels.log; exit 1; }
fi

whole_build()
{
    export PKG_CONFIG_PATH="$PWD/.prefix/lib/pkgconfig:${PKG_CONFIG_PATH:-}"
    export CMAKE_PREFIX_PATH="$PWD/.prefix:${CMAKE_PREFIX_PATH:-}"
    export LD_LIBRARY_PATH="$PWD/.prefix/lib:${LD_LIBRARY_PATH:-}"
    cmake --preset gpu
    cmake --build --preset gpu --parallel "$(nproc)" \
        --target framefleet make_demo_model "$@"
}

# generate BACKEND PRECISION: latents to BACKEND-PRECISION.h5
generate()
{
    $whole/bin/framefleet generate --model "$work/model" --backend "$1" \
        --precision "$2" --output "$work/$1-$2.y4m" --save_latents "$work/$1-$2.h5" \
        --prompt "a small boat on a calm lake at sunrise" --size 128x128 \
        --num_frames 17 --inference_steps 8 --seed 7 >"$work/$1-$2.log" 2>&1 ||
        { echo "generate --backend $1 --precision $2:"; tail -5 "$work/$1-$2.log"; return 1; }
}

# compare PRECISION LIMIT: of the relative L2 of the latents
compare()
{
    local found said=ok

    generate cpu "$1" && generate cuda "$1" || { failed=1; return; }
    found=$($whole/bin/framefleet compare "$work/cpu-$1.h5" "$work/cuda-$1.h5" \
        --max_l2 "$2") || { said=FAILED; failed=1; }
    found=$(sed -n 's/^relative L2: //p' <<<"$found")
    printf '%-58s %12.3g %12.3g  %s\n' "whole run, $1, latents against cpu" "$found" \
        "$2" "$said"
}

if wanted ops; then
    ./$kernels/bin/test_ops_gpu || failed=1
    ./$kernels/bin/test_vae_gpu || failed=1
fi
if wanted program; then
    mkdir -p build
    whole_build >$whole.log 2>&1 || { tail -40 $whole.log; exit 1; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    $whole/bin/make_demo_model "$work/model" >/dev/null
    # fp32 sums in another order; eight guided steps amplify one forward's 1e-6
    compare fp32 1e-4
    # roundings to 8 bits of mantissa and to codes fall otherwise here and there, and
    # differ as much from one processor to the next
    compare bf16 2e-2
    compare fp8 1e-1
    compare int8 5e-2
fi
if wanted ranks; then
    whole_build ranks_comm ranks_forward >$whole.log 2>&1 ||
        { tail -40 $whole.log; exit 1; }
    tests/gpu/ranks.sh $whole/bin || failed=1
fi
if wanted bench; then
    whole_build >$whole.log 2>&1 || { tail -40 $whole.log; exit 1; }
    bench=("$whole/bin/framefleet" bench --backend cuda --shape 14b --ops)
    "${bench[@]}" --precision bf16 --parts forward || failed=1
    "${bench[@]}" --precision fp8 --parts forward,vae,text,load \
        --json build/gpu-bench.json || failed=1
fi
exit $failed
