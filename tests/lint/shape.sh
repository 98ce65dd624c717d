#!/usr/bin/env bash
# shape.sh - first lines, columns, tabs and blanks that the formatter does not see
#
# Every source begins with `/* name - one sentence`, no line is wider than 88 characters
# (UTF-8 continuation bytes do not count; a line that is one string literal may be), there
# are no tabs, trailing blanks or `//`.
set -euo pipefail
. "$(dirname "$0")/sources.sh"

sources | xargs awk '
function complain(what)
{
    print FILENAME ":" FNR ": " what
    bad = 1
}
FNR == 1 {
    name = FILENAME
    sub(/.*\//, "", name)
    if (index($0, "/* " name " - ") != 1)
        complain("the first line is not \"/* " name " - what it is\"")
}
/\t/ { complain("tab") }
/[ \t]$/ { complain("trailing blank") }
{
    wide = $0
    gsub(/[\200-\277]/, "", wide)
    if (length(wide) > 88 && wide !~ /^ *"[^"]/)
        complain(length(wide) " columns, 88 at most")
}
END { exit bad }
'
sources | xargs awk '
/^[ ]*\/\// { print FILENAME ":" FNR ": comments are written /* like this */"; bad = 1 }
END { exit bad }
'
