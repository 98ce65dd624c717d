#!/usr/bin/env bash
# resume_stuck.sh - restarts that end at the same row with the same error come to an end
. "$(dirname "$0")/lib.sh"

ARGS=(generate --model wan --prompt "A cat sits on the table." --size 128x96 --num_frames 17
    --steps 3 --threads 1)
folder=got.y4m.checkpoints

# cramped ARGS...: no file may be longer than 240 KiB; a checkpoint is shorter, the video
# is not
cramped()
{
    (ulimit -f 240 && timeout 300 "$FF" "$@") >"$root/out" 2>"$root/err" </dev/null
    code=$?
}

restarts()
{
    sed -n 's/.*"restarts":\([0-9]*\).*/\1/p' $folder/stuck 2>/dev/null
}

makes "${ARGS[@]}" --output want.y4m
cramped "${ARGS[@]}" --output got.y4m
is "no room: exit code" "$code" 4
[ -e $folder ] && ok || not_ok "no room" "no checkpoints"
is "a first launch does not count" "$(restarts)" ""

cramped resume got.y4m
is "first restart: exit code" "$code" 4
is "first restart counts" "$(restarts)" 1
is "mode" "$(stat -c %a $folder/stuck)" 600

# To be told to stop, and to be killed, is no error.
run resume got.y4m --max_minutes 0.0001
is "the clock: exit code" "$code" 75
is "the clock does not count" "$(restarts)" 1
is "killed" "$("$PROBE" signal 9 "going on from" "$FF" resume got.y4m 2>"$root/err")" "signal 9"
is "a kill does not count" "$(restarts)" 1

cramped resume got.y4m
is "second restart: exit code" "$code" 4
is "second restart counts" "$(restarts)" 2
cp -R $folder kept

# The next one ends before it begins, and says how to try again.
table <<END
stuck | 4 | resume got.y4m | no progress: 2 restarts in a row ended at row 3 of segment 1 with code 4 ; remove 'got.y4m.checkpoints/stuck' to try again
END
sed -i 's/"code":4/"code":5/; s/"reason":"[^"]*"/"reason":"a\\u001b[31m\\n"/' $folder/stuck
table <<END
code 5 | 5 | resume got.y4m | with code 5 (a?[31m?)
END

# What we would not have written is no reason.
for text in '' '{' '{"segment":0,"row":3,"code":4,"restarts":-2,"reason":""}' \
    '{"segment":0,"row":1,"code":4,"restarts":2,"reason":""}' \
    "$(head -c 5000 /dev/zero | tr '\0' x)"; do
    rm -rf got.y4m $folder
    cp -R kept $folder
    printf '%s' "$text" >$folder/stuck
    makes resume got.y4m
    same "after '${text:0:60}'" want.y4m got.y4m
done

rm -rf got.y4m $folder
cp -R kept $folder
rm $folder/stuck
makes resume got.y4m
same "tried again" want.y4m got.y4m
[ ! -e $folder ] && ok || not_ok "tried again" "checkpoints are left"

done_testing
