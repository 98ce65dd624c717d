#!/usr/bin/env bash
# decode.sh - ranks that decode together: the bytes of one, and what goes wrong on the way
#
#     decode.sh FRAMEFLEET PROBE GOLDEN_DATA CALLS
#
# CALLS (tests/faults/calls.h) makes the disk of one rank full.
calls=$(realpath "$4")
. "$(dirname "$0")/program.sh"

# ---- the same bytes

S=(--model sky --prompt "A cat sits on the table." --size 128x64 --steps 1
    --guidance_scale 1 --num_frames 21 --base_num_frames 13 --overlap_history 5
    --threads 1)
while IFS='|' read -r name more; do
    name=$(trim "$name")
    # shellcheck disable=SC2086
    makes generate "${S[@]}" $more --output "$name.y4m" --save_latents "$name.h5"
    # shellcheck disable=SC2086
    makes_on 2 generate "${S[@]}" $more --output got.y4m
    same "$name: generated on 2 ranks" "$name.y4m" got.y4m
    is "$name: the cut is said" \
        "$(grep -c '^decoding in 2 strips of .* pixels on 2 ranks$' "$root/err")" 1
    makes_on 3 decode "$name.h5" --model sky --threads 1 --vae_tile 48x64 --force \
        --output got.y4m
    same "$name: decoded in tiles on 3 ranks" "$name.y4m" got.y4m
    rm got.y4m
done <<'END'
latents  |
pixels   | --chain pixels
tall     | --size 64x128 --overlap_history 0
narrow   | --size 16x16 --overlap_history 0
bf16     | --precision bf16 --vae_chunk 2
END
makes_on 3 generate "${S[@]}" --vae_ranks 2 --vae_tile 0 --output got.y4m
same "two of three ranks" latents.y4m got.y4m
is "two of three ranks: the cut is said" \
    "$(grep -c '^decoding in 2 strips of .* pixels on 2 ranks$' "$root/err")" 1
makes generate "${S[@]}" --ranks 4 --force --output got.y4m
same "planned for more ranks than there are" latents.y4m got.y4m
makes_on 2 decode latents.h5 --model sky --vae_ranks 1 --output alone.y4m
same "decoded by rank 0 alone" latents.y4m alone.y4m
is "nothing is said about it" "$(grep -c '^decoding in' "$root/err")" 0
is "no spool is left" "$(find . -name '.*tiles*' | wc -l)" 0
makes_on 2 decode --help
is "help is printed once" "$(grep -c '^usage:' "$root/out")" 1

# ---- the plan

P=(--model wan --size 960x544 --num_frames 5 --ranks 4)
plan_of "${P[@]}" --vae_ranks 1
whole=$(number decode_bytes)
is "one rank decodes" "$(number decode_ranks)" 1
is "the others have nothing of it" \
    "$(grep -A5 '"rank": [123]' plan.json | grep -c '"decode_bytes": 0,')" 3
plan_of "${P[@]}"
is "four ranks decode" "$(number decode_ranks) $(number decode_tiles)" "4 4"
at_least "a strip takes less than half" $((whole / 2)) "$(number decode_bytes)"
is "all have something of it" "$(grep -c '"decode_bytes": 0,' plan.json)" 0
run plan "${P[@]}"
is "the plan says who does what" \
    "$(grep -c '^decoding in 4 strips of [0-9]*x544 pixels on 4 ranks, the busiest does [0-9.]* % of the work$' \
        "$root/out")" 1
table <<'END'
no ranks      | 2 | plan --model wan --vae_ranks 0 | vae_ranks '0' ; auto or a number of ranks
not a number  | 2 | plan --model wan --vae_ranks many | vae_ranks 'many'
half a rank   | 2 | plan --model wan --vae_ranks 1.5 | vae_ranks '1.5'
END

# ---- how fast

B=(bench --shape tiny --size 96x64 --num_frames 5 --parts vae --repeats 1 --threads 1)
for n in 1 3; do
    makes_on 3 "${B[@]}" --vae_ranks $n --json bench.json
    at_least "decoding on $n of 3 ranks takes time" \
        "$("$PROBE" json bench.json vae.median_seconds)" 0.000001
done

# ---- stopping and going on

# stop SIGNAL RANK WORD ARGS...: three ranks; the signal when a line has WORD and, of a run
# that saves, a checkpoint is there to go on from
stop()
{
    local signal=$1 rank=$2 word=$3 job

    shift 3
    : >"$root/err"
    "${MPIRUN[@]}" -n 3 "$FF" "$@" >"$root/out" 2>"$root/err" </dev/null &
    job=$!
    said "$word"
    [ "$1" != generate ] || saved 'cut.y4m.checkpoints/ck-*.h5'
    kill -s "$signal" "$(process_of "$rank")" 2>/dev/null
    wait "$job" 2>/dev/null
    code=$?
}

LONG=("${S[@]}" --size 160x96)
makes generate "${LONG[@]}" --output long.y4m --save_latents long.h5
for how in "USR1 2" "TERM 1" "KILL 0" "KILL 2"; do
    rm -rf cut.y4m*
    stop ${how% *} ${how#* } "decode 1/" generate "${LONG[@]}" --checkpoint_every 1 \
        --output cut.y4m
    if [ -e cut.y4m ]; then
        skip "$how while decoding" "the run was quicker than the signal"
        continue
    fi
    if [ "${how% *}" == KILL ]; then
        is "$how while decoding" "$code" 137
    else
        once "$how while decoding" 75 "stopped on request while decoding"
    fi
    gone "$how while decoding"
    is "$how: left" "$(ls -A | grep '^\.\?cut')" cut.y4m.checkpoints
    makes_on 2 resume cut.y4m
    same "$how while decoding: gone on with" long.y4m cut.y4m
done
for how in "USR1 1"; do
    rm -f cut.y4m
    stop ${how% *} ${how#* } "decode 1/" decode long.h5 --model sky --threads 1 \
        --output cut.y4m
    if [ -e cut.y4m ]; then
        skip "$how: decode" "it was quicker than the signal"
        continue
    fi
    once "$how: decode" 75 "stopped on request while decoding"
    gone "$how: decode"
done

# ---- what fails

# Only rank 0 writes, and its disk is full.
cat >full.sh <<'S'
[ "$OMPI_COMM_WORLD_RANK" -ne 0 ] || export LD_PRELOAD=$CALLS FF_FAULT=$FAULT
exec "$@"
S
# full NAME FAULT ARGS...
full()
{
    local name=$1

    export CALLS=$calls FAULT=$2
    shift 2
    "${MPIRUN[@]}" -n 3 sh full.sh "$FF" "$@" >"$root/out" 2>"$root/err" </dev/null
    code=$?
    once "$name" 4 "No space left"
    gone "$name"
}

rm -rf cut.y4m*
full "disk full while decoding" "write #* 20+ ENOSPC" generate "${LONG[@]}" \
    --checkpoint_every 1 --output cut.y4m
is "disk full: left" "$(ls -A | grep '^\.\?cut')" cut.y4m.checkpoints
makes_on 3 resume cut.y4m
same "disk full: gone on with" long.y4m cut.y4m
rm -f cut.y4m
full "disk full of tiles" "pwrite .cut.y4m.tiles* 2+ ENOSPC" decode long.h5 \
    --model sky --threads 1 --vae_tile 48x64 --output cut.y4m
[ ! -e cut.y4m ] && ok || not_ok "disk full of tiles" "there is an output"

# A rank whose model is another one.
cat >apart.sh <<'S'
RANK=$OMPI_COMM_WORLD_RANK
mkdir -p "rank$RANK" && cd "rank$RANK" || exit 1
[ "$RANK" -eq 2 ] || ln -s ../sky sky
exec "$@"
S
"${MPIRUN[@]}" -n 3 sh apart.sh "$FF" decode ../long.h5 --model sky --threads 1 \
    --output cut.y4m >"$root/out" 2>"$root/err" </dev/null
code=$?
once "no model on rank 2" 3 "rank 2 on "
gone "no model on rank 2"

done_testing
