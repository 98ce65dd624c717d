#!/usr/bin/env bash
# signals.sh - stopped in the middle: a checkpoint is left and nothing else
. "$(dirname "$0")/lib.sh"

# Long enough to be in the middle of it: thousands of steps, or of frames.
STEPS=("$FF" generate "${BASE[@]}" --steps 1000 --guidance_scale 1)
FRAMES=("$FF" generate "${BASE[@]}" --steps 1 --size 64x64 --num_frames 401)
LONG=("$FF" generate "${SKY[@]}" --steps 20 --num_frames 801 --base_num_frames 17
    --overlap_history 5)

# stops NAME SIGNAL WORD COMMAND...: after a line with WORD; then as it was before, but
# for checkpoints
stops()
{
    local name=$1 number=$2 word=$3 before how

    shift 3
    before=$(files)
    how=$(timeout 300 "$PROBE" signal "$number" "$word" "$@" 2>"$root/err")
    is "$name: exit code" "$how" "exit 75"
    is "$name: one line" "$(grep -c '^framefleet: ' "$root/err")" 1
    is "$name: says where" "$(grep -c '^framefleet: stopped on request' "$root/err")" 1
    rm -rf ./*.checkpoints
    if [ "$before" == "$(files)" ]; then
        ok
    else
        not_ok "$name" "files are left"
        diff <(printf '%s\n' "$before") <(files) | head -3
    fi
}

"$FF" generate "${BASE[@]}" --output probe.mp4 >/dev/null 2>&1 && media=yes || media=no
rm -rf probe.mp4
echo keep >kept.y4m
for number in 2 15 1; do
    stops "signal $number while denoising" $number "denoise 5/" "${STEPS[@]}" \
        --output a.y4m --save_latents a.h5 --save_noise n.h5 --save_embeds e.h5
done
for kind in a.y4m a.mp4 pngs; do
    [ $media == yes ] || [ $kind == a.y4m ] ||
        { skip "stopped with $kind" "FFmpeg is not in this build"; continue; }
    stops "$kind while decoding" 2 "decode 9/" "${FRAMES[@]}" --output $kind
done
stops "the old output stays" 2 "decode 9/" "${FRAMES[@]}" --output kept.y4m --force
stops "between segments" 15 "segment 3/" "${LONG[@]}" --output long.y4m --save_latents l.h5
stops "while loading" 2 "load 1/" "${STEPS[@]}" --output a.y4m

# The jobs of a launch that are done stay, the one that was stopped leaves nothing.
printf '{"output": "j1.y4m"}\n{"output": "j2.y4m", "steps": 1000, "guidance_scale": 1}\n' >two.json
how=$("$PROBE" signal 2 "denoise 9/1000" "$FF" generate --model wan --prompt x \
    --size 48x16 --num_frames 5 --job two.json --threads 1 2>"$root/err")
is "a launch of two: exit code" "$how" "exit 75"
is "a launch of two: what is there" "$(ls -d j?.y4m* | tr '\n' ' ')" "j1.y4m j2.y4m.checkpoints "
is "a launch of two: says which" "$(grep -c '^framefleet: job 2: stopped' "$root/err")" 1
[ -z "$(find . -name '.*' ! -name . ! -name '*.checkpoints')" ] && ok || not_ok "a launch of two" "hidden files are left"

# Whoever reads our stderr may leave: the run goes on.
"$FF" generate "${BASE[@]}" --output alone.y4m 2>&1 | head -1 >/dev/null
is "nobody reads stderr" "$("$PROBE" frames alone.y4m)" "48x16 16 5"

# A signal that was ignored when we started stays ignored (nohup).
how=$(trap '' HUP; "$PROBE" signal 0 "-" "$FF" generate "${BASE[@]}" --output nohup.y4m 2>"$root/err")
is "under nohup" "$how" "exit 0"

# ---- in the middle of something that takes long

# One thread, so that more cores do not make it short.
SLOW=(--model wan --prompt x --size 640x368 --num_frames 33 --guidance_scale 1 --threads 1)
# Its rows take longer than what passes until the second of two signals, on any machine.
SLOW_ROWS=("${SLOW[@]}" --steps 3 --size 832x480)

# cpu_ticks PID: hundredths of a second that its first thread has computed
cpu_ticks()
{
    local fields

    read -r fields <"/proc/$1/task/$1/stat" || return
    read -r -a fields <<<"${fields##*) }"
    echo $((fields[11] + fields[12]))
} 2>/dev/null

# lines STAGE: so many of them were said
lines()
{
    grep -c "^$1 " "$root/err"
}

# middle PID WORD: it has said WORD, and has computed a third of a second since
middle()
{
    local begun

    until grep -q "$2" "$root/err"; do
        kill -0 "$1" 2>/dev/null || return
        sleep 0.02
    done
    begun=$(cpu_ticks "$1")
    until [ $(($(cpu_ticks "$1") - begun)) -ge 30 ]; do
        kill -0 "$1" 2>/dev/null || return
        sleep 0.02
    done
}

# during WORD SIGNALS -- ARGS: run in the background, and in the middle of what comes
# after WORD send one signal or two, $gap seconds apart; $code, ../err, and in $before how many
# rows were done by then
during()
{
    local word=$1 signals=$2 started

    shift 3
    rm -rf slow* .slow*
    : >"$root/err"
    "$FF" "$@" --save_noise slow.n.h5 >/dev/null 2>"$root/err" &
    started=$!
    middle $started "$word"
    kill -s "${signals%% *}" $started 2>/dev/null
    if [ "$signals" != "${signals#* }" ]; then
        sleep "$gap"
        kill -s "${signals#* }" $started 2>/dev/null
    fi
    before=$(lines denoise)
    wait $started 2>/dev/null
    code=$?
}

# in_row_2 SIGNALS: a run gets them there. Once more if we were so late that the row was
# over, or if it was over before a slow disk had the checkpoint.
in_row_2()
{
    local try

    for try in 1 2 3 4 5; do
        during "denoise 1/" "$1" -- generate "${SLOW_ROWS[@]}" --output slow.y4m
        [ "$before" -gt 1 ] || [ "$(lines denoise)" -gt 1 ] || return
        echo "$1: late, try $try"
    done
}

# left NAME WORDS: what files there are of a run that was stopped
left()
{
    is "$1: files" "$(ls -A | grep slow | tr '\n' ' ')" "$2"
}

# TERM in the middle of a row: the row before is saved, and the row is not waited for.
gap=0.1
in_row_2 TERM
is "TERM in a row: exit code" "$code" 75
is "TERM in a row: not waited for" "$(grep -c '^denoise' "$root/err")" 1
is "TERM in a row: says which" "$(grep '^framefleet' "$root/err")" \
    "framefleet: stopped on request at row 1"
left "TERM in a row" "slow.y4m.checkpoints "
ls slow.y4m.checkpoints | grep -q '^ck-0000-0001-i1' && ok || not_ok "TERM in a row" "row 1 is not saved"

# USR1 waits for the row, TERM behind it does not.
in_row_2 "USR1 TERM"
is "USR1, then TERM: exit code" "$code" 75
is "USR1, then TERM: rows" "$(ls slow.y4m.checkpoints | grep -c '^ck-0000-0001-i1')" 1

# Decoding: what was denoised is there, half of the output is not.
for output in slow.y4m slow.pngs/; do
    [ $output == slow.y4m ] || [ "$media" == yes ] || continue
    during "decode 1/" USR1 -- generate "${SLOW[@]}" --steps 1 --output $output
    is "USR1 while decoding to $output" "$code $(grep -c 'stopped on request while decoding' "$root/err")" "75 1"
    left "USR1 while decoding" "${output%/}.checkpoints "
    ls ${output%/}.checkpoints | grep -q '^ck-0000-0001-i1' && ok || not_ok "decoding" "is not saved"
done

# A second signal of the same kind, after more than a second, ends the process at once.
gap=2.5
SLOW_ROWS+=(--num_frames 65)
in_row_2 "USR1 USR1"
is "USR1 twice: exit code" "$code" 138

# What killed runs leave goes when the run goes on, and nothing of others.
rm -rf slow* .slow*
how=$("$PROBE" hold 9 0 "denoise 5/" 1 "slow.y4m.checkpoints/ck-*" "${STEPS[@]}" --size 64x64 \
    --output slow.y4m --save_noise slow.n.h5 2>"$root/err")
is "KILL" "$how" "signal 9"
mkdir slow.y4m.7-0.part
echo >slow.y4m.7-0.part/frame_000001.png
echo >slow.y4m.8-0.part
echo >slow.n.h5.8-0.party
echo >.slow.n.h5.0011223344556677.tmp
echo >slow.y4m.checkpoints/.ck-0000-0001-i1.h5.tmp
echo >.other.h5.0011223344556677.tmp
makes resume slow.y4m
left "leftovers" "slow.n.h5 slow.n.h5.8-0.party slow.y4m "
[ -e .other.h5.0011223344556677.tmp ] && ok || not_ok "leftovers" "another's file is gone"

done_testing
