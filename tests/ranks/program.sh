# program.sh - what the tests of the whole program on several ranks share
#
# Sources the shell tests' lib.sh (tests/cli), with its folder and tiny models, and adds
#
#     ranks N ARGS...     the program on N ranks; $code, $seconds, ../out, ../err
#     no_hang NAME S      it ended by itself within those seconds
#     process_of RANK     its process
#     said WORD           wait until a line of the run $job has it in ../err
#     saved PATTERN       wait until the run $job has such a checkpoint
#     makes_on N ARGS...  it must succeed
#     once NAME CODE TEXT the last run ended with this code and said this, once, as the
#                         only line that begins with "framefleet: "
#     gone NAME           none of the processes of this test is left, nor a temporary file
#                         but of a checkpoint, which the next claim removes
#
# Exit code 77 (skipped) where mpirun is missing.
if ! command -v mpirun >/dev/null; then
    echo "skipped: no mpirun here"
    exit 77
fi
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"

MPIRUN=(mpirun -q --oversubscribe --bind-to none --timeout 280)
[ "$(id -u)" -ne 0 ] || MPIRUN+=(--allow-run-as-root)
export OPENBLAS_NUM_THREADS=1

now()
{
    date +%s.%N
}

since()
{
    awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'
}

ranks()
{
    local n=$1 start

    shift
    start=$(now)
    "${MPIRUN[@]}" -n "$n" "$FF" "$@" >"$root/out" 2>"$root/err" </dev/null
    code=$?
    seconds=$(since "$start")
}

# no_hang NAME SECONDS: that ended by itself. How fast is for the benchmarks: a busy
# machine must not fail a test.
no_hang()
{
    at_least "$1: $2 s" 150 "$2"
}

makes_on()
{
    ranks "$@"
    if [ "$code" -ne 0 ]; then
        not_ok "$1 ranks: ${*:2}" "exit code $code"
        return 1
    fi
    ok
}

once()
{
    is "$1: exit code" "$code" "$2"
    is "$1: messages" "$(grep -c '^framefleet: ' "$root/err")" 1
    if grep -qF -- "$3" "$root/err"; then
        ok
    else
        not_ok "$1" "the message lacks '$3'"
    fi
}

# Processes that run the program in this test's folder.
ours()
{
    local p

    for p in $(pgrep -x "$(basename "$FF" | cut -c1-15)"); do
        case $(readlink "/proc/$p/cwd" 2>/dev/null) in
        "$root"*) echo "$p" ;;
        esac
    done
}

# The rank of a process, from its environment.
process_of()
{
    local p

    for p in $(ours); do
        grep -qzx "OMPI_COMM_WORLD_RANK=$1" "/proc/$p/environ" && echo "$p"
    done
}

# How long we wait for a run: for ever, as long as there is one.
said()
{
    until grep -q -- "$1" "$root/err"; do
        kill -0 "$job" 2>/dev/null || return
        sleep 0.05
    done
}

# Rows must not be over before a slow disk has a checkpoint of one. So while none is there,
# rank 1 is halted as long as one is being written, and for a moment where none is.
saved()
{
    local rank moments

    until compgen -G "$1" >/dev/null; do
        kill -0 "$job" 2>/dev/null || return
        sleep 0.05
        rank=$(process_of 1)
        [ -n "$rank" ] || continue
        kill -STOP "$rank" 2>/dev/null
        for ((moments = 0; moments < 600; moments++)); do
            ! compgen -G "$1" >/dev/null || break
            [ $moments -lt 5 ] || compgen -G "${1%/*}/.ck-*.tmp" >/dev/null || break
            sleep 0.05
        done
        kill -CONT "$rank" 2>/dev/null
    done
}

gone()
{
    local tries=1500

    while [ -n "$(ours)" ] && [ $((tries -= 1)) -gt 0 ]; do
        sleep 0.1
    done
    is "$1: processes left" "$(ours)" ""
    is "$1: files left" "$(find "$root/work" -name '.*.tmp*' ! -path '*.checkpoints/*' \
        -o -name '*.part')" ""
}
