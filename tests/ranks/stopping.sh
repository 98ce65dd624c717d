#!/usr/bin/env bash
# stopping.sh - a signal to any rank, or to mpirun, whatever the ranks are at
#
# One signal to one rank is enough. What mpirun is told to do with its ranks it does by
# its own clock: it returns 1 then, whatever they return, and a second later they are
# gone; what counts is what they have saved by then.
. "$(dirname "$0")/program.sh"

JOB=(--model wan --prompt cat --size 320x192 --num_frames 17 --guidance_scale 1
    --threads 1 --output out.y4m --save_latents out.h5)

# begin WORD ARGS: three ranks in the background, until a line has WORD
begin()
{
    local word=$1

    shift
    rm -rf out.* .out.*
    : >"$root/err"
    "${MPIRUN[@]}" -n 3 "$FF" generate "${JOB[@]}" "$@" >"$root/out" 2>"$root/err" \
        </dev/null &
    job=$!
    said "$word"
    sleep 0.3
}

# stopped NAME CODE: the run has ended with it, and left nothing but checkpoints
stopped()
{
    local start said

    start=$(now)
    wait "$job" 2>/dev/null
    code=$?
    no_hang "$1" "$(since "$start")"
    is "$1: exit code" "$code" "$2"
    said=$(grep -c '^framefleet: stopped on request' "$root/err")
    # mpirun may have killed it before it had said so.
    is "$1: messages" $((said + (said == 0 && code == 1))) 1
    gone "$1"
    is "$1: outputs" "$(ls -A | grep '^\.\?out' | tr '\n' ' ')" "out.y4m.checkpoints "
}

# has_saved NAME: a row of the first segment
has_saved()
{
    ls out.y4m.checkpoints | grep -q 'ck-0000-0*[1-9][0-9]*-i' && ok ||
        not_ok "$1" "no row is saved: $(ls out.y4m.checkpoints | tr '\n' ' ')"
}

makes_on 2 generate "${JOB[@]}" --steps 30 --output want.y4m --save_latents want.h5

for rank in 0 1 2; do
    begin "denoise 2/" --steps 300
    kill -s USR1 "$(process_of $rank)"
    stopped "USR1 to rank $rank" 75
    has_saved "USR1 to rank $rank"
    begin "denoise 2/" --steps 300
    kill -s TERM "$(process_of $rank)"
    stopped "TERM to rank $rank" 75
    has_saved "TERM to rank $rank"
    begin "decode 1/" --steps 1 --num_frames 41
    kill -s USR1 "$(process_of $rank)"
    stopped "USR1 to rank $rank while decoding" 75
    has_saved "USR1 to rank $rank while decoding"
done

# To mpirun: USR1 reaches all ranks, which takes nobody for a second signal.
begin "denoise 2/" --steps 30
kill -s USR1 $job
stopped "USR1 to mpirun" 75
makes_on 2 resume out.y4m
same "USR1 to mpirun: latents" want.h5 out.h5
same "USR1 to mpirun: video" want.y4m out.y4m
for signal in TERM INT; do
    begin "denoise 2/" --steps 30 --checkpoint_every 1
    saved "out.y4m.checkpoints/ck-0000-*[1-9]*-i1.h5"
    kill -s $signal $job
    stopped "$signal to mpirun" 1
    has_saved "$signal to mpirun"
    makes_on 1 resume out.y4m
    same "$signal to mpirun: latents" want.h5 out.h5
    same "$signal to mpirun: video" want.y4m out.y4m
done

done_testing
