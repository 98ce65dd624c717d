#!/usr/bin/env bash
# scripts.sh - the batch scripts of slurm/ on a real Slurm: every way to end, and on
#
#     scripts.sh FRAMEFLEET PROBE GOLDEN_DATA [long]
#     scripts.sh FRAMEFLEET PROBE GOLDEN_DATA user       as nobody, when we are root
#     only="chain array" scripts.sh …                    these scenarios
#
# Each scenario has a folder, a copy of the scripts and a virtual node or two of its own,
# and all run at the same time; each must end in the bytes of an undisturbed run. So that
# nothing depends on how fast this machine is, rank 1 is halted (SIGSTOP) after a few rows
# and goes on when the signal in question waits for it, or by the CONT that Slurm sends
# first; rank 0 gets its signals as they come, and goes on writing checkpoints.
if [ "${4:-}" = user ] && [ "$(id -u)" -eq 0 ]; then
    nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/tmp USER=nobody)
    if ! "${nobody[@]}" test -x "$1"; then
        echo "skipped: nobody may not run $1"
        exit 77
    fi
    exec "${nobody[@]}" bash "$0" "$1" "$2" "$3"
fi
here=$(realpath "$(dirname "$0")")
. "$here/../ranks/program.sh"
. "$here/rig.sh"

SCRIPTS=$here/../../slurm
long=${4:-}
models=$root/work
STEPS=400
ROWS=6 # after so many, things happen

# What no log, checkpoint or script of Slurm's may hold: promised of everything we write.
TOKEN=planted-$RANDOM-$RANDOM
export HF_TOKEN=$TOKEN AWS_SECRET_ACCESS_KEY=$TOKEN DB_PASSWORD=$TOKEN

# ---- what scenarios are made of ------------------------------------------------------

# job FILE OUTPUT [KEYS]: a job file
job()
{
    printf '{"model": "%s/wan", "prompt": "A cat sits on the table.", "size": "48x32",
 "num_frames": 17, "steps": %d, "threads": 1, "output": "%s"%s}\n' \
        "$models" "$STEPS" "$2" "${3:-}" >"$1"
}

# site LINE...: this scenario's copy of the scripts, with its settings, and a program that
# halts its other rank at the row in the file halt_at, once, and says so in the file halted
site()
{
    cp -R "$SCRIPTS" slurm
    {
        printf 'framefleet=%q\npause_s=1\n' "$PWD/gate"
        printf '%s\n' "$@"
    } >slurm/site.sh
    {
        printf '#!/bin/bash\nFF=%q\n' "$FF"
        cat <<'END'
exec "$FF" "$@" 2> >(
    while IFS= read -r line; do
        printf '%s\n' "$line" >&2
        case $line in
        "denoise "*) row=${line#denoise } ;;
        *) continue ;;
        esac
        row=${row%%/*}
        [ -e halt_at ] && [ "$row" -ge "$(<halt_at)" ] && rm halt_at || continue
        for p in $(pgrep -x framefleet); do
            [ "$p" -ne $$ ] && [ "$(readlink "/proc/$p/cwd")" = "$PWD" ] &&
                grep -qzx resume "/proc/$p/cmdline" && kill -STOP "$p" && echo "$p $row" >halted
        done 2>/dev/null
    done
)
END
    } >gate
    chmod +x gate
}

# batch FLAGS... FILE ARGS...: its id in $id
batch()
{
    id=$(sbatch --parsable --time=30 -N 1 --ntasks-per-node=2 --gpus-per-node=2 "$@" \
        2>>err) || not_ok "sbatch $*" "refused: $(tail -1 err)"
    [ -n "$id" ] || done_testing || exit 1
    echo "job $id"
}

# The ranks of this scenario.
mine()
{
    local p

    for p in $(pgrep -x framefleet); do
        [ "$(readlink "/proc/$p/cwd" 2>/dev/null)" != "$PWD" ] || echo "$p"
    done
}

# halted: wait until a rank is; $rank, $row
halted()
{
    local i

    rank='' row=0
    for ((i = 0; i < 6000; i++)); do
        [ ! -s halted ] || break
        sleep 0.1
    done
    read -r rank row <halted || not_ok halted "no rank in ten minutes"
    rm -f halted
}

# checkpointed PATTERN: is there one within ten seconds?
checkpointed()
{
    local i

    for ((i = 0; i < 100; i++)); do
        ! compgen -G "got.y4m.checkpoints/$1" >/dev/null || return 0
        sleep 0.1
    done
    return 1
}

# started N: that many runs have begun
started()
{
    local i

    for ((i = 0; i < 6000; i++)); do
        [ "$(cat ./*.log 2>/dev/null | grep -c '^2 ranks on')" -lt "$1" ] || return 0
        sleep 0.1
    done
    not_ok "run $1" "has not begun in ten minutes"
}

# Halted again, until there are rows in a checkpoint: the first one of a run is of row 0,
# and while one is written, which takes as long as the disk likes, there is no other.
halted_late()
{
    local i

    halted
    for ((i = 0; i < 12; i++)); do
        echo $((row + 5)) >halt_at
        go_on
        halted
        ! checkpointed 'ck-0000-*[1-9]*-i1.h5' || return 0
    done
    not_ok checkpoint "none of a row above 0 in two minutes"
}

# Is the signal waiting for the process, or has it gone on by itself? Slurm sends CONT
# with some signals.
waiting()
{
    local name word

    [ -e "/proc/$1" ] || return 0
    while read -r name word; do
        case $name in
        State:) [ "${word%% *}" = T ] || return 0 ;;
        SigPnd: | ShdPnd:) [ $((16#$word >> ($2 - 1) & 1)) -eq 0 ] || return 0 ;;
        esac
    done <"/proc/$1/status"
    return 1
}

# go_on [SIGNAL]: when it waits for the rank
go_on()
{
    local i

    if [ $# -gt 0 ]; then
        for ((i = 0; i < 3000; i++)); do
            ! waiting "$rank" "$1" || break
            sleep 0.1
        done 2>/dev/null
        at_least "signal $1: waited for" 2999 $i
    fi
    kill -CONT "$rank" 2>/dev/null
}

# ends ID STATE CODE RESTARTS: how often it was started again, or "1+"
ends()
{
    local record restarts

    slurm_says "$1" "$2" && ok || not_ok "job $1" "not $2"
    record=$(scontrol -o show job "$1" | tail -1)
    case $record in
    *" ExitCode=$3:"*) ok ;;
    *) not_ok "job $1" "not exit code $3: $(echo "${record##* ExitCode=}" | cut -d' ' -f1)" ;;
    esac
    restarts=${record##* Restarts=}
    restarts=${restarts%% *}
    case $4 in
    *+) at_least "job $1: restarts" "$restarts" "${4%+}" ;;
    *) is "job $1: restarts" "$restarts" "$4" ;;
    esac
}

log_has()
{
    grep -qF -- "$1" ./*.log && ok || not_ok "log" "lacks '$1'"
}

# The video and its latents are those of the undisturbed run, and nothing else is left.
reached()
{
    local i

    same "video" "$models/want.y4m" got.y4m
    same "latents" "$models/want.h5" got.h5
    is "left" "$(find . -name '*.checkpoints' -o -name '*.tmp' -o -name '*.part')" ""
    for ((i = 0; i < 600; i++)); do
        [ -n "$(mine)" ] || break
        sleep 0.1
    done
    is "processes" "$(mine)" ""
}

GOT='"save_latents": "got.h5"'

# to_halt [MORE]: a job, with more of JSON, of which a rank is halted late
to_halt()
{
    job job.json got.y4m ", $GOT${1:-}"
    echo $ROWS >halt_at
}

# told_to_stop ID: by a signal, which the halted rank waits for
told_to_stop()
{
    scancel --signal=USR1 "$1"
    go_on 10
}

# came_back CODE RESTARTS: it went on from a checkpoint, to the end
came_back()
{
    ends "$id" COMPLETED "$1" "$2"
    log_has "going on from ck-"
    reached
}

# ---- scenarios -----------------------------------------------------------------------

# The time limit comes near, Slurm signals, the job runs again: nobody does anything. How
# near it is, is told when the rank is halted, and again when the signal has come.
limit()
{
    local used

    site "launcher=$1"
    to_halt
    batch --signal=USR1@220 "${@:2}" slurm/generate.sbatch job.json
    halted
    used=$(squeue -h -j "$id" -o %M) # minutes:seconds
    scontrol update "jobid=$id" "timelimit=$((10#${used%%:*} + 4))" || not_ok limit "not set"
    go_on 10
    scontrol update "jobid=$id" timelimit=30
    came_back 0 1+
}
limit_srun() { limit srun -p main -w n1; }
limit_mpirun() { limit mpirun -p main -w 'n[2-3]' -N 2 --ntasks-per-node=1 --gpus-per-node=1; }

# No early signal at all: the program looks at the end of the job itself.
guard()
{
    local end

    site
    to_halt
    batch --time=2 --signal=USR1@0 slurm/generate.sbatch job.json
    halted
    end=$(($(date +%s) + 75))
    until [ "$(date +%s)" -ge $end ]; do sleep 1; done
    go_on
    came_back 0 1+
}

# mpirun passes on the signal that ranks have also got from Slurm: still one stop.
mpirun_twice()
{
    site "launcher=mpirun"
    to_halt
    batch slurm/generate.sbatch job.json
    halted
    told_to_stop "$id"
    came_back 0 1
}

# A job of more weight takes the node; ours comes back by itself. Under srun there is time
# for a first checkpoint; mpirun kills its ranks after a second, which a slow disk may need.
preempt()
{
    local node=$1 urgent

    site "launcher=$2"
    to_halt "${4:-}"
    batch -p main -w "$node" slurm/generate.sbatch job.json
    "$3"
    urgent=$(sbatch --parsable -p urgent -w "$node" --exclusive --output=/dev/null \
        --wrap "sleep 1")
    slurm_says "$urgent" COMPLETED && ok || not_ok "urgent" "has not run"
    ends "$id" COMPLETED 0 1
    log_has "going on from ck-"
    is "steps on a node that is wanted" "$(cat ./*.log | grep -c 'once more')" 0
    reached
}
preempt_srun() { preempt n4 srun halted; }
preempt_mpirun() { preempt n5 mpirun halted_late ', "checkpoint_every": 1'; }

# The site knows nothing of 75, so the script asks for the requeue; and not for ever.
asks()
{
    site
    to_halt
    batch slurm/generate.sbatch job.json
    halted
    told_to_stop "$id"
    came_back 0 1
}

asks_once()
{
    site "max_restarts=1"
    to_halt
    batch slurm/generate.sbatch job.json
    halted
    told_to_stop "$id"
    started 2
    echo $ROWS >halt_at
    halted
    told_to_stop "$id"
    ends "$id" FAILED 1 1
    log_has "not finished after 1 restarts"
    makes resume got.y4m
    reached
}

# A rank is killed: a new step of the same job.
killed()
{
    site
    to_halt ', "checkpoint_every": 1'
    batch slurm/generate.sbatch job.json
    halted_late
    kill -KILL "$rank"
    ends "$id" COMPLETED 0 0
    log_has "ended with 137, once more"
    log_has "going on from ck-"
    reached
}

# A bad job ends at once with the program's code, however often it might be tried.
refused_job()
{
    site
    job job.json got.y4m ', "seed": "many"'
    batch slurm/generate.sbatch job.json
    ends "$id" FAILED 2 0
    is "steps" "$(cat ./*.log | grep -c '^framefleet: ')" 1
    batch slurm/generate.sbatch job.json --prompt x
    ends "$id" FAILED 2 0
    log_has "prompts belong into the job file"
    batch slurm/generate.sbatch $'job\e[31m.json'
    ends "$id" FAILED 2 0
    log_has "control character in the job file"
    is "escapes in the log" "$(cat ./*.log | grep -c $'\e')" 0
}

# Cancelled: stays so, with a checkpoint; whoever wants goes on.
cancelled()
{
    site
    to_halt
    batch slurm/generate.sbatch job.json
    halted
    is "core files" "$(awk '/core file/ { print $5 }' "/proc/$rank/limits")" 0
    scancel "$id"
    slurm_says "$id" CANCELLED && ok || not_ok "job $id" "not cancelled"
    [ ! -e got.y4m ] && ok || not_ok cancelled "a video is there"
    compgen -G "got.y4m.checkpoints/ck-*.h5" >/dev/null && ok ||
        not_ok cancelled "no checkpoint"
    is "secrets" "$(grep -rlaF -- "$TOKEN" got.y4m.checkpoints ./*.log)" ""
    batch slurm/generate.sbatch job.json
    came_back 0 0
}

# A clean environment; and what was planted in the dirty one is named, not shown.
export_none()
{
    site "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1" \
        "PATH=$PATH"
    job job.json got.y4m ", $GOT"
    batch --export=NONE slurm/generate.sbatch job.json
    ends "$id" COMPLETED 0 0
    is "warned" "$(cat ./*.log | grep -c 'Slurm keeps these variables')" 0
    reached
}

# Names that a shell would take for more than names.
odd_names()
{
    mkdir "it's \"a\" \$(touch x) b" && cd "it's \"a\" \$(touch x) b" || return
    site
    job '-my job; touch x;.json' got.y4m ", $GOT"
    batch slurm/generate.sbatch '-my job; touch x;.json'
    ends "$id" COMPLETED 0 0
    is "injected" "$(find .. -name x)" ""
    reached
}

# Three links; the first is stopped, the second finishes, the third is cancelled.
chain()
{
    local ids

    site
    to_halt
    bash slurm/chain.sbatch 3 --time=30 -N 1 --ntasks-per-node=2 --gpus-per-node=2 -- \
        job.json 2>err
    read -r -d '' -a ids <job.json.links
    is "links" "${#ids[@]}" 3
    halted
    told_to_stop "${ids[0]}"
    ends "${ids[0]}" COMPLETED 0 0
    ends "${ids[1]}" COMPLETED 0 0
    slurm_says "${ids[2]}" CANCELLED && ok || not_ok chain "the last link is not cancelled"
    log_has "going on from ck-"
    reached
    same "the marker" job.json job.json.done
    bash slurm/chain.sbatch 3 -- job.json 2>err
    is "no new chain" "$? $(grep -c finished err)" "0 1"
}

# A link that cannot help itself ends the chain.
chain_fails()
{
    local ids

    site
    job job.json got.y4m ', "seed": "many"'
    bash slurm/chain.sbatch 3 --time=30 -N 1 --ntasks-per-node=1 --gpus-per-node=1 -- \
        job.json 2>err
    read -r -d '' -a ids <job.json.links
    ends "${ids[0]}" FAILED 2 0
    slurm_says "${ids[2]}" CANCELLED FAILED && ok || not_ok chain "the last link lives"
    is "the marker" "$(cat job.json.failed)" 2
    is "tried" "$(cat ./*.log | grep -c '^framefleet: ')" 1
}

# Five lines, with prompts that no shell would survive. The third is broken.
array()
{
    local id n before

    site "output=got.y4m"
    {
        array_line 1 'plain'
        array_line 2 '\"$(touch x)\"; `touch x`; '"'"'%s\\n, # \u001b[31m\u202e\u0007'
        echo '{"prompt": "broken", "seed": "many"}'
        array_line 4 'a\nb\r\n#SBATCH --nodes=9\n'
        printf '{"prompt": "nul\0"}\n'
    } >list.jsonl
    array_submit
    array_ends "$id"
    is "failed" "$(cat items/0003/failed items/0005/failed | tr '\n' ' ')" "2 3 "
    is "injected" "$(find . -name x)" ""
    is "escapes in logs" "$(cat ./*.log | grep -c $'\e')" 0
    for n in 1 2 4; do
        sed -n "${n}p" list.jsonl | cmp -s - items/000$n/job.json && ok ||
            not_ok "line $n" "is not the job file"
        makes generate --job items/000$n/job.json "${ITEM[@]}" --output alone.y4m --force
        same "line $n: video" alone.y4m items/000$n/got.y4m
    done
    # Mended: only what is missing runs again.
    before=$(stat -c %Y.%s items/000[124]/got.y4m)
    rm -rf items/0003 items/0005
    sed -i '3s/.*/{"prompt": "mended"}/;5s/.*/{"prompt": "too"}/' list.jsonl
    array_submit
    is "what runs" "$(squeue -h -r -t all -j "$id" -o %K | sort | tr '\n' ' ')" "3 5 "
    array_ends "$id"
    is "the others" "$(stat -c %Y.%s items/000[124]/got.y4m)" "$before"
    is "done" "$(ls -d items/*/done | wc -l)" 5
    bash slurm/array.sbatch -- list.jsonl items 2>err
    is "nothing to do" "$? $(grep -c 'every line' err)" "0 1"
    # Another line than the one that the item was begun with.
    sed -i '1s/plain/other/' list.jsonl
    array_submit
    is "line 1 is another" "$? $(grep -c 'line 1 is not the one' err)" "2 1"
}

ITEM=(--model "$models/wan" --size 48x32 --num_frames 5 --steps 3 --threads 1)

array_line()
{
    printf '{"prompt": "%s", "seed": %d}\n' "$2" "$1"
}

array_submit()
{
    id=$(bash slurm/array.sbatch --parsable --time=30 --ntasks-per-node=1 \
        --gpus-per-node=1 -- list.jsonl items "${ITEM[@]}" 2>>err)
}

array_ends()
{
    local i

    for ((i = 0; i < 6000; i++)); do
        [ -n "$(squeue -h -j "$1" 2>/dev/null)" ] || return 0
        sleep 0.1
    done
    not_ok "array $1" "has not ended"
}

# ---- all together --------------------------------------------------------------------

# at_once NAME...: each in a process and folder of its own
at_once()
{
    local name names=() pids=() i=0

    for name; do
        mkdir "$models/$name"
        [ -z "${only:-}" ] || [[ " $only " == *" $name "* ]] || continue
        (
            # Not the daemons of everybody.
            trap - EXIT
            cd "$models/$name" || exit 1
            root=$PWD
            failures=0 checks=0
            "$name"
            done_testing
        ) >"$models/$name.out" 2>&1 &
        pids+=($!)
        names+=("$name")
    done
    for name in "${names[@]}"; do
        if wait "${pids[i]}"; then
            ok
        else
            not_ok "$name" "failed"
            cat "$models/$name.out"
            grep -hv '^denoise' "$models/$name"/*.log | tail -n 60
        fi
        echo "$name: $(tail -1 "$models/$name.out"), at $SECONDS s"
        i=$((i + 1))
    done
}

slurm_up 10 RequeueExit=75,90-91 "PartitionName=rest Nodes=n[6-10] MaxTime=60 GraceTime=15"
export SBATCH_PARTITION=rest # where nobody is pushed away
job want.json want.y4m ', "save_latents": "want.h5"'
makes generate --job want.json

at_once limit_srun limit_mpirun mpirun_twice preempt_srun preempt_mpirun cancelled killed \
    chain chain_fails array export_none odd_names refused_job ${long:+guard}

slurm_set RequeueExit=90-91
at_once asks asks_once

# What Slurm keeps is its own (environments are in its state); what we write is clean.
is "secrets" "$(grep -rlaF -- "$TOKEN" "$models" | head -3)" ""
done_testing
