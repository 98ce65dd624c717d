#!/usr/bin/env bash
# cli.sh - the program itself ends with 3 and one line on every malformed file
#
#     cli.sh FRAMEFLEET TEST_MALFORMED
set -uo pipefail

ff=$(realpath "$1")
made=$(realpath "$2")
root=$(mktemp -d "${TMPDIR:-/tmp}/framefleet-malformed-XXXXXX")
trap 'rm -rf "$root"' EXIT
"$made" --write "$root/files" >/dev/null

files=0
failures=0
for file in "$root"/files/safetensors/* "$root"/files/pth/*; do
    [ "$(basename "$file")" != valid ] || continue
    files=$((files + 1))
    "$ff" inspect "$file" >"$root/out" 2>"$root/err" </dev/null
    code=$?
    if [ $code -ne 3 ] || [ "$(wc -l <"$root/err")" -ne 1 ] || [ -s "$root/out" ] ||
        LC_ALL=C grep -q '[^[:print:][:space:]]' "$root/err"; then
        failures=$((failures + 1))
        echo "not ok: $(basename "$file"): exit code $code: $(cat -v "$root/err")"
    fi
done
for file in "$root"/files/{safetensors,pth}/valid; do
    "$ff" inspect "$file" >"$root/out" 2>"$root/err" || {
        failures=$((failures + 1))
        echo "not ok: $(dirname "$file") valid: $(cat -v "$root/err")"
    }
done
echo "$files malformed files, $failures not refused as promised"
[ $failures -eq 0 ] && [ $files -ge 300 ]
