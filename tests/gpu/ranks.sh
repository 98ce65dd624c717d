#!/usr/bin/env bash
# ranks.sh - several GPUs of one machine: exchanges, the same bytes, speed, failures
#
#     tests/gpu/ranks.sh BIN [PART...]
#
#     comm     exchanges of every kind, with exact integers
#     load     weights that ranks read a part of each, and how fast they are there
#     forward  the transformer on every mesh against one GPU
#     bench    seconds of one forward of the 14B shape, 51,000 tokens
#     program  a small random model from prompt to video on 1 and all GPUs
#     resume   all GPUs stopped by USR1, two go on; a rank killed, one goes on
#     refuse   wrong placements
#
# BIN holds framefleet, make_demo_model, ranks_comm, ranks_load and ranks_forward. Each
# step has a deadline, so that one that hangs costs its row and no more. BACKEND=cpu
# RANKS=4 tries this script without GPUs. Prints one table last and exits 1 if a row of
# it failed; with TABLE=FILE adds its rows to that file instead.
set -uo pipefail

bin=$(realpath "$1")
shift
parts=" ${*:-comm load forward bench program resume refuse} "
backend=${BACKEND:-cuda}
gpus=${RANKS:-$(nvidia-smi -L | wc -l)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
table=${TABLE:-$work/table}
touch "$table"
. "$(dirname "$0")/table.sh"
cd "$work" || exit 1

MPIRUN=(mpirun -q --oversubscribe --bind-to none)
[ "$(id -u)" -ne 0 ] || MPIRUN+=(--allow-run-as-root)
shape=(--shape 14b --size 960x544 --num_frames 97)
if [ "$backend" = cpu ]; then
    export OPENBLAS_NUM_THREADS=1
    shape=(--shape tiny --size 256x128 --num_frames 17)
fi

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

# ranks SECONDS N COMMAND...: on N ranks, ended after SECONDS; $code, log
ranks()
{
    local seconds=$1 n=$2

    shift 2
    timeout -k 5 "$seconds" "${MPIRUN[@]}" -n "$n" "$@" >log 2>&1 </dev/null
    code=$?
    [ $code -eq 0 ] || sed 's/^/    /' log | tail -6
}

counts()
{
    for ((n = 1; n <= gpus; n *= 2)); do
        echo $n
    done
}

part_comm()
{
    local n start

    for n in $(counts); do
        [ "$n" -gt 1 ] || continue
        start=$(now)
        ranks 60 "$n" "$bin/ranks_comm" "$backend"
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

# bench N MESH PRECISION
bench()
{
    local file=bench-$1-$3.json guidance=--no-guidance name seconds one

    [[ $2 != g2* ]] || guidance=--guidance
    ranks 60 "$1" "$bin/framefleet" bench --backend "$backend" --precision "$3" \
        --parts forward $guidance --mesh "$2" --share_blocks --repeats 3 \
        "${shape[@]}" --json "$file"
    sed 's/^/    /' log
    name="one forward, $3, $2"
    [ $code -eq 0 ] || { row "$name" none 0; return; }
    seconds=$(json median_seconds "$file")
    case $backend:$1:$2 in
    cuda:2:g1*) figure "$name, s" "$(printf %.4f "$seconds")" 1.54 3.07 ;;
    cuda:4:g1*) figure "$name, s" "$(printf %.4f "$seconds")" 0.78 1.38 ;;
    *) figure "$name, s" "$(printf %.4f "$seconds")" - - ;;
    esac
    row "    exposed communication of rank 0, s" \
        "$(printf %.4f "$(json exposed_communication_seconds "$file")")" -
    one=$(json median_seconds "bench-1-$3.json" 2>/dev/null)
    [ -z "$one" ] || row "    scaling efficiency" \
        "$(awk -v a="$one" -v b="$seconds" -v n="$1" 'BEGIN { printf "%.3f", a / b / n }')" -
}

# load_bench N READ CONVERT GOAL: the 14B shape's first blocks; seconds of all of them
load_bench()
{
    local file=load.json name="14B bf16 files to $1 ranks in fp8, $2, $3"

    ranks 120 "$1" "$bin/framefleet" bench --backend "$backend" --precision fp8 \
        --parts load --load_blocks "${LOAD_BLOCKS:-8}" --read_weights "$2" \
        --convert_weights "$3" --repeats 3 "${shape[@]}" --json "$file"
    sed 's/^/    /' log
    [ $code -eq 0 ] || { row "$name" none 0; return; }
    figure "$name, s" "$(awk -v b="$(json load_model_bytes "$file")" \
        -v r="$(json load_bytes_per_second "$file")" \
        'BEGIN { printf "%.2f", b / r }')" "$4" -
    figure "    GB/s" "$(gb load_bytes_per_second "$file")" - -
    figure "    beside it: memory to each, all at once, GB/s" \
        "$(gb load_send_bytes_per_second "$file")" - -
    figure "    beside it: page cache to memory, one thread each, GB/s" \
        "$(gb load_read_bytes_per_second "$file")" - -
}

# gb KEY FILE
gb()
{
    awk -v x="$(json "$1" "$2")" 'BEGIN { printf "%.2f", x / 1e9 }'
}

part_load()
{
    local n start

    for n in $(counts); do
        start=$(now)
        ranks 120 "$n" "$bin/ranks_load" "$backend"
        row "weights read by $n ranks, exit code" $code 0
        row "    seconds" "$(since "$start")" -
    done
    for n in $(counts); do
        load_bench "$n" each host -
        load_bench "$n" node device "$([ "$n" = 4 ] && echo 8 || echo -)"
    done
    load_bench "$gpus" node host -
}

part_bench()
{
    local mesh

    for mesh in ${MESHES:-1:g1u1r1 2:g1u2r1 4:g1u4r1 4:g2u2r1}; do
        [ "${mesh%%:*}" -gt "$gpus" ] || bench "${mesh%%:*}" "${mesh##*:}" fp8
    done
}

# job PRECISION: $args of a job whose video is $name.y4m
job()
{
    args=(--model model --backend "$backend" --precision "$1" --seed 7
        --prompt "a small boat on a calm lake at sunrise" --size 256x192
        --num_frames 17 --inference_steps "$2")
}

# make N MESH NAME: $args on that mesh
make()
{
    ranks 40 "$1" "$bin/framefleet" generate "${args[@]}" --mesh "$2" --output "$3.y4m" \
        --save_latents "$3.h5"
}

same()
{
    cmp -s "$2.h5" "$3.h5" && cmp -s "$2.y4m" "$3.y4m"
    row "$1, bytes differ" $? 0
}

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

# Processes of this script's folder.
ours()
{
    local p

    for p in $(pgrep -x framefleet); do
        [ "$(readlink "/proc/$p/cwd")" != "$work" ] || echo "$p"
    done 2>/dev/null
}

# begin N: in the background, until a checkpoint has all of the solver's history
begin()
{
    rm -rf got.*
    timeout -k 5 60 "${MPIRUN[@]}" -n "$1" "$bin/framefleet" generate "${args[@]}" \
        --output got.y4m --save_latents got.h5 --checkpoint_every 1 >log 2>&1 </dev/null &
    pid=$!
    until compgen -G "got.y4m.checkpoints/ck-*-000[3-9]-i1.h5" >/dev/null ||
        compgen -G "got.y4m.checkpoints/ck-*-*[1-9]?-i1.h5" >/dev/null; do
        kill -0 $pid 2>/dev/null || return
        sleep 0.02
    done
}

# end NAME SIGNAL WHICH CODE: send it to that rank; how it ended, how fast, what is left
end()
{
    local start

    start=$(now)
    kill -s "$2" "$(ours | sed -n "$3p")"
    wait $pid
    row "$1, exit code less $4" $(($? - $4)) 0
    while [ -n "$(ours)" ] && [ "$(since "$start" | cut -d. -f1)" -lt 30 ]; do
        sleep 0.05
    done
    row "    until nobody is left, s" "$(since "$start")" 10
    row "    checkpoints missing" "$(compgen -G 'got.y4m.checkpoints/ck-*' >/dev/null; echo $?)" 0
}

# goes_on NAME N: on N ranks
goes_on()
{
    ranks 60 "$2" "$bin/framefleet" resume got.y4m
    grep '^going on' log
    row "$1, exit code" $code 0
    same "    $1" whole got
}

part_resume()
{
    local few=$((gpus > 2 ? 2 : 1))

    job fp8 "${STEPS:-600}"
    make 1 g1u1r1 whole
    begin "$gpus"
    end "USR1 to one of $gpus ranks" USR1 1 75
    goes_on "$gpus ranks stopped, $few go on" $few
    begin "$gpus"
    end "one of $gpus ranks killed" KILL 2 137
    goes_on "one killed, one rank goes on" 1
}

# refused NAME N VISIBLE TEXT: with only these GPUs visible
refused()
{
    local start

    start=$(now)
    CUDA_VISIBLE_DEVICES=$3 timeout -k 5 30 "${MPIRUN[@]}" -n "$2" "$bin/framefleet" \
        generate "${args[@]}" --output no.y4m >log 2>&1 </dev/null
    row "$1, exit code less 2" $(($? - 2)) 0
    row "    until refused, s" "$(since "$start")" 5
    row "    lines" "$(grep -c '^framefleet: ' log)" 1
    grep '^framefleet: ' log
    row "    lines that lack the reason" "$(grep '^framefleet: ' log | grep -vc "$4")" 0
}

part_refuse()
{
    [ "$backend" = cuda ] || return
    job fp8 8
    refused "two ranks, one visible GPU" 2 0 "peers are hidden"
    [ "$gpus" -lt 4 ] || refused "four ranks, two visible GPUs" 4 0,1 "4 ranks on the 2 gpus"
}

"$bin/make_demo_model" model >/dev/null || exit 1
for part in comm load forward bench program resume refuse; do
    ! wanted $part || { echo "== $part, $(date +%T)"; part_$part; }
done
[ -n "${TABLE:-}" ] || table_print
