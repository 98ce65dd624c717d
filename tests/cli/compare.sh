#!/usr/bin/env bash
# compare.sh - how far apart latents, checkpoints and videos are, and what is refused
. "$(dirname "$0")/lib.sh"

# says NAME TEXT: on stdout of the last run
says()
{
    grep -qF -- "$2" "$root/out" && ok || not_ok "$1" "does not say '$2'"
}

# member NAME KEY WANTED: of the JSON that the last run has printed
member()
{
    is "$1: $2" "$("$PROBE" json "$root/out" "$2")" "$3"
}

G=(generate "${BASE[@]}")
makes "${G[@]}" --output a.y4m --save_latents a.h5 --save_embeds e.h5
makes "${G[@]}" --output again.y4m --save_latents again.h5
makes "${G[@]}" --output b.y4m --save_latents b.h5 --precision bf16
makes "${G[@]}" --output long.y4m --save_latents long.h5 --num_frames 9
makes "${G[@]}" --output wide.y4m --size 64x16

# ---- latents

makes compare a.h5 again.h5 --exact
says "equal latents" "a.h5: latents"
says "equal latents" "shape: 16 channels, 2 frames, 2 rows, 6 columns"
says "equal latents" "differing: nothing"
says "equal latents" "PSNR: inf dB"
makes compare a.h5 b.h5
says "other latents" "first difference: channel 0, frame 0, row 0, column 0"
makes compare a.h5 b.h5 --json
member "other latents" kind latents
member "other latents" same false
member "other latents" values 384
l2=$("$PROBE" json "$root/out" relative_l2)
at_least "bf16 is near" "$(awk -v x="$l2" 'BEGIN { print -log(x) / log(10) }')" 1
at_least "bf16 is not the same" "$l2" 1e-5
makes compare a.h5 b.h5 --max_l2 0.1
makes compare a.h5 a.h5 --exact --max_l2 0 --min_psnr 1000

# ---- checkpoints: their own, and against latents

"$PROBE" signal 10 "denoise 5/" "$FF" "${G[@]}" --steps 12 --output c.y4m \
    --checkpoint_every 1 --keep 1 2>/dev/null >"$root/how"
is "stopped" "$(cat "$root/how")" "exit 75"
ck=$(ls c.y4m.checkpoints/ck-*)
makes compare "$ck" "$ck" --exact
says "a checkpoint" "checkpoint 'running', row "
says "a checkpoint" "of 12, segment 1 of 1"
makes compare "$ck" a.h5
says "a checkpoint against latents" "a.h5: latents"
cp "$ck" ck.h5
printf '\0\0\0\0' | dd of=ck.h5 bs=1 seek=5000 conv=notrunc 2>/dev/null

# ---- videos

makes compare a.y4m again.y4m --exact
says "equal videos" "a.y4m: video, 16 frames per second"
says "equal videos" "shape: 5 frames, 16 rows, 48 columns, 3 channels"
makes compare a.y4m b.y4m --json
member "other videos" kind video
member "other videos" range 255
at_least "the worst frame" "$("$PROBE" json "$root/out" psnr)" \
    "$("$PROBE" json "$root/out" worst_psnr)"
if "$FF" "${G[@]}" --output a.mp4 --crf 0 2>/dev/null; then
    makes "${G[@]}" --output frames
    makes compare frames a.mp4 --min_psnr 20
    says "a folder" "frames: folder of frames"
    makes compare a.y4m frames --min_psnr 40
    rm frames/frame_000003.png
    cp frames/frame_000000.png picture.png
    makes compare picture.png picture.png --exact
else
    skip "mp4 and PNG" "built without FFmpeg"
    mkdir frames
    touch frames/frame_000000.png
fi

# ---- limits and refusals

run compare a.h5 b.h5 --exact
is "--exact: exit code" "$code" 3
is "--exact: says so" "$(cat "$root/err")" "framefleet: 'a.h5' and 'b.h5' are not the same"
says "--exact: still says how far" "relative L2"
run compare a.h5 b.h5 --max_l2 1e-9
is "--max_l2: exit code" "$code" 3
run compare a.y4m b.y4m --min_psnr 90
is "--min_psnr: exit code" "$code" 3

echo "no video" >text
: >nothing
mkfifo pipe
mkdir folder
ln -s a.h5 link.h5
head -c 900 a.h5 >cut.h5
head -c 2000 a.y4m >cut.y4m
e=$'esc\e[2J.h5'
cp long.h5 "$e"
table <<'END'
nothing                  | 2 | compare                          | say what to compare
one                      | 2 | compare a.h5                     | say what to compare
three                    | 2 | compare a.h5 b.h5 a.h5           | say what to compare
unknown flag             | 2 | compare a.h5 b.h5 --exactly      | 'exactly' ; 'exact'
limit below zero         | 2 | compare a.h5 b.h5 --max_l2 -1    | max_l2
not there                | 3 | compare a.h5 none.h5             | 'none.h5' ; No such file
other shape              | 3 | compare a.h5 long.h5             | 'a.h5' is 16x2x2x6 ; 'long.h5' is 16x3x2x6
other kind               | 3 | compare a.h5 a.y4m               | 'a.h5' holds latents ; 'a.y4m' holds a video
other size               | 3 | compare a.y4m wide.y4m           | 'a.y4m' is 48x16 ; 'wide.y4m' is 64x16
other length             | 3 | compare a.y4m long.y4m           | 'a.y4m' has 5 frames ; 'long.y4m' has 9
other length, turned     | 3 | compare long.y4m a.y4m           | 'long.y4m' has 9 frames ; 'a.y4m' has 5
not latents              | 3 | compare a.h5 e.h5                | 'e.h5' ; latents/x
a damaged checkpoint     | 3 | compare ck.h5 a.h5               | checkpoint 'ck.h5' rejected: its bytes are not
cut latents              | 3 | compare cut.h5 a.h5              | cut.h5
cut video                | 3 | compare cut.y4m a.y4m            | cut.y4m
text                     | 3 | compare text a.y4m               | 'text'
empty                    | 3 | compare nothing a.y4m            | 'nothing'
a folder without frames  | 3 | compare folder a.y4m             | 'folder' ; frame_000000.png
a pipe                   | 3 | compare pipe a.y4m               | 'pipe'
a link                   | 3 | compare link.h5 a.h5             | 'link.h5'
a name with ESC          | 3 | compare a.h5 "$e"                | 'esc\x1b[2J.h5' is 16x3x2x6
END

done_testing
