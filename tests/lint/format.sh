#!/usr/bin/env bash
# format.sh - every source is laid out as clang-format 14 lays it out
#
# Other versions lay out differently, so only 14 counts; launcher/setup.sh --tests
# installs it on Debian 12 and Ubuntu 24.04. Where it does not exist the test is skipped
# (exit 77), and the summary says so.
# `format.sh --fix` rewrites the files instead of complaining, and cuts the dashes of
# section headlines that are too long.
set -euo pipefail
. "$(dirname "$0")/sources.sh"

tool=
for name in clang-format-14 clang-format; do
    if [[ $("$name" --version 2>/dev/null) == *"version 14."* ]]; then
        tool=$name
        break
    fi
done
if [ -z "$tool" ]; then
    echo "no clang-format 14 here: ./launcher/setup.sh --tests" >&2
    exit 77
fi
headlines()
{
    local file
    for file in $(sources | xargs grep -lE '^/\* ---- .{79,} \*/$'); do
        awk '/^\/\* ---- .* -+ \*\/$/ && length($0) > 88 {
            sub(/-+ \*\/$/, "")
            while (length($0) < 84)
                $0 = $0 "-"
            $0 = $0 " */"
        }
        { print }' "$file" >"$file.tmp"
        mv "$file.tmp" "$file"
    done
}

if [ "${1:-}" = --fix ]; then
    headlines
    sources | xargs "$tool" -i
else
    sources | xargs "$tool" --dry-run -Werror
fi
