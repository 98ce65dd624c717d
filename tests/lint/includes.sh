#!/usr/bin/env bash
# includes.sh - includes run down, from the root, and third-party headers stay home
#
# `tree` says which folders a folder may include, `homes` where a third-party header may
# be used; the first line that matches decides. Patterns are extended regular
# expressions over the whole path. A header that no line knows is an error: add it here
# in the commit that needs it.
set -euo pipefail
. "$(dirname "$0")/sources.sh"

tree='
kernels/base/    kernels/base/
kernels/ref/     kernels/(ref/|base/|[a-z0-9_]+\.h)
kernels/cpu/     kernels/(cpu/|base/|[a-z0-9_]+\.h)
kernels/cuda/    kernels/(cuda/|base/|[a-z0-9_]+\.h)
kernels/check/   kernels/(check/|base/|[a-z0-9_]+\.h)
kernels/         kernels/(base/|[a-z0-9_]+\.h)
cluster/         (cluster|kernels/base)/
dist/            (dist|kernels)/
engine/          (engine|dist|kernels)/
launcher/        (launcher|engine|kernels|cluster)/|dist/(world|mesh)\.h
tests/           (tests|launcher|engine|dist|kernels|cluster)/
'

homes='
cjson/cJSON\.h                     kernels/base/json\.c
cblas\.h                           (kernels/cpu|tests)/.*
(immintrin|x86intrin|arm_neon)\.h  (kernels/cpu|kernels/base)/.*
(cuda|cublas|cudnn|nv|cub|mma).*   kernels/cuda/.*|dist/comm_nccl\.c|tests/gpu/.*
mpi\.h                             dist/.*
nccl\.h                            dist/.*
hwloc.*                            cluster/.*
hdf5\.h                            engine/h5/.*|tests/.*
zip\.h                             engine/weights/pth.*|tests/.*
sentencepiece_processor\.h         engine/text/.*\.cpp
utf8proc\.h                        engine/text/.*
(openssl/.*|xxhash\.h)             engine/digest\.c
lib(avformat|avcodec|avutil|swscale)/.* engine/media/.*
cmocka\.h                          tests/.*
(setjmp)\.h                        tests/.*
(assert|complex|ctype|errno|fenv|float|inttypes|limits|locale|math|signal)\.h .*
(stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|string|time)\.h .*
(dirent|dlfcn|fcntl|fnmatch|ftw|getopt|glob|libgen|link|malloc|poll|pthread|sched)\.h .*
(semaphore|spawn|strings|termios|unistd|sys/[a-z]+|linux/[a-z]+)\.h .*
[a-z_]+                            .*\.(cpp|cu)
'

sources | xargs awk -v tree="$tree" -v homes="$homes" '
function table(text, left, right,    lines, n, i, fields, count)
{
    n = split(text, lines, "\n")
    count = 0
    for (i = 1; i <= n; i++) {
        if (split(lines[i], fields, " ") == 2) {
            left[++count] = fields[1]
            right[count] = fields[2]
        }
    }
    return count
}
function complain(what)
{
    print FILENAME ":" FNR ": " what
    bad = 1
}
function check_ours(path,    i)
{
    if (path !~ /\//)
        return complain("include \"" path "\" is not written from the root")
    for (i = 1; i <= n_tree; i++) {
        if (index(FILENAME, folder[i]) == 1) {
            if (path !~ ("^(" below[i] ")"))
                complain("\"" path "\" is not below " folder[i])
            return
        }
    }
    complain("no line of the table for this folder")
}
function check_theirs(path,    i)
{
    for (i = 1; i <= n_homes; i++) {
        if (path ~ ("^(" header[i] ")$")) {
            if (FILENAME !~ ("^(" home[i] ")$"))
                complain("<" path "> belongs to " home[i])
            return
        }
    }
    complain("<" path "> is in no line of the table")
}
BEGIN {
    n_tree = table(tree, folder, below)
    n_homes = table(homes, header, home)
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, part, "\"")
    check_ours(part[2])
}
/^[ \t]*#[ \t]*include[ \t]*</ {
    path = $0
    sub(/^[^<]*</, "", path)
    sub(/>.*$/, "", path)
    check_theirs(path)
}
END { exit bad }
'
