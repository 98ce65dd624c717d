#!/usr/bin/env bash
# kills.sh - killed at any moment, in any way, on any ranks: it goes on to the same bytes
#
#     kills.sh FRAMEFLEET PROBE GOLDEN_DATA CALLS [N]
#
# N trials (12 without it). Each begins a run of one of five kinds on some ranks, ends it
# in one of the ways below, and goes on with it on other ranks; that may be ended too, up
# to three times in all. Latents and video must be those of an undisturbed run on one rank,
# and nothing else may be left. Half of the ends are inside the writing of a checkpoint, by
# CALLS (calls.h) put before the program: at the system call that a stage begins with.
#
# From 100 trials on, what is written on A ranks has been gone on with on B for all 36 pairs.
#
#     SEED=7         trials are drawn from it and their number, alone
#     ONLY="3 17"    just these trials
calls=$(realpath "$4")
here=$(realpath "$(dirname "$0")")
. "$here/../ranks/program.sh"
. "$here/writer.sh"

trials=${5:-12}
seed=${SEED:-2026}
on_ranks=(1 2 3 4 6 8)

# Where Open MPI keeps its files, so that we see what is ours to remove and what is not.
mkdir "$root/tmp" "$root/shm"
export TMPDIR=$root/tmp OMPI_MCA_orte_tmpdir_base=$root/tmp \
    OMPI_MCA_btl_vader_backing_directory=$root/shm \
    OMPI_MCA_osc_sm_backing_directory=$root/shm

# ---- what runs

CAT=(--prompt "A cat sits on the table." --threads 1)
plain=(--model wan "${CAT[@]}" --size 96x80 --num_frames 9 --steps 150)
replayed=("${plain[@]}" --sampler dpm++ --rng torch_cpu)
lagged=(--model sky "${CAT[@]}" --size 64x48 --num_frames 33 --steps 40 --ar_step 9
    --causal_block_size 1)
latents=(--model sky "${CAT[@]}" --size 64x48 --num_frames 41 --steps 50 --ar_step 1
    --base_num_frames 17 --overlap_history 5 --addnoise_condition 20 --rng torch_cpu)
pixels=(--model sky "${CAT[@]}" --size 64x48 --num_frames 41 --steps 50
    --base_num_frames 17 --overlap_history 5 --addnoise_condition 20 --chain pixels)
kinds=(plain replayed lagged latents pixels)

# ---- how it ends

# Moments outside of it: claiming, naming the outputs, removing the checkpoints.
edges="claim renameat .owner-* 0 1
latents fsync work 0 1
video linkat got.y4m*.part 0 1
named fsync work 0 2
clear unlinkat owner 0 1"
ways=(one all launcher job stop-one stop-launcher term term-one decode)

# draw NUMBER: sets $way; for a way by calls also $fault, else $row and $pause
draw()
{
    local name call pattern factor more visit=$((1 + RANDOM % 4)) lines i=$(($1 / 2))

    fault=
    row=$((1 + RANDOM % 90))
    pause=0.0$((RANDOM % 10))
    case $(($1 % 8)) in
    0 | 2 | 4 | 6) mapfile -t lines <<<"$stages" ;;
    5)
        mapfile -t lines <<<"$edges"
        i=$(($1 / 8))
        ;;
    *)
        way=${ways[i % ${#ways[@]}]}
        return
        ;;
    esac
    read -r name call pattern factor more <<<"${lines[i % ${#lines[@]}]}"
    way=at-$name
    fault="$call $pattern $((factor * visit + more)) kill"
}

# Processes in this test's folder: launchers, ranks, and the readers that ranks start.
inside()
{
    local p

    for p in $(find /proc -maxdepth 2 -name exe \( -lname "$FF" -o -lname '*orterun' \) \
        2>/dev/null | cut -d/ -f3); do
        case $(readlink "/proc/$p/cwd" 2>/dev/null) in
        "$root"*) echo "$p" ;;
        esac
    done
}

rank_of()
{
    local all=($(ours))

    [ ${#all[@]} -gt 0 ] && echo "${all[RANDOM % ${#all[@]}]}"
}

# launch RANKS ARGS...: in the background; one rank every other time without mpirun
launch()
{
    local n=$1 start=("${MPIRUN[@]}" -n "$1")

    shift
    [ "$n" -eq 1 ] && [ $((RANDOM % 2)) -eq 0 ] && start=()
    : >"$root/log"
    LD_PRELOAD=${fault:+$calls} FF_FAULT=$fault \
        "${start[@]}" "$FF" "$@" >"$root/log" 2>&1 </dev/null &
    pid=$!
    alone=$((${#start[@]} == 0))
}

# until_line PATTERN: it is in the log, or the run has ended
until_line()
{
    until grep -q "$1" "$root/log"; do
        kill -0 $pid 2>/dev/null || return
        sleep 0.02
    done
}

# end: the run in the way that was drawn; sets $code, and $late when it was quicker
end()
{
    local ranks

    if [ -z "$fault" ]; then
        if [ "$way" == decode ]; then
            until_line "^decode $((1 + row % 5))/"
        else
            until_line "^denoise $row/"
            sleep "$pause"
        fi
        ranks=$(ours)
        case $way in
        one | decode) kill -KILL $(rank_of) ;;
        all) kill -KILL $ranks ;;
        launcher) kill -KILL $pid ;;
        job) kill -KILL $pid $ranks ;;
        stop-one) kill -USR1 $(rank_of) ;;
        stop-launcher) kill -USR1 $pid ;;
        term) kill -TERM $pid ;;
        term-one) kill -TERM $(rank_of) ;;
        esac 2>/dev/null
    fi
    wait $pid 2>/dev/null
    code=$?
    late=$((code == 0))
}

# No process of the run is left. After the death of the launcher that takes its ranks
# some seconds; half of the time the next run does not wait for it.
settled()
{
    local tries=1500

    [ "$way" == launcher ] && [ $((RANDOM % 2)) -eq 0 ] && return
    while [ -n "$(inside)" ] && [ $((tries -= 1)) -gt 0 ]; do
        sleep 0.1
    done
    is "$1: processes left" "$(inside)" ""
}

# ---- a trial

checkpoints()
{
    compgen -G "got.y4m.checkpoints/ck-*.h5" >/dev/null
}

# The last row that a log tells of, and the row that it began with.
last_row()
{
    sed -n 's:^denoise \([0-9]*\)/.*:\1:p' "$root/log" | tail -1
}

first_row()
{
    sed -n 's:^denoise \([0-9]*\)/.*:\1:p' "$root/log" | head -1
}

# go: begin, or go on with what is there
go()
{
    if checkpoints; then
        launch "$1" resume got.y4m --checkpoint_every 1
    else
        launch "$1" generate "${ARGS[@]}" --output got.y4m --save_latents got.h5 \
            --checkpoint_every 1 --force
    fi
}

# judge NAME: after an end. Once there was a checkpoint there is one.
judge()
{
    settled "$1"
    case $way in
    stop-*) [ $late -eq 1 ] || is "$1: exit code" "$code" 75 ;;
    esac
    if [ $had -eq 1 ] && ! checkpoints && [ ! -e got.y4m ]; then
        not_ok "$1" "the checkpoints are gone"
    fi
    checkpoints && had=1
    ends[$way]=$((${ends[$way]:-0} + 1 - late))
    quicker=$((quicker + late))
}

# followed NAME: the run in the log has followed one that ended by $way. Which row comes
# after $last, and did it go on with what $from ranks have written?
followed()
{
    local first again

    grep -q '^going on from ck-' "$root/log" && pairs[$from:$n]=1
    first=$(first_row)
    case $ended in
    launcher | job) return ;; # nobody passed on what ranks said after that
    esac
    [ -n "$last" ] && [ -n "$first" ] || return
    again=$((last - first + 1))
    [ $again -lt 0 ] && not_ok "$1" "rows are missing: $last was the last, $first is next"
    [ $went -eq 0 ] || echo "$ended $again" >>"$root/redone"
}

# reached NAME: what came out is what the undisturbed run gave, and nothing else is left
reached()
{
    same "$1: latents" "$kind.want.h5" got.h5
    same "$1: video" "$kind.want.y4m" got.y4m
    is "$1: files left" "$(ls -A | grep -v -e '^got\.\(h5\|y4m\)$' | comm -13 "$root/before" -)" ""
}

# step NAME: on $n ranks, begin or go on, until it is ended or done
step()
{
    went=0
    checkpoints && went=1
    go "$n"
    if [ "$way" == done ]; then
        wait $pid
        code=$?
        cp "$root/log" "$root/err"
        is "$1: exit code on $n" "$code" 0
    else
        end
    fi
    if [ -n "$from" ]; then
        followed "$1"
        again=$((again + 1 - went))
        resumed=$((resumed + went))
    fi
    from=$n
    ended=$way
    last=$(last_row)
}

# trial NUMBER: the ranks of the first two runs go through all pairs
trial()
{
    local name="$1 " i ends_wanted line

    RANDOM=$(((seed * 7919 + $1 * 10477) % 32768))
    : $RANDOM $RANDOM $RANDOM $RANDOM
    kind=${kinds[RANDOM % ${#kinds[@]}]}
    declare -n ARGS=$kind
    ends_wanted=$((1 + RANDOM % 3 * (RANDOM % 2)))
    rm -rf got.*
    had=0 last= from= late=0
    name+=$kind
    for ((i = 0; i <= ends_wanted && late == 0; i++)); do
        case $i in
        0) n=${on_ranks[($1 - 1) % 6]} ;;
        1) n=${on_ranks[($1 - 1) / 6 % 6]} ;;
        *) n=${on_ranks[RANDOM % 6]} ;;
        esac
        way=done fault=
        [ $i -eq $ends_wanted ] || draw $(($1 + 3 * i))
        name+=", $n $way"
        step "$name"
        [ "$way" == done ] || judge "$name"
    done
    way=done
    settled "$name"
    reached "$name"
    [ $late -eq 0 ] || name+=", quicker"
    echo "$name: $(grep -m1 '^going on' "$root/log")"
}

# relay A B: written on A, told to stop in the middle, gone on with on B
relay()
{
    local name="relay $1 to $2"

    kind=plain
    declare -n ARGS=$kind
    rm -rf got.*
    had=0 last= from= late=0
    n=$1 way=stop-one fault= row=20 pause=0.02
    step "$name"
    judge "$name"
    n=$2 way=done
    step "$name"
    settled "$name"
    reached "$name"
    echo "$name: $(grep -m1 '^going on' "$root/log")"
}

# ---- all of them

echo "seed $seed, $trials trials"
for kind in "${kinds[@]}"; do
    declare -n ARGS=$kind
    makes generate "${ARGS[@]}" --output "$kind.want.y4m" --save_latents "$kind.want.h5"
done
ls -A | sort >"$root/before"

declare -A ends=() pairs=()
: >"$root/redone"
resumed=0
again=0
quicker=0
for number in ${ONLY:-$(seq "$trials")}; do
    trial "$number"
done

[ $resumed -ge $((trials / 3)) ] || [ -n "${ONLY:-}" ] && ok ||
    not_ok kills "only $resumed runs went on"
if [ "$trials" -ge 100 ]; then # pairs that no trial has gone on over
    for a in "${on_ranks[@]}"; do
        for b in "${on_ranks[@]}"; do
            [ -n "${pairs[$a:$b]:-}" ] || relay "$a" "$b"
        done
    done
    is "pairs of ranks" ${#pairs[@]} 36
fi
echo "$resumed runs went on, $again began again, $quicker were quicker than their end"
echo "${#pairs[@]} of 36 pairs of ranks; ends and rows redone after them:"
for way in "${!ends[@]}"; do
    printf '  %-14s %3d' "$way" "${ends[$way]}"
    awk -v way="$way" '$1 == way { print $2 }' "$root/redone" | sort -n | awk '{ v[NR] = $1 }
        END { if (NR) printf "   median %d, at most %d", v[int((NR + 1) / 2)], v[NR]; print "" }'
done | sort
echo "files of Open MPI left by killed launchers: $(find "$root/shm" "$root/tmp" -type f |
    wc -l)"

done_testing
