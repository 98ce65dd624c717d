#!/usr/bin/env bash
# self.sh - each lint finds the defect it is there for, in a tree made for the purpose
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/tests" "$tree/kernels/base" "$tree/engine"
cp -r "$here" "$tree/tests/lint"
cp "$here/../../.clang-format" "$tree/"

# expect LINT FILE CODE: the lint passes without the file and fails with it
expect()
{
    local lint=$1 file=$tree/$2
    printf '/* ok.c - nothing */\nint ok;\n' >"$tree/engine/ok.c"
    if ! bash "$tree/tests/lint/$lint.sh" >/dev/null; then
        echo "$lint fails on a clean tree"
        exit 1
    fi
    printf '%b' "$3" >"$file"
    if bash "$tree/tests/lint/$lint.sh" >/dev/null 2>&1; then
        echo "$lint passes $2: $3"
        exit 1
    fi
    rm "$file"
}

head='/* a.c - a test */\n'
expect includes kernels/base/a.c "$head#include \"engine/config.h\"\n"
expect includes engine/a.c "$head#include \"config.h\"\n"
expect includes engine/a.c "$head#include <mpi.h>\n"
expect includes engine/a.c "$head#include <never_seen.h>\n"
expect forbidden engine/a.c "${head}int x = atoi(s);\n"
expect forbidden engine/a.c "${head}/* */ char *p = strcpy(a, b); /* */\n"
expect forbidden engine/a.c "${head}void f(void)\n{\n    printf(\"x\");\n}\n"
expect forbidden engine/a.c "${head}void f(void)\n{\n    fprintf(stderr, \"\");\n}\n"
long=$(printf '    x();\\n%.0s' $(seq 119))
expect functions engine/a.c "${head}void f(void)\n{\n$long}\n"
expect shape engine/a.c "int x;\n"
expect shape engine/a.c "$head\tint x;\n"
expect shape engine/a.c "$head/* $(printf 'x%.0s' $(seq 90)) */\n"
if bash "$tree/tests/lint/format.sh" >/dev/null 2>&1; then
    expect format engine/a.c "${head}int  x;\n"
fi
