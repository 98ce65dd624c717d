#!/usr/bin/env bash
# format.sh - every source is laid out as clang-format 14 lays it out
#
# Other versions lay out differently, so only 14 counts; launcher/setup.sh --tests
# installs it on Debian 12 and Ubuntu 24.04. Where it does not exist the test is skipped
# (exit 77), and the summary says so.
# `format.sh --fix` rewrites the files instead of complaining.
set -euo pipefail
. "$(dirname "$0")/sources.sh"

tool=
for name in clang-format-14 clang-format; do
    if "$name" --version 2>/dev/null | grep -q 'version 14\.'; then
        tool=$name
        break
    fi
done
if [ -z "$tool" ]; then
    echo "no clang-format 14 here: ./launcher/setup.sh --tests" >&2
    exit 77
fi
if [ "${1:-}" = --fix ]; then
    sources | xargs "$tool" -i
else
    sources | xargs "$tool" --dry-run -Werror
fi
