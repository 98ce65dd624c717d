#!/usr/bin/env bash
# ranks.sh - several GPUs of one machine: exchanges, the same bytes, speed, failures
#
#     tests/gpu/ranks.sh BIN [PART...]
#
#     comm     exchanges of every kind, with exact integers
#     forward  the transformer on every mesh against one GPU
#     bench    seconds of one forward of the 14B shape, 51,000 tokens
#     program  a small random model from prompt to video on 1 and all GPUs, in every
#              precision's own bytes
#     resume   ranks stopped by USR1, fewer go on; a rank killed, one goes on; from one
#              mesh to another
#     vae      the 14B shape's video decoded by all GPUs
#     load     weights that ranks read a part of each, and how fast they are there
#     refuse   wrong placements
#     ring     forward and program where keys go round
#     long     one forward of 111,600 tokens
#     each     loading where every rank reads all of the files
#
# in this order, the most important first. BIN holds framefleet, make_demo_model,
# ranks_comm, ranks_load and ranks_forward. Each step has a deadline, and all of it has
# LIMIT seconds (100 for each GPU): a step that hangs costs its row and no more, what
# there is no time for is said. ONE=FILE is the JSON of a bench of one GPU, so that it
# need not run again. BACKEND=cpu RANKS=2 tries this script without GPUs. Prints one
# table last and exits 1 if a row of it failed; with TABLE=FILE adds its rows to that
# file instead.
set -uo pipefail

bin=$(realpath "$1")
shift
order=(comm forward bench program resume vae load refuse ring long each)
parts=" ${*:-${order[*]}} "
backend=${BACKEND:-cuda}
gpus=${RANKS:-$(nvidia-smi -L | wc -l)}
last=$(($(date +%s) + ${LIMIT:-$((gpus * 100))}))
[ "${DEADLINE:-$last}" -le "$last" ] && last=${DEADLINE:-$last}
DEADLINE=$last
one=${ONE:+$(realpath "$ONE")}
work=$(mktemp -d)
scratch=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
if [ "$(df --output=avail "$scratch" | tail -1)" -lt 8000000 ]; then
    rmdir "$scratch"
    scratch=$(mktemp -d)
fi
table=${TABLE:-$work/table}
touch "$table"
# shellcheck source=tests/gpu/table.sh
. "$(dirname "$0")/table.sh"
cd "$work" || exit 1

MPIRUN=(mpirun -q --oversubscribe --bind-to none)
[ "$(id -u)" -ne 0 ] || MPIRUN+=(--allow-run-as-root)
shape=(--shape 14b --size 960x544 --num_frames 97)
long=(--shape 14b --size 1280x720 --num_frames 121)
blocks=${LOAD_BLOCKS:-12}
slow=1 # times longer deadlines
if [ "$backend" = cpu ]; then
    export OPENBLAS_NUM_THREADS=1
    shape=(--shape tiny --size 256x128 --num_frames 17)
    long=(--shape tiny --size 256x256 --num_frames 17)
    blocks=1
    slow=6
fi

# ---- running -------------------------------------------------------------------------

wanted()
{
    [[ $parts == *" $1 "* ]]
}

now()
{
    date +%s.%N
}

since()
{
    awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'
}

# Processes of this script's folder.
ours()
{
    local p

    for p in $(pgrep -x 'framefleet|ranks_.*'); do
        [ "$(readlink "/proc/$p/cwd")" != "$work" ] || echo "$p"
    done 2>/dev/null
}

# What a step that was ended may have left behind.
sweep()
{
    local p

    for p in $(ours); do
        kill -KILL "$p"
    done 2>/dev/null
    rm -f "$scratch"/*
}

trap 'sweep; rm -rf "$work" "$scratch"' EXIT

# ranks SECONDS N COMMAND...: on N ranks, ended after SECONDS; $code, log
ranks()
{
    local seconds n=$2

    seconds=$(within $(($1 * slow)))
    shift 2
    timeout -k 5 "$seconds" "${MPIRUN[@]}" -n "$n" "$@" >log 2>&1 </dev/null
    code=$?
    [ $code -eq 0 ] && return
    sed 's/^/    /' log | tail -6
    [ $code -lt 124 ] || { echo "    ended after $seconds s, code $code"; sweep; }
}

# time_for NAME SECONDS: is there so much left? Else the row says so
time_for()
{
    [ "$(within "$2")" -ge "$2" ] && return
    row "$1: no time left" "none" -
    return 1
}

counts()
{
    for ((n = 1; n <= gpus; n *= 2)); do
        echo "$n"
    done
}

# ---- exchanges, the transformer ------------------------------------------------------

part_comm()
{
    local n start

    for n in $(counts); do
        [ "$n" -gt 1 ] || continue
        start=$(now)
        ranks 40 "$n" "$bin/ranks_comm" "$backend"
        row "exchanges of $n ranks, exit code" $code 0
        [ $code -eq 0 ] || parts=" refuse " # nothing else can work
        row "    seconds" "$(since "$start")" -
    done
}

part_forward()
{
    local start

    start=$(now)
    ranks 60 "$gpus" "$bin/ranks_forward" "$backend"
    sed 's/^/    /' log
    row "transformer on the meshes of $gpus ranks, exit code" $code 0
    row "    seconds" "$(since "$start")" -
}

# ---- speed ---------------------------------------------------------------------------

# goals N MESH: of one forward of 51,000 tokens, and the best of others
goals()
{
    case $backend:$1:$2 in
    cuda:1:*) echo 3.0 4.02 ;;
    cuda:2:g1*) echo 1.54 3.07 ;;
    cuda:4:g1*) echo 0.78 1.38 ;;
    *) echo - - ;;
    esac
}

# efficiency N FORWARDS SECONDS: against one GPU, of FORWARDS at the same time
efficiency()
{
    local alone goal=-

    alone=$(json median_seconds bench-g1u1r1.json)
    [ -n "$alone" ] || return
    [ "$backend:$1" != cuda:4 ] || goal=0.96
    figure_up "    scaling efficiency" "$(awk -v a="$alone" -v b="$3" -v n="$1" -v f="$2" \
        'BEGIN { printf "%.3f", f * a / b / n }')" $goal "$([ $goal = - ] && echo - || echo 0.91)"
}

# bench N MESH REPEATS
bench()
{
    local file=bench-$2.json guidance=--no-guidance name="one forward, fp8, $2" at_once=1

    [[ $2 != g2* ]] || { guidance=--guidance; at_once=2; }
    if [ "$1" -eq 1 ] && [ -s "$one" ]; then
        cp "$one" "$file"
        code=0
    else
        ranks 60 "$1" "$bin/framefleet" bench --backend "$backend" --precision fp8 \
            --parts forward $guidance --mesh "$2" --share_blocks --repeats "$3" \
            "${shape[@]}" --json "$file"
        sed 's/^/    /' log
    fi
    [ $code -eq 0 ] || { row "$name" none 0; return; }
    # shellcheck disable=SC2046
    figure "$name, $at_once at once, s" "$(seconds "$file")" $(goals "$1" "$2")
    [ "$1" -gt 1 ] || return
    efficiency "$1" $at_once "$(json median_seconds "$file")"
    row "    exposed communication of rank 0, s" \
        "$(printf %.4f "$(json exposed_communication_seconds "$file")")" -
    row "    peak memory of rank 0, GiB (weights of one block)" "$(gib peak_bytes "$file")" -
}

part_bench()
{
    local mesh

    for mesh in ${MESHES:-1:g1u1r1:2 4:g1u4r1:3 2:g1u2r1:3 4:g2u2r1:3 2:g2u1r1:1}; do
        IFS=: read -r n mesh repeats <<<"$mesh"
        [ "$n" -gt "$gpus" ] || bench "$n" "$mesh" "$repeats"
    done
}

# The video of 97 frames on N ranks: goal for 4.
vae_bench()
{
    local file=vae-$1.json goal=-

    [ "$1" -ne 4 ] || goal=0.55
    time_for "VAE decode on $1" 12 || return
    ranks 40 "$1" "$bin/framefleet" bench --backend "$backend" --precision bf16 \
        --parts vae --vae_ranks "$1" --repeats 3 "${shape[@]}" --json "$file"
    sed 's/^/    /' log
    [ $code -eq 0 ] || { row "VAE decode on $1 ranks" none 0; return; }
    figure "VAE decode, 97 frames of 960x544, $1 ranks, s" "$(seconds "$file")" $goal -
    row "    peak memory of rank 0, GiB" "$(gib peak_bytes "$file")" -
}

part_vae()
{
    local n

    for n in $(counts); do
        if [ "$n" -eq 1 ] && [ -n "$(json median_seconds "${one:-none}" 2)" ]; then
            row "VAE decode, 97 frames of 960x544, 1 rank, s" "$(seconds "$one" 2)" -
        else
            vae_bench "$n"
        fi
    done
}

part_long()
{
    time_for "111,600 tokens" 30 || return
    ranks 60 "$gpus" "$bin/framefleet" bench --backend "$backend" --precision fp8 \
        --parts forward --no-guidance --mesh "g1u${gpus}r1" --share_blocks --repeats 1 \
        "${long[@]}" --json long.json
    sed 's/^/    /' log
    [ $code -eq 0 ] || { row "111,600 tokens on $gpus ranks" none 0; return; }
    figure "one forward of 111,600 tokens, g1u${gpus}r1, s" "$(seconds long.json)" - -
}

# ---- loading -------------------------------------------------------------------------

# gb KEY FILE
gb()
{
    awk -v x="$(json "$1" "$2")" 'BEGIN { printf "%.2f", x / 1e9 }'
}

# Blocks of 0.72 GB whose file takes no more than a third of the memory that is there,
# and of the room in its folder.
load_blocks()
{
    awk -v most="$blocks" -v room="$(df --output=avail "$scratch" | tail -1)" '
        /^MemAvailable/ {
            n = int(($2 < room ? $2 : room) * 1024 / 3 / 0.72e9)
            print n < 1 ? 1 : n < most ? n : most }' /proc/meminfo
}

# load_bench N READ: the 14B shape's first blocks, from /dev/shm; seconds of all
load_bench()
{
    local file=load.json name="28.6 GB of bf16 files to $1 in fp8, read by $2" goal=- some

    some=$(load_blocks)
    [ "$backend:$1:$2" != cuda:4:node ] || goal=8
    time_for "$name" 20 || return
    ranks 60 "$1" "$bin/framefleet" bench --backend "$backend" --precision fp8 \
        --parts load --load_blocks "$some" --read_weights "$2" \
        --convert_weights device --repeats 2 --scratch "$scratch" "${shape[@]}" \
        --json "$file"
    sed 's/^/    /' log
    [ $code -eq 0 ] || { row "$name" none 0; return; }
    figure "$name, s" "$(awk -v b="$(json load_model_bytes "$file")" \
        -v r="$(json load_bytes_per_second "$file")" \
        'BEGIN { printf "%.2f", b / r }')" $goal -
    figure "    GB/s, of $some of 40 blocks" "$(gb load_bytes_per_second "$file")" - -
    figure "    beside it: memory to each, all at once, GB/s" \
        "$(gb load_send_bytes_per_second "$file")" - -
    figure "    beside it: page cache to memory, one thread each, GB/s" \
        "$(gb load_read_bytes_per_second "$file")" - -
}

part_load()
{
    ranks 40 "$gpus" "$bin/ranks_load" "$backend"
    row "weights read by $gpus ranks: the host's bytes, exit code" $code 0
    load_bench "$gpus" node
}

part_each()
{
    load_bench "$gpus" each
}

# ---- the whole program ---------------------------------------------------------------

# job PRECISION STEPS: $args of a job whose video is $name.y4m
job()
{
    args=(--model model --backend "$backend" --precision "$1" --seed 7
        --prompt "a small boat on a calm lake at sunrise" --size 256x192
        --num_frames 17 --inference_steps "$2")
}

# make N MESH NAME: $args on that mesh
make()
{
    ranks 30 "$1" "$bin/framefleet" generate "${args[@]}" --mesh "$2" --output "$3.y4m" \
        --save_latents "$3.h5"
    [ $code -eq 0 ] || row "program on $2, exit code" $code 0
}

# same NAME ONE OTHER
same()
{
    cmp -s "$2.h5" "$3.h5"
    row "$1, bytes of latents differ" $? 0
    cmp -s "$2.y4m" "$3.y4m"
    row "    of the video" $? 0
}

# The video is decoded by all ranks, too.
part_program()
{
    local precision mesh

    for precision in fp8 bf16; do
        job $precision 8
        make 1 g1u1r1 "one-$precision"
        for mesh in 2:g1u2r1 2:g2u1r1 4:g1u4r1 4:g2u2r1; do
            [ "${mesh%%:*}" -le "$gpus" ] || continue
            [ $precision = fp8 ] || [ "${mesh%%:*}" = "$gpus" ] || continue
            make "${mesh%%:*}" "${mesh##*:}" "many"
            same "program, $precision, ${mesh##*:} against one" "one-$precision" many
            rm -f many.*
        done
    done
}

# begin N MESH: in the background, until a checkpoint has all of the solver's history
begin()
{
    rm -rf got.*
    timeout -k 5 "$(within $((40 * slow)))" "${MPIRUN[@]}" -n "$1" "$bin/framefleet" generate \
        "${args[@]}" --mesh "$2" --output got.y4m --save_latents got.h5 \
        --checkpoint_every 1 >log 2>&1 </dev/null &
    pid=$!
    until compgen -G "got.y4m.checkpoints/ck-*-000[3-9]-i1.h5" >/dev/null ||
        compgen -G "got.y4m.checkpoints/ck-*-*[1-9]?-i1.h5" >/dev/null; do
        kill -0 "$pid" 2>/dev/null || return
        sleep 0.02
    done
}

# end NAME SIGNAL WHICH CODE: send it to that rank; how it ended, how fast, what is left
end()
{
    local start

    start=$(now)
    kill -s "$2" "$(ours | sed -n "$3p")"
    wait "$pid"
    row "$1, exit code less $4" $(($? - $4)) 0
    while [ -n "$(ours)" ] && [ "$(since "$start" | cut -d. -f1)" -lt 15 ]; do
        sleep 0.05
    done
    row "    until nobody is left, s" "$(since "$start")" 10
    row "    checkpoints missing" "$(compgen -G 'got.y4m.checkpoints/ck-*' >/dev/null; echo $?)" 0
    sweep
}

# goes_on NAME N MESH
goes_on()
{
    ranks 40 "$2" "$bin/framefleet" resume got.y4m --mesh "$3"
    grep '^going on' log
    row "$1, exit code" $code 0
    same "    $1" whole got
}

part_resume()
{
    local few=$((gpus > 2 ? 2 : 1)) half=$((gpus / 2))

    time_for "stopping and going on" 15 || return
    job fp8 "${STEPS:-600}"
    make 1 g1u1r1 whole
    begin "$gpus" "g1u${gpus}r1"
    end "one of $gpus ranks killed" KILL 2 137
    goes_on "one killed, one rank goes on" 1 g1u1r1
    begin "$gpus" "g2u${half}r1"
    end "USR1 to one of $gpus ranks" USR1 1 75
    goes_on "$gpus ranks stopped, $few go on" $few "g1u${few}r1"
    time_for "from mesh to mesh" 10 || return
    begin "$gpus" "g1u${gpus}r1"
    end "USR1 to the last of $gpus ranks" USR1 "$gpus" 75
    goes_on "stopped on g1u${gpus}r1, on with g2u${half}r1" "$gpus" "g2u${half}r1"
}

# A ring adds up in another order: not the bytes of one.
part_ring()
{
    local found

    time_for "ring" 15 || return
    job bf16 8
    [ -s one-bf16.h5 ] || make 1 g1u1r1 one-bf16
    make 2 g1u1r2 ring
    found=$("$bin/framefleet" compare one-bf16.h5 ring.h5 | sed -n 's/^relative L2: //p')
    row "program, bf16, g1u1r2 against one, relative L2" "${found:-none}" 2e-2
    time_for "one forward, fp8, g1u1r2" 15 || return
    bench 2 g1u1r2 1
}

# ---- wrong placements ----------------------------------------------------------------

# refused NAME TEXT ARGUMENTS...: by these arguments of mpirun
refused()
{
    local name=$1 text=$2 start

    shift 2
    start=$(now)
    timeout -k 5 "$(within 20)" "${MPIRUN[@]}" "$@" >log 2>&1 </dev/null
    row "$name, exit code less 2" $(($? - 2)) 0
    row "    until refused, s" "$(since "$start")" 5
    row "    lines" "$(grep -c '^framefleet: ' log)" 1
    grep '^framefleet: ' log
    row "    lines that lack the reason" "$(grep '^framefleet: ' log | grep -vc "$text")" 0
    sweep
}

part_refuse()
{
    [ "$backend" = cuda ] || return
    local run here=(-n 1 -wdir one) there=(-n 1 -wdir two) words

    job fp8 8
    run=("$bin/framefleet" generate "${args[@]}" --output no.y4m)
    CUDA_VISIBLE_DEVICES=0 refused "two ranks, one visible GPU" "peers are hidden" \
        -n 2 "${run[@]}"
    [ "$gpus" -lt 4 ] || CUDA_VISIBLE_DEVICES=0,1 refused "four ranks, two visible GPUs" \
        "4 ranks on the 2 gpus" -n 4 "${run[@]}"
    mkdir -p one two
    ln -sfn ../model one/model
    ln -sfn ../model two/model
    words=$(printf ' %016x' 1 2 3 4 5 6 7 8)
    : >one/rows
    echo "90 130100 BF16 BF16 16 16$words" >two/rows
    run+=(--algorithms rows)
    refused "ranks with other files of algorithms" "one file of algorithms" \
        "${here[@]}" "${run[@]}" : "${there[@]}" "${run[@]}"
}

# ---- all of it -----------------------------------------------------------------------

begun=$(date +%s)
"$bin/make_demo_model" model >/dev/null || exit 1
for part in "${order[@]}"; do
    ! wanted "$part" || { echo "== $part, $(($(date +%s) - begun)) s"; part_"$part"; }
done
row "several GPUs, seconds in all" $(($(date +%s) - begun)) -
[ -n "${TABLE:-}" ] || table_print
