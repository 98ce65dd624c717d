# strip.awk - blank comments, strings and characters, so that only code is left
#
# Lines keep their number and order: `file:line:code`. Preprocessor lines are kept.
# Runs over many files at once; state is reset at the start of each.
FNR == 1 { in_comment = 0 }
{
    rest = $0
    code = ""
    while (rest != "") {
        if (in_comment) {
            at = index(rest, "*/")
            if (at == 0)
                break
            rest = substr(rest, at + 2)
            in_comment = 0
            continue
        }
        if (!match(rest, /\/\*|\/\/|"|'/)) {
            code = code rest
            break
        }
        mark = substr(rest, RSTART, RLENGTH)
        code = code substr(rest, 1, RSTART - 1)
        rest = substr(rest, RSTART + RLENGTH)
        if (mark == "//")
            break
        if (mark == "/*") {
            in_comment = 1
            code = code " "
            continue
        }
        while (rest != "" && substr(rest, 1, 1) != mark)
            rest = substr(rest, substr(rest, 1, 1) == "\\" ? 3 : 2)
        rest = substr(rest, 2)
        code = code mark mark
    }
    print FILENAME ":" FNR ":" code
}
