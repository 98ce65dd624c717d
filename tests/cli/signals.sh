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
    how=$(timeout 60 "$PROBE" signal "$number" "$word" "$@" 2>"$root/err")
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

echo keep >kept.y4m
for number in 2 15 1; do
    stops "signal $number while denoising" $number "denoise 5/" "${STEPS[@]}" \
        --output a.y4m --save_latents a.h5 --save_noise n.h5 --save_embeds e.h5
done
for kind in a.y4m a.mp4 pngs; do
    "$FF" generate "${BASE[@]}" --output probe.mp4 >/dev/null 2>&1 || [ $kind == a.y4m ] ||
        { skip "stopped with $kind" "FFmpeg is not in this build"; continue; }
    rm -rf probe.mp4
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

done_testing
