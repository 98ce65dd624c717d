#!/usr/bin/env bash
# stages.sh - killed at every stage of every checkpoint, there is always a valid one
#
#     stages.sh PROBE CALLS [N]
#
# PROBE (tests/unit/checkpoint_probe.c) saves rows 1, 2, 3 … and is killed by CALLS
# (calls.h) at a stage of the V-th, for all stages and V up to N (3 without it). The newest
# valid checkpoint must be of row V or the one before; the next to claim the folder finds
# no temporary file.
set -uo pipefail
probe=$1
calls=$2
n=${3:-3}
. "$(dirname "$0")/writer.sh"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
ck=$root/checkpoints
killed=0
failed=0

not_ok()
{
    echo "not ok: $1"
    failed=$((failed + 1))
}

# stage NAME CALL PATTERN FACTOR MORE V
stage()
{
    local fault="$2 $3 $(($4 * $6 + $5)) kill" newest

    rm -rf "$ck"
    (
        export LD_PRELOAD=$calls FF_FAULT=$fault
        exec "$probe" "$ck" $(($6 + 2))
    ) 2>/dev/null
    if [ $? -ne 137 ]; then
        not_ok "$1 of checkpoint $6: not killed by '$fault'"
        return
    fi
    killed=$((killed + 1))
    newest=$("$probe" "$ck")
    # The third save retires the first.
    [ "$1" == retire ] && set -- "$1" "$2" "$3" "$4" "$5" $(($6 + 2))
    if [ "$newest" != "$6" ] && [ "$newest" != $(($6 - 1)) ]; then
        not_ok "$1 of checkpoint $6: the newest valid one is '$newest'"
    fi
    "$probe" "$ck" 0
    [ -z "$(find "$ck" -name '.*.tmp')" ] || not_ok "$1 of checkpoint $6: files are left"
}

while read -r name call pattern factor more; do
    for ((v = 1; v <= n; v++)); do
        stage "$name" "$call" "$pattern" "$factor" "$more" $v 2>/dev/null
    done
done <<<"$stages"
echo "$killed kills at $(wc -l <<<"$stages") stages, $failed failed"
[ $failed -eq 0 ] && [ $killed -gt 0 ]
