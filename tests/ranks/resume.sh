#!/usr/bin/env bash
# resume.sh - written on some ranks, gone on with on others: the same bytes
#
#     resume.sh FRAMEFLEET PROBE GOLDEN_DATA [PAIRS]
#
# PAIRS ("2:3 4:1 …") are ranks before and after; without them a few. Runs end by SIGKILL
# to one rank, to all, or by USR1 to one.
. "$(dirname "$0")/program.sh"

shopt -s extglob
pairs=${4:-1:2 2:1 2:4 3:2 4:3}
RANDOM=${SEED:-11}

PLAIN=(--model wan --prompt "A cat sits on the table." --size 144x112 --num_frames 17
    --steps 60 --threads 1)
LONG=(--model sky --prompt "Rain." --size 144x112 --num_frames 29 --steps 20 --ar_step 1
    --base_num_frames 17 --overlap_history 5 --addnoise_condition 20 --threads 1)

# begin RANKS: in the background, until there is a checkpoint with all of the solver's
# history
begin()
{
    "${MPIRUN[@]}" -n "$1" "$FF" generate "${ARGS[@]}" --output got.y4m \
        --save_latents got.h5 --checkpoint_every 1 >"$root/log" 2>&1 </dev/null &
    job=$!
    saved "got.y4m.checkpoints/ck-*-@(*[1-9]?|000[3-9])-i1.h5"
    sleep "0.$((RANDOM % 3))"
}

# end HOW: by SIGKILL to one rank or all, or USR1 to one; $code is that of mpirun
end()
{
    local all=($(ours))

    case $1 in
    one) kill -KILL "${all[RANDOM % ${#all[@]}]}" ;;
    all) kill -KILL "${all[@]}" ;;
    stop) kill -USR1 "${all[RANDOM % ${#all[@]}]}" ;;
    esac 2>/dev/null
    wait $job 2>/dev/null
    code=$?
}

# relay NAME A B HOW
relay()
{
    rm -rf got.*
    begin "$2"
    end "$4"
    if [ -e got.y4m ]; then
        skip "$1" "the run was quicker than the signal"
        return
    fi
    [ "$4" == stop ] && is "$1: exit code" "$code" 75
    makes_on "$3" resume got.y4m || return
    is "$1: goes on" "$(grep -c '^going on from ck-' "$root/err")" 1
    same "$1: latents" want.h5 got.h5
    same "$1: video" want.y4m got.y4m
    [ ! -e got.y4m.checkpoints ] && ok || not_ok "$1" "checkpoints are left"
    echo "$1, $4: $(grep '^going on' "$root/err")"
    resumed=$((resumed + 1))
}

resumed=0
how=(one stop all)
for kind in PLAIN LONG; do
    declare -n args=$kind
    ARGS=("${args[@]}")
    rm -f want.*
    makes generate "${ARGS[@]}" --output want.y4m --save_latents want.h5
    for pair in $pairs; do
        relay "$kind $pair ${how[0]}" "${pair%%:*}" "${pair##*:}" "${how[0]}"
        how=("${how[@]:1}" "${how[0]}")
    done
done
# A ring rounds otherwise: refused, and accepted within its tolerance.
ARGS=("${PLAIN[@]}")
rm -f want.* got.*
makes generate "${ARGS[@]}" --output want.y4m --save_latents want.h5
begin 1
end stop
if [ ! -e got.y4m ]; then
    "${MPIRUN[@]}" -n 2 "$FF" resume got.y4m --mesh g1u1r2 2>"$root/err" </dev/null
    is "another ring degree: exit code" $? 3
    grep -q "^framefleet: .*another ring degree.*--accept_change ring" "$root/err" && ok ||
        not_ok "another ring degree" "not said"
    # What rank 0 alone refuses before it opens the checkpoints ends all ranks with it.
    newest=$(ls got.y4m.checkpoints/ck-*.h5 | tail -1 | sed 's/.*ck-\([0-9]*-[0-9]*\)-.*/\1/')
    printf '{"segment":%d,"row":%d,"code":5,"restarts":2,"reason":"x"}' \
        "$((10#${newest%-*}))" "$((10#${newest#*-}))" >got.y4m.checkpoints/stuck
    ranks 2 resume got.y4m
    once "no progress" 5 "no progress: 2 restarts in a row"
    rm got.y4m.checkpoints/stuck
    makes_on 2 resume got.y4m --mesh g1u1r2 --accept_change ring
    grep -q "^warning: .*mesh 'g1u1r1', this is 'g1u1r2': accepted" "$root/err" && ok ||
        not_ok "ring accepted" "no warning"
    makes compare want.h5 got.h5 --max_l2 1e-4
else
    skip "another ring degree" "the run was quicker than the signal"
fi

[ $resumed -gt 0 ] && ok || not_ok relays "none was in time"
echo "$resumed runs went on"

done_testing
