#!/usr/bin/env bash
# resume.sh - killed at any moment, a run goes on to the same bytes
. "$(dirname "$0")/lib.sh"
kills=${KILLS:-2} # of each kind of run

RANDOM=${SEED:-7}

# undisturbed: the bytes to reach, in want.y4m and want.h5
undisturbed()
{
    rm -rf want.* got.*
    makes "${ARGS[@]}" --output want.y4m --save_latents want.h5
}

# killed_at ROWS: start the run and kill it when so many rows are done and there is a
# checkpoint that has all of the solver's history: two steps are not enough
killed_at()
{
    local folder=got.y4m.checkpoints

    rm -rf got.*
    how=$("$PROBE" hold 9 $((RANDOM % 20)) "denoise $1/" 1 \
        "$folder/ck-{*-*[1-9]?,*-000[3-9]}-i1.h5" "$FF" generate "${ARGS[@]:1}" \
        --output got.y4m --save_latents got.h5 --checkpoint_every 1 2>"$root/err")
    is "killed at row $1" "$how" "signal 9"
}

# reached NAME: what came out is what the undisturbed run gave, and nothing is left
reached()
{
    same "$1: latents" want.h5 got.h5
    same "$1: video" want.y4m got.y4m
    [ ! -e got.y4m.checkpoints ] && ok || not_ok "$1" "checkpoints are left"
}

# killed NAME ROWS: SIGKILL around row ROWS, resume until the end
killed()
{
    killed_at "$2"
    makes resume got.y4m
    grep -q '^going on from ck-' "$root/err" && ok || not_ok "$1" "did not go on"
    echo "$1: $(head -2 "$root/err" | tail -1)"
    reached "$1, $2 rows"
}

# kind NAME ROWS ARGS...: a few kills of one kind of run
kind()
{
    local name=$1 rows=$2

    shift 2
    ARGS=(generate "$@")
    undisturbed
    for ((i = 0; i < kills; i++)); do
        killed "$name" $((1 + RANDOM % rows))
    done
}

PLAIN=(--model wan --prompt "A cat sits on the table." --size 128x96 --num_frames 9
    --threads 1)
FORCING=(--model sky --prompt "A cat sits on the table." --size 64x48 --threads 1)

kind plain 120 "${PLAIN[@]}" --steps 150 --guidance_scale 1
kind guidance 60 "${PLAIN[@]}" --steps 80 --guidance_scale 5
kind dpm++ 60 "${PLAIN[@]}" --steps 80 --sampler dpm++ --rng torch_cpu
kind lagged 80 "${FORCING[@]}" --steps 30 --num_frames 33 --ar_step 9 \
    --causal_block_size 1
kind "long, latents" 150 "${FORCING[@]}" --steps 40 --num_frames 57 --base_num_frames 17 \
    --overlap_history 5 --addnoise_condition 20 --rng torch_cpu
kind "long, pixels" 150 "${FORCING[@]}" --steps 40 --num_frames 57 --base_num_frames 17 \
    --overlap_history 5 --addnoise_condition 20 --chain pixels

# USR1: a checkpoint, exit code 75, and on.
ARGS=(generate "${PLAIN[@]}" --steps 40)
undisturbed
rm -rf got.*
how=$("$PROBE" signal 10 "denoise 5/" "$FF" "${ARGS[@]}" --output got.y4m \
    --save_latents got.h5 2>"$root/err")
is "USR1: exit code" "$how" "exit 75"
is "USR1: of the text, and of the row" "$(ls got.y4m.checkpoints | grep -c '^ck-')" 2
is "USR1: nothing half made" "$(find . -name '*.part*' -o -name '*.tmp' | wc -l)" 0
rm got.y4m.checkpoints/ck-0000-0000-*
checkpoint=$(ls -d got.y4m.checkpoints/ck-*)

cp -R got.y4m.checkpoints kept.y4m.checkpoints

table <<END
new run | 2 | "\${ARGS[@]}" --output got.y4m | framefleet resume 'got.y4m' goes on ; --force
other seed | 3 | resume got.y4m --seed 7 | of another job ; 'seed' was 42, is 7
other steps | 3 | resume got.y4m --steps 41 | 'inference_steps' was 40, is 41
other model | 3 | resume got.y4m --model diff --precision bf16 | 'precision' was "auto", is "bf16"
nothing | 2 | resume | say what to go on with
no folder | 3 | resume other.y4m | nothing to go on with ; other.y4m.checkpoints ; --or_start
END

# A kill between naming the latents and finishing the video leaves the latents behind.
: >got.h5
makes resume "$checkpoint"
reached "resume of a file"

# Damage: the newest is refused in one line, and there is no older one.
mv kept.y4m.checkpoints got.y4m.checkpoints
rm -f got.y4m got.h5
dd if=/dev/zero of="$checkpoint" bs=1 seek=9000 count=64 conv=notrunc 2>/dev/null
run resume got.y4m
is "damaged: exit code" "$code" 3
is "damaged: says which" "$(grep -c 'rejected: its bytes are not those' "$root/err")" 1

done_testing
