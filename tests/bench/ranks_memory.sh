#!/usr/bin/env bash
# ranks_memory.sh - host memory of ranks on one node, and how long ranks take to start
#
#     tests/bench/ranks_memory.sh BUILD_BIN_FOLDER [RANKS]
#
# Makes a model whose transformer has 24 blocks of the 1.3B size, all zeros, 2.3 GB in
# bf16, and generates with it on RANKS (4) ranks. In the first denoising step the
# proportional set sizes of all ranks are added up: shared pages count once. Fails when
# they come to more than the weights and 10 %. Then times the start of 2 and 8 ranks.
# Needs 6 GiB of memory and of disk in TMPDIR.
set -euo pipefail
export LC_ALL=C
. "$(dirname "$0")/../sparse.sh"
bin=$(realpath "$1")
ranks=${2:-4}
folder=$(mktemp -d "${TMPDIR:-/tmp}/framefleet-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder"

mpirun=(mpirun -q --oversubscribe --bind-to none)
[ "$(id -u)" -ne 0 ] || mpirun+=(--allow-run-as-root)
export OPENBLAS_NUM_THREADS=1

"$bin/make_demo_model" model >/dev/null
sed -i 's/"dim": .*/"dim": 1536,/; s/"ffn_dim": .*/"ffn_dim": 8960,/
    s/"num_heads": .*/"num_heads": 12,/; s/"num_layers": .*/"num_layers": 24,/' \
    model/config.json
weights=$(sparse_weights model/diffusion_pytorch_model.safetensors '
    function linear(name, rows, cols)
    {
        tensor(name ".weight", rows "," cols)
        tensor(name ".bias", rows)
    }
    function attention(name,    i)
    {
        for (i = 1; i <= 4; i++)
            linear(name "." substr("qkvo", i, 1), d, d)
        tensor(name ".norm_q.weight", d)
        tensor(name ".norm_k.weight", d)
    }
    BEGIN {
        tensor("patch_embedding.weight", d "," z ",1,2,2")
        tensor("patch_embedding.bias", d)
        linear("text_embedding.0", d, text)
        linear("text_embedding.2", d, d)
        linear("time_embedding.0", d, 256)
        linear("time_embedding.2", d, d)
        linear("time_projection.1", 6 * d, d)
        for (b = 0; b < layers; b++) {
            tensor("blocks." b ".modulation", "1,6," d)
            attention("blocks." b ".self_attn")
            tensor("blocks." b ".norm3.weight", d)
            tensor("blocks." b ".norm3.bias", d)
            attention("blocks." b ".cross_attn")
            linear("blocks." b ".ffn.0", ffn, d)
            linear("blocks." b ".ffn.2", d, ffn)
        }
        tensor("head.modulation", "1,2," d)
        linear("head.head", 4 * z, d)
    }' -v d=1536 -v ffn=8960 -v layers=24 -v text=128 -v z=16)

# Processes of this run.
ours()
{
    local p

    for p in $(pgrep -x framefleet); do
        [ "$(readlink "/proc/$p/cwd")" != "$folder" ] || echo "$p"
    done
}

measure()
{
    local n=$1 job total=0 rollup

    rm -f log
    "${mpirun[@]}" -n "$n" "$bin/framefleet" generate --model model --prompt cat \
        --size 32x32 --num_frames 5 --steps 50 --threads 1 --log_json log \
        --output out.y4m >out 2>&1 </dev/null &
    job=$!
    until grep -qs '"stage":"denoise"' log; do
        kill -0 "$job" || { cat out; exit 1; }
        sleep 0.2
    done
    rollup=()
    for p in $(ours); do
        pss=$(awk '/^Pss:/ { print $2 }' "/proc/$p/smaps_rollup")
        rollup+=("$((pss / 1024))")
        total=$((total + pss * 1024))
    done
    kill "$job"
    wait "$job" || true
    awk -v n="$n" -v t="$total" -v w="$weights" -v each="${rollup[*]}" 'BEGIN {
        printf "%d ranks hold %.0f MiB (%s), weights are %.0f MiB: %.3f copies\n", n,
            t / 1048576, each, w / 1048576, t / w
        exit n > 1 && t > 1.1 * w
    }'
}

measure 1
measure "$ranks"
for n in 2 8; do
    start=$(date +%s.%N)
    for _ in 1 2 3 4 5; do
        "${mpirun[@]}" -n "$n" "$bin/framefleet" --version >/dev/null
    done
    awk -v n="$n" -v a="$start" -v b="$(date +%s.%N)" \
        'BEGIN { printf "%d ranks start and end in %.2f s\n", n, (b - a) / 5 }'
done
