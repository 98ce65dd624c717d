#!/usr/bin/env bash
# check.sh - the demonstration model is small, repeatable, and makes a lively video
#
# usage: check.sh MAKE_DEMO_MODEL FRAMEFLEET
set -euo pipefail
make=$1
framefleet=$2
folder=$(mktemp -d /tmp/framefleet-demo-XXXXXX)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail()
{
    echo "not ok: $1"
    exit 1
}

# generate OUTPUT PROMPT
generate()
{
    "$framefleet" generate --model one --output "$1" --prompt "$2" --size 64x64 \
        --num_frames 9 --inference_steps 4 --seed 7 >log 2>&1 || fail "$(cat log)"
}

"$make" one >/dev/null
"$make" two >/dev/null
diff -r one two || fail "two models differ"
[ "$(du -sk one | cut -f1)" -le 10240 ] || fail "more than 10 MiB"

generate a.y4m "a boat"
generate b.y4m "a boat"
generate c.y4m "a mountain at night, seen from far away"
cmp a.y4m b.y4m || fail "the same job, other bytes"
cmp -s a.y4m c.y4m && fail "the prompt changes nothing"

# 64x64, 4:2:0: 6144 bytes a frame. Many values in a frame, few of them at the ends, and
# frames that differ.
tail -c 6144 a.y4m >last
head -c 4096 last >luma
values=$(od -An -v -tu1 -w1 luma | sort -u | wc -l)
ends=$(od -An -v -tu1 -w1 luma | awk '$1 <= 16 || $1 >= 235 { n++ } END { print n + 0 }')
[ "$values" -ge 40 ] || fail "only $values values of luma"
[ "$ends" -le 400 ] || fail "$ends of 4096 pixels are black or white"
tail -c $((2 * 6150)) a.y4m >last_two
head -c 4096 last_two | cmp -s - luma && fail "nothing moves"
echo "ok: $values values of luma, $ends at the ends"
