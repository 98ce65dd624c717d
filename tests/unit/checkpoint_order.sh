#!/usr/bin/env bash
# checkpoint_order.sh - every checkpoint is synced, then named, then its folder is synced
#
#     checkpoint_order.sh PROBE
#
# Follows the system calls of PROBE (checkpoint_probe.c). Bytes written after the fsync, a
# rename before it, or a generation removed before the folder's fsync would be lost with
# the power. Skipped (77) where strace cannot follow.
set -euo pipefail
probe=$1
count=6

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
calls=openat,pwrite64,write,fsync,rename,renameat,renameat2,unlinkat,unlink
if ! strace -o "$folder/try" true 2>/dev/null; then
    echo "skipped: strace is missing or not allowed"
    exit 77
fi
strace -y -e trace="$calls" -o "$folder/calls" "$probe" "$folder/ck" $count

awk -v count=$count -v home="$folder/ck" '
function wrong(what) { print "order: " what ": " $0; bad = 1; exit 1 }
# a file written after its fsync is not synced any more
/^pwrite64\(/ && /\.ck-.*\.tmp>/ { state = "written"; next }
/^fsync\(/ && /\.ck-.*\.tmp>/ && / = 0$/ {
    if (state != "written") wrong("sync without write")
    state = "synced"; next
}
/^rename/ && /"\.ck-.*\.tmp"/ && / = 0$/ {
    if (state != "synced") wrong("rename of what is not synced")
    state = "named"; next
}
/^fsync\(/ && index($0, "<" home ">") && / = 0$/ {
    if (state == "named") { state = "safe"; done++ }
    next
}
/^unlink/ && /"ck-/ {
    if (state != "safe") wrong("a generation removed too early")
    removed++; next
}
END {
    if (bad) exit 1
    if (done != count || removed != count - 2) {
        print "order: " done " of " count " checkpoints seen, " removed " removed"
        exit 1
    }
    print done " checkpoints: fsync < rename < fsync of the folder < removal"
}' "$folder/calls"
