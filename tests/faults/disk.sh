#!/usr/bin/env bash
# disk.sh - disks that fail or are full: a warning, then exit 4, and nothing is lost
#
#     disk.sh FRAMEFLEET PROBE GOLDEN_DATA CALLS
#
# CALLS (calls.h) is put before the program. One save that fails is a warning; the third
# in a row ends the run with numbers, and a run on a disk that is well again goes on from
# what was there.
calls=$(realpath "$4")
. "$(dirname "$0")/../cli/lib.sh"

ARGS=(--model wan --prompt "A cat sits on the table." --size 96x80 --num_frames 9
    --steps 200 --guidance_scale 1 --threads 1)
makes generate "${ARGS[@]}" --output want.y4m --save_latents want.h5

# faulty FAULT [COUNT]: run with checkpoints after every row. Until there are COUNT (2) of
# them, rows wait for the one that is being written: a slow disk gets as many as a fast
# one. Nothing is sent to the run then: it goes on by itself.
faulty()
{
    how=$("$PROBE" hold 0 0 "denoise 1/" "${2:-2}" "got.y4m.checkpoints/ck-*" \
        "$(command -v env)" LD_PRELOAD="$calls" FF_FAULT="$1" "$FF" generate "${ARGS[@]}" \
        --output got.y4m --save_latents got.h5 --checkpoint_every 1 2>"$root/err")
    code=${how#exit }
}

warnings()
{
    grep -c '^warning: cannot \(write\|read\)' "$root/err"
}

# finished NAME: what a run that goes on gives
finished()
{
    same "$1: latents" want.h5 got.h5
    same "$1: video" want.y4m got.y4m
    [ ! -e got.y4m.checkpoints ] && ok || not_ok "$1" "checkpoints are left"
}

# goes_on NAME: there is a checkpoint, no temporary file, no output; resume finishes
goes_on()
{
    is "$1: temporary files" "$(find . -name '.*.tmp' -o -name '*.part')" ""
    [ ! -e got.y4m ] && [ ! -e got.h5 ] && ok || not_ok "$1" "outputs are there"
    makes resume got.y4m
    is "$1: goes on" "$(grep -c '^going on from ck-' "$root/err")" 1
    finished "$1"
}

# ---- one failure

while read -r fault; do
    rm -rf got.*
    faulty "$fault"
    is "$fault: exit code" "$code" 0
    is "$fault: warnings" "$(warnings)" 1
    finished "$fault"
done <<'END'
openat .ck-*.tmp 2 EIO
pwrite .ck-*.tmp 3 EIO
pread .ck-*.tmp 8 EIO
fsync .ck-*.tmp 2 EDQUOT
openat owner 3 EIO
renameat .ck-*.tmp 2 EIO
fsync *.checkpoints 3 EIO
END

rm -rf got.*
faulty "pwrite .ck-*.tmp 3 short"
is "a short write: exit code" "$code" 0
is "a short write: warnings" "$(warnings)" 0
finished "a short write"

# ---- every save from one on

while read -r fault; do
    rm -rf got.*
    faulty "$fault" 99
    is "$fault: exit code" "$code" 4
    at_least "$fault: warnings" "$(warnings)" 1
    is "$fault: one message with numbers" "$(grep -c \
        '^framefleet: cannot write checkpoint .* MiB free)$' "$root/err")" 1
    goes_on "$fault"
done <<'END'
openat .ck-*.tmp 2 ENOSPC+
pwrite .ck-*.tmp 3 ENOSPC+
fsync .ck-*.tmp 2 EIO+
renameat .ck-*.tmp 2 ENOSPC+
fsync *.checkpoints 3 EIO+
END

# ---- room for one generation and a half

ARGS=(--model wan --prompt "A cat sits on the table." --size 192x160 --num_frames 17
    --steps 40 --guidance_scale 1 --threads 1)
rm -rf got.* want.*
makes generate "${ARGS[@]}" --output want.y4m --save_latents want.h5
mkdir got.y4m.checkpoints
# A checkpoint has 0.65 MiB, and one more MiB is asked for.
if mount -t tmpfs -o size=2m,mode=700 tmpfs got.y4m.checkpoints 2>/dev/null; then
    trap 'umount "$root/work/got.y4m.checkpoints"; chmod -R u+rwx "$root"; rm -rf "$root"' EXIT
    faulty "" 99
    is "full disk: exit code" "$code" 4
    at_least "full disk: warnings" "$(warnings)" 1
    is "full disk: numbers" "$(grep -c \
        '^framefleet: cannot write checkpoint .* MiB needed, .* MiB free$' "$root/err")" 1
    at_least "full disk: generations" "$(ls got.y4m.checkpoints | grep -c '^ck-')" 1
    is "full disk: nothing half made" "$(ls -A got.y4m.checkpoints | grep -c tmp)" 0
    mount -o remount,size=64m got.y4m.checkpoints
    makes resume got.y4m
    is "full disk: goes on" "$(grep -c '^going on from ck-' "$root/err")" 1
    same "full disk: latents" want.h5 got.h5
    same "full disk: video" want.y4m got.y4m
    umount got.y4m.checkpoints
    trap 'chmod -R u+rwx "$root"; rm -rf "$root"' EXIT
else
    skip "full disk" "a small disk cannot be mounted here"
fi

done_testing
