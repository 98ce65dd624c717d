#!/usr/bin/env bash
# ranks_gone.sh - how long a job outlives a death
#
#     tests/bench/ranks_gone.sh BUILD_BIN_FOLDER GOLDEN_DATA [RANKS [TIMES]]
#
# RANKS (3) ranks denoise; one of them, or mpirun, is killed, TIMES (5) times each. Per
# way the seconds until the last process is gone: least, median, most.
set -uo pipefail
export LC_ALL=C OPENBLAS_NUM_THREADS=1
bin=$(realpath "$1")
golden=$(realpath "$2")
ranks=${3:-3}
times=${4:-5}
folder=$(mktemp -d "${TMPDIR:-/tmp}/framefleet-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
mkdir -p wan/google/umt5-xxl
cp "$golden/dit/wan_a/original/"* "$golden/vae/Wan2.1_VAE.pth" \
    "$golden/umt5/models_t5_umt5-xxl-enc-bf16.pth" wan/
cp "$golden/tokenizer/spiece.model" wan/google/umt5-xxl/
mpirun=(mpirun -q --oversubscribe --bind-to none)
[ "$(id -u)" -ne 0 ] || mpirun+=(--allow-run-as-root)

ours()
{
    local p

    for p in $(pgrep -x framefleet); do
        [ "$(readlink "/proc/$p/cwd")" == "$folder" ] && echo "$p"
    done
}

# once WAY: prints seconds
once()
{
    local pid all victim start

    : >log
    "${mpirun[@]}" -n "$ranks" "$bin/framefleet" generate --model wan --prompt cat \
        --size 144x112 --num_frames 17 --steps 1000 --threads 1 --output out.y4m --force \
        >log 2>&1 </dev/null &
    pid=$!
    while ! grep -q "^denoise 5/" log; do
        kill -0 $pid || return
        sleep 0.05
    done
    all=($(ours))
    victim=$pid
    [ "$1" == rank ] && victim=${all[RANDOM % ${#all[@]}]}
    start=$(date +%s%N)
    kill -KILL "$victim"
    for p in "${all[@]}"; do
        while kill -0 "$p" 2>/dev/null; do
            sleep 0.01
        done
    done
    echo $(($(date +%s%N) - start))
    wait $pid 2>/dev/null
}

for way in rank launcher; do
    for ((i = 0; i < times; i++)); do
        once $way 2>/dev/null
    done | sort -n | awk -v way=$way -v ranks="$ranks" '{ v[NR] = $1 / 1e9 }
        END { printf "SIGKILL to %s, %d ranks: %.2f %.2f %.2f s\n", way, ranks, v[1],
            v[int((NR + 1) / 2)], v[NR] }'
done
