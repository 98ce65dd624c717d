#!/usr/bin/env bash
# outputs.sh - every kind of output, what is written into it, and full disks
. "$(dirname "$0")/lib.sh"

G=(generate "${BASE[@]}")

# ---- kinds

makes "${G[@]}" --output v.y4m --save_latents v.h5
is "y4m" "$("$PROBE" frames v.y4m)" "48x16 16 5"
if "$FF" "${G[@]}" --output v.mp4 2>&1 | grep -q "not built"; then
    skip "mp4 and PNG" "FFmpeg is not in this build"
    media=no
else
    media=yes
    is "mp4" "$("$PROBE" frames v.mp4)" "48x16 16 5"
    at_least "mp4 against y4m" "$(psnr v.y4m v.mp4)" 18
    makes "${G[@]}" --output frames
    is "PNG folder" "$(ls frames | tr '\n' ' ')" \
        "frame_000000.png frame_000001.png frame_000002.png frame_000003.png frame_000004.png "
    makes "${G[@]}" --output 'named.mp4/'
    is "a slash makes a folder" "$(ls named.mp4 | wc -l)" 5
    makes "${G[@]}" --crf 40 --output coarse.mp4
    at_least "crf" "$(wc -c <v.mp4)" "$(($(wc -c <coarse.mp4) + 1))"
fi
is "latents" "$("$PROBE" h5 v.h5 latents/x 4 | cut -d' ' -f1)" 16x2x2x6

# ---- --force: what is there goes, the rest stays

echo other >there.y4m
echo other >there.h5
makes "${G[@]}" --output there.y4m --save_latents there.h5 --force
same "--force, y4m" v.y4m there.y4m
same "--force, latents" v.h5 there.h5
if [ $media == yes ]; then
    touch frames/frame_000009.png frames/notes.txt
    makes "${G[@]}" --output frames --num_frames 1 --force
    is "--force, folder" "$(ls frames | tr '\n' ' ')" "frame_000000.png notes.txt "
fi

# ---- words are data: bytes come back as they were, nothing is executed

digest=$("$PROBE" attr v.h5 model_digest)
is "digest" "${#digest}" 64
i=0
while IFS= read -r words; do
    i=$((i + 1))
    prompt=$(printf '%b' "$words")
    makes "${G[@]}" --prompt "$prompt" --seed $i --output "p$i.y4m" \
        --save_latents "p$i.h5"
    "$PROBE" attr "p$i.h5" job >job.json
    is "prompt $i in the latents' job" "$("$PROBE" json job.json prompt)" "$prompt"
    [ $media == yes ] || continue
    makes "${G[@]}" --prompt "$prompt" --seed $i --output "p$i.mp4"
    is "prompt $i in the mp4" "$("$PROBE" tag "p$i.mp4" prompt)" "$prompt"
    "$PROBE" tag "p$i.mp4" comment >job.json
    is "prompt $i in the job" "$("$PROBE" json job.json prompt)" "$prompt"
    is "seed $i" "$("$PROBE" tag "p$i.mp4" seed)" $i
    is "digest $i" "$("$PROBE" tag "p$i.mp4" model_digest)" "$digest"
done <<'END'
A cat sits on the table.
$(touch executed) `touch executed` ; touch executed | touch executed
it's a "quoted" \\\\ cat, with 100 % cream = {key: "value"}; #[1]
first line\nsecond line\ttab
\x1b[2J\x1b]0;title\x07 escape and bell
\xe2\x80\xae right to left \xe2\x80\x8f\xd7\x97\xd7\xaa\xd7\x95\xd7\x9c
\xe7\x8c\xab \xf0\x9f\x90\x88\xe2\x80\x8d\xe2\xac\x9b e\xcc\x81
&lt;b&gt; <b>%s%n</b> --seed 7 -- ../../etc/passwd
END
[ ! -e executed ] && ok || not_ok "a prompt" "was executed"

if [ $media == yes ]; then
    makes "${G[@]}" --prompt $'a "cat"\n\x1b[31m' --output pf
    tr '\n' '@' <pf/frame_000000.png >png.text
    is "prompt in the PNG" "$(grep -caF $'a "cat"@\x1b[31m' png.text)" 1
fi

# A prompt file of 100 KiB, with every byte that text may have but the last newline.
{
    for c in 1 2 3 4 5 6 7 8 9 a b c d e f; do printf "\\x0$c\\x1$c"; done
    head -c 102000 /dev/zero | tr '\0' 'k'
    printf ' \xe7\x8c\xab end\n\n'
} >big.txt
size=$(wc -c <big.txt)
head -c $((size - 1)) big.txt >big.want
if [ $media == yes ]; then
    makes "${G[@]}" --prompt_file big.txt --output big.mp4
    "$PROBE" tag big.mp4 prompt >big.got
    same "100 KiB of prompt in the mp4" big.want big.got
fi
makes "${G[@]}" --prompt_file big.txt --output big.y4m --save_latents big.h5
{
    "$PROBE" attr big.h5 job
    "$PROBE" attr big.h5 job_1
} >job.json
"$PROBE" json job.json prompt >big.got
echo >>big.want
same "100 KiB of prompt in the latents' job" big.want big.got
makes "${G[@]}" --prompt "$(cat big.txt)" --output bigx.y4m
is "100 KiB of prompt on the command line" "$("$PROBE" frames bigx.y4m)" "48x16 16 5"
head -c 1048577 /dev/zero | tr '\0' a >huge.txt
run "${G[@]}" --prompt_file huge.txt --output late.y4m
is "more than 1 MiB of prompt" "$code" 3
[ ! -e late.y4m ] && ok || not_ok "a refusal" "has written"

# ---- what is said on the way does not drive a terminal

name=$'odd\e[31m.y4m'
makes "${G[@]}" --output "$name"
is "no escape on stderr" "$(tr -cd '\033' <"$root/err" | wc -c)" 0
[ -s "$name" ] && ok || not_ok "an odd name" "is not there"

# ---- the log

makes "${G[@]}" --output l1.y4m --log_json log.json --num_frames 9
makes "${G[@]}" --output l2.y4m --log_json log.json
"$PROBE" json log.json event >"$root/out" 2>"$root/err"
is "every line of the log is JSON" "$? $(cat "$root/out")" "0 done"
is "steps of two runs in the log" "$(grep -c '"stage":"denoise"' log.json)" 6
is "last step" "$(grep '"stage":"denoise"' log.json | tail -1 | grep -o '"step":3,"steps":3')" \
    '"step":3,"steps":3'
is "model in the log" "$(grep -c '"event":"model"' log.json)" 2

# ---- secrets stay where they are

AWS_SECRET_ACCESS_KEY=planted-7315 HF_TOKEN=planted-7315 makes "${G[@]}" \
    --output secret.y4m --save_latents secret.h5 --log_json secret.json
is "no token is written" "$(cat secret.* "$root/err" "$root/out" | grep -c planted-7315)" 0

# ---- full disks

mkdir small
cat >small.sh <<'END'
mount -t tmpfs -o size=$1 tmpfs small || exit 99
shift
echo keep >small/kept.txt
"$@" >../out 2>../err
code=$?
ls -A small | grep -v 'kept.txt\|\.checkpoints$'
exit $code
END
on_small_disk()
{
    timeout 300 unshare -rm bash small.sh "$@" </dev/null
}
if ! on_small_disk 64k true >/dev/null 2>&1; then
    skip "full disks" "a small file system cannot be mounted here"
else
    full=("$FF" "${G[@]}" --size 64x64 --num_frames 17)
    check_full()
    {
        is "$1: exit code" "$2" 4
        is "$1: nothing is left" "$3" ""
        is "$1: one line" "$(grep -c '^framefleet: ' "$root/err")" 1
        grep -q 'No space left\|iB free' "$root/err" && ok || not_ok "$1" "does not say why"
    }
    left=$(on_small_disk 64k "${full[@]}" --output small/v.y4m)
    check_full "y4m on a full disk" $? "$left"
    left=$(on_small_disk 16k "${full[@]}" --output big64.y4m --save_latents small/v.h5)
    check_full "latents on a full disk" $? "$left"
    [ ! -e big64.y4m ] && ok || not_ok "latents on a full disk" "leave a video"
    if [ $media == yes ]; then
        left=$(on_small_disk 16k "${full[@]}" --output small/v.mp4)
        check_full "mp4 on a full disk" $? "$left"
        left=$(on_small_disk 32k "${full[@]}" --output small/pngs)
        check_full "PNG on a full disk" $? "$left"
    fi
fi
run --version
is "version" "$code $(grep -c '^framefleet [0-9]' "$root/out")" "0 1"
for command in generate plan inspect; do
    run $command --help
    is "$command --help" "$code $(grep -c "^usage: framefleet $command" "$root/out")" "0 1"
    is "$command --help says nothing else" "$(wc -c <"$root/err")" 0
done
run --help
is "--help" "$code $(grep -c 'generate' "$root/out")" "0 1"
"$FF" --help >/dev/full 2>"$root/err"
is "a full standard output is an error" "$?" 4

done_testing
