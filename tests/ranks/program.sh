# program.sh - what the tests of the whole program on several ranks share
#
# Sources the shell tests' lib.sh (tests/cli), with its folder and tiny models, and adds
#
#     ranks N ARGS...     the program on N ranks; $code, $seconds, ../out, ../err
#     no_hang NAME S      it ended by itself within those seconds
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

MPIRUN=(mpirun -q --oversubscribe --bind-to none --timeout 100)
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
    at_least "$1: $2 s" 30 "$2"
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

gone()
{
    local tries=30

    while [ -n "$(ours)" ] && [ $((tries -= 1)) -gt 0 ]; do
        sleep 0.1
    done
    is "$1: processes left" "$(ours)" ""
    is "$1: files left" "$(find "$root/work" -name '.*.tmp*' ! -path '*.checkpoints/*' \
        -o -name '*.part')" ""
}
