#!/usr/bin/env bash
# stopping.sh - when checkpoints are written, and runs that end because time is up
. "$(dirname "$0")/lib.sh"

PLAIN=(--model wan --prompt "A cat sits on the table." --size 128x96 --num_frames 9
    --threads 1)
LONG=(--model sky --prompt "Rain." --size 64x48 --num_frames 29 --steps 20
    --base_num_frames 17 --overlap_history 5 --addnoise_condition 20 --threads 1)

# goes_on NAME [FLAGS...]: the run of got.y4m ends, with the bytes of want.*
goes_on()
{
    local name=$1

    shift
    run resume got.y4m "$@"
    is "$name: resume" "$code" 0
    same "$name: latents" want.h5 got.h5
    same "$name: video" want.y4m got.y4m
    [ ! -e got.y4m.checkpoints ] && ok || not_ok "$name" "checkpoints are left"
}

# A checkpoint after encoding, one after every segment, and one before the decoding.
makes generate "${LONG[@]}" --output want.y4m --save_latents want.h5
is "encoded, segment, final" "$(sed -n 's/^\([0-9]*\) checkpoints held.*/\1/p' "$root/err")" 3
last=$(grep '^checkpoint' "$root/err" | tail -1)
[[ $last == "checkpoint ck-0001-00"* ]] && ok || not_ok "final" "the last is '$last'"
[ $((10#${last:19:4})) -gt 0 ] && ok || not_ok "final" "has no rows: '$last'"

# Every so many rows, or seconds.
makes generate "${PLAIN[@]}" --steps 12 --output rows.y4m --checkpoint_every 4
is "every 4 rows" "$(grep -c 'held the run up' "$root/err")" 1
for steps in 100 400 1600 6400; do # a slow disk needs more rows for three
    makes generate "${PLAIN[@]}" --steps $steps --output rows.y4m --force \
        --checkpoint_every 0.001s
    many=$(sed -n 's/^\([0-9]*\) checkpoints held.*/\1/p' "$root/err")
    [ "$many" -lt 3 ] || break
done
at_least "every millisecond: checkpoints" "$many" 3
makes generate "${PLAIN[@]}" --steps 12 --output rows.y4m --force --checkpoint_every 1000s
is "every 1000 s" "$(sed -n 's/^\([0-9]*\) checkpoints held.*/\1/p' "$root/err")" 2
rm -f rows.y4m
echo '{"checkpoint_every": "90s"}' >text.json
echo '{"checkpoint_every": 4}' >number.json
makes generate "${PLAIN[@]}" --job text.json --print_job
grep -q '"90s"' "$root/out" && ok || not_ok "job file" "90s is not printed"
makes generate "${PLAIN[@]}" --job number.json --print_job

# Time is up: --max_minutes, and the end of the allocation, by either name. What is
# there goes on to the same bytes.
ARGS=(generate "${PLAIN[@]}" --steps 400)
makes "${ARGS[@]}" --output want.y4m --save_latents want.h5 --force

# time_up NAME WORDS LIMIT: LIMIT sets one that is so many milliseconds from now. Where that
# is before the first row, or behind the last one, it is tried with others.
time_up()
{
    local name=$1 words=$2 ms=1200 try

    for ((try = 0; try < 30; try++)); do
        rm -rf got.*
        MORE=()
        "$3" $ms
        run "${ARGS[@]}" --output got.y4m --save_latents got.h5 "${MORE[@]}"
        if [ "$code" -eq 0 ]; then
            ms=$((ms * 2 / 3))
        elif grep -q '^framefleet: stopped at row 0 of' "$root/err"; then
            ms=$((ms * 7 / 4))
        else
            break
        fi
        echo "$name: another try with $ms ms"
    done
    unset FRAMEFLEET_JOB_END SLURM_JOB_END_TIME
    is "$name: exit code" "$code" 75
    grep -q "^framefleet: stopped at row [1-9][0-9]* of 400: .*$words" "$root/err" && ok ||
        not_ok "$name" "does not say why"
    [ ! -e got.y4m ] && ok || not_ok "$name" "there is an output"
    ls got.y4m.checkpoints | grep -q 'ck-0000-0[0-9]*[1-9][0-9]*-i1' && ok ||
        not_ok "$name" "there is no checkpoint"
    goes_on "$name" --max_minutes 0
}

# A second of it is in reserve.
by_flag()
{
    MORE=(--max_minutes "$(awk -v ms="$1" 'BEGIN { print (ms + 1000) / 60000 }')")
}

# A minute of the allocation is in reserve; its end is told in whole seconds.
by_us()
{
    export FRAMEFLEET_JOB_END=$((($(date +%s%3N) + 60500 + $1) / 1000))
}

by_slurm()
{
    export SLURM_JOB_END_TIME=$((($(date +%s%3N) + 60500 + $1) / 1000)) FRAMEFLEET_JOB_END=1
}

time_up "max_minutes" "are left of --max_minutes" by_flag
time_up "FRAMEFLEET_JOB_END" "are left of the allocation" by_us
time_up "SLURM_JOB_END_TIME" "are left of the allocation" by_slurm

# No time for a single row: said before anything is loaded, and nothing is there.
FRAMEFLEET_JOB_END=$(($(date +%s) + 20)) run "${ARGS[@]}" --output none.y4m
is "no time at all" "$code" 75
grep -q 'before the first one of this launch' "$root/err" && ok || not_ok "no time" "not said"
is "no time at all: loads nothing" "$(grep -c '^load' "$root/err")" 0
is "no time at all: nothing is there" "$(ls -A | grep -c none)" 0
for bad in 12x -3 1e9 N/A; do
    SLURM_JOB_END_TIME=$bad run "${ARGS[@]}" --output none.y4m
    refused "SLURM_JOB_END_TIME=$bad" 2 "impossible SLURM_JOB_END_TIME '$bad'"
    FRAMEFLEET_JOB_END=$bad run "${ARGS[@]}" --output none.y4m
    refused "FRAMEFLEET_JOB_END=$bad" 2 "impossible FRAMEFLEET_JOB_END '$bad'"
done

table <<'END'
rows and a half | 2 | "${ARGS[@]}" --checkpoint_every 1.5 | impossible checkpoint_every '1.5' ; 90s
minutes | 2 | "${ARGS[@]}" --checkpoint_every 4m | impossible checkpoint_every '4m'
negative | 2 | "${ARGS[@]}" --max_minutes -1 | impossible max_minutes
END

# A job that a checkpoint cannot hold: said once at the start, refused when asked for.
head -c 70000 /dev/zero | tr '\0' 'x' >long.txt
BASE2=(generate --model wan --prompt_file long.txt --size 48x16 --num_frames 5 --steps 3
    --threads 1 --output huge.y4m)
makes "${BASE2[@]}"
is "huge job: said" "$(grep -c '^warning: no checkpoints: the job is longer' "$root/err")" 1
run "${BASE2[@]}" --force --checkpoint_every 2
is "huge job: refused" "$code" 2

done_testing
