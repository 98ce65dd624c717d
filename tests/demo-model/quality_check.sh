#!/usr/bin/env bash
# quality_check.sh - the table of docs/quality.md comes out whole, on the random model
#
# usage: quality_check.sh BIN
set -euo pipefail
here=$(dirname "$0")
bin=$1
folder=$(mktemp -d /tmp/framefleet-quality-XXXXXX)
trap 'rm -rf "$folder"' EXIT

fail()
{
    echo "not ok: $1"
    exit 1
}

"$bin/make_demo_model" "$folder/model" >/dev/null
export PRECISIONS="bf16" SAMPLERS=euler STEPS="1 2"
table()
{
    "$here/quality_table.sh" "$bin" "$folder/model" "$folder/work" 0 1 \
        2>>"$folder/said" || fail "no table"
}

# What was made once stays: with fewer steps asked for at first, the rest comes later.
STEPS=1 table >"$folder/half"
[ "$(grep -c '^| bf16' "$folder/half")" = 1 ] || fail "half of the rows: $(cat "$folder/half")"
LAUNCHES=2 table >"$folder/whole"
[ "$(wc -l <"$folder/said")" = 4 ] || fail "four rows are made once: $(cat "$folder/said")"
cat "$folder/whole"
[ "$(grep -c '^| fp32' "$folder/whole")" = 2 ] || fail "rows of fp32"
[ "$(grep -c 'same bits' "$folder/whole")" = 2 ] || fail "fp32 against itself"
[ "$(grep -cE '^\| bf16 \| euler \| [12] ([|] [0-9.]+ ){6}[|] 0\.9[0-9]* [|]' \
    "$folder/whole")" = 2 ] || fail "rows of bf16"
echo "ok"
