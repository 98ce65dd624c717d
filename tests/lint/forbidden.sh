#!/usr/bin/env bash
# forbidden.sh - functions that nobody calls, and some that only a few folders may
#
# Each line of `rules`: the function names (an extended regular expression), the files
# that may call them ("-": none), and what to do instead. Comments and strings do not
# count.
set -euo pipefail
. "$(dirname "$0")/sources.sh"

rules='
gets|strcpy|strcat|stpcpy|sprintf|vsprintf -                 use snprintf with the size
strncpy|strncat                  -                 use memcpy or snprintf with the size
strtok|strerror_r|asctime|ctime|gmtime|localtime - use the re-entrant form
system|popen                     -                 nothing read may reach a shell
atoi|atol|atoll|atof             -                 use strtoll or strtod and check
scanf|fscanf|sscanf              -                 parse with checks
rand|srand|random|srandom|drand48 -                use the counter-based generator
mmap|mmap64                      dist/.*           use pread: a file may shrink
tmpnam|tempnam|mktemp            -                 use mkstemp or O_EXCL
alloca|setjmp|longjmp            -                 allocate, return a status
printf|vprintf|puts|putchar|perror (launcher|tests)/.* libraries do not print
exit|abort|quick_exit            (launcher|tests)/.* libraries return a status
'

sources | xargs awk -f tests/lint/strip.awk | awk -v rules="$rules" '
BEGIN {
    n = split(rules, lines, "\n")
    for (i = 1; i <= n; i++) {
        if (split(lines[i], f, " ") < 3)
            continue
        names[++count] = f[1]
        allowed[count] = f[2]
        reason[count] = lines[i]
        sub(/^[^ ]+ +[^ ]+ +/, "", reason[count])
    }
}
{
    file = $0
    sub(/:.*/, "", file)
    where = substr($0, 1, length(file) + 1)
    code = substr($0, length(file) + 2)
    line = code
    sub(/:.*/, "", line)
    code = " " substr(code, length(line) + 2)
    for (i = 1; i <= count; i++) {
        if (code !~ ("[^A-Za-z0-9_.>](" names[i] ")[ ]*\\("))
            continue
        if (allowed[i] != "-" && file ~ ("^(" allowed[i] ")$"))
            continue
        print where line ": " names[i] ": " reason[i]
        bad = 1
    }
    if (code ~ /fprintf[ ]*\([ ]*std(out|err)|fputs[ ]*\(.*std(out|err)/ &&
        file !~ /^(launcher|tests)\//) {
        print where line ": libraries do not print"
        bad = 1
    }
}
END { exit bad }
'
