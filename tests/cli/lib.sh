# lib.sh - what the shell tests share: a folder, tiny models, and ways to assert
#
# A test is `bash NAME.sh FRAMEFLEET PROBE GOLDEN_DATA`. It sources this file, which
# changes into a new folder with two models in it:
#
#     wan/    text-to-video, original layout        diff/   the same, diffusers layout
#     sky/    diffusion forcing with fps            any more that a test makes
#
# and ends with `done_testing`. A check that fails prints "not ok" with the reason and
# the test goes on. The folder is removed at the end.
#
#     run ARGS...            the program; sets $code, stdout and stderr in ../out, ../err
#     makes ARGS...          it must succeed
#     table <<'END'          refusals: name | exit code | arguments | parts of the text
#     same NAME A B          two files hold the same bytes
#     is NAME GOT WANTED     two texts are equal
#     psnr A B               decibels between two videos
#     plan_of ARGS...        the plan, and with `number KEY` a figure of it
#     skip NAME REASON
#
# After a refusal there must be one line on stderr, which begins with "framefleet: ", no
# output, and every file must be as it was.
set -uo pipefail
export LC_ALL=C

FF=$(realpath "$1")
PROBE=$(realpath "$2")
GOLDEN=$(realpath "$3")
failures=0
checks=0

root=$(mktemp -d /tmp/framefleet-cli-XXXXXX)
trap 'chmod -R u+rwx "$root"; rm -rf "$root"' EXIT
mkdir "$root/work"
cd "$root/work" || exit 1

# Small and quick: every run of the tests that does not say otherwise.
BASE=(--model wan --prompt "A cat sits on the table." --size 48x16 --num_frames 5
    --steps 3 --threads 1)
SKY=(--model sky --prompt "A cat sits on the table." --size 32x16 --num_frames 5
    --steps 3 --threads 1)

model_original()
{
    mkdir -p "$1/google/umt5-xxl"
    cp "$GOLDEN/dit/$2/original/"* "$1/"
    cp "$GOLDEN/vae/Wan2.1_VAE.pth" "$GOLDEN/umt5/models_t5_umt5-xxl-enc-bf16.pth" "$1/"
    cp "$GOLDEN/tokenizer/spiece.model" "$1/google/umt5-xxl/"
}

model_diffusers()
{
    mkdir -p "$1/tokenizer"
    cp -R "$GOLDEN/model/"* "$GOLDEN/dit/wan_a/transformer" \
        "$GOLDEN/umt5/text_encoder" "$GOLDEN/vae/vae" "$1/"
    cp "$GOLDEN/tokenizer/spiece.model" "$1/tokenizer/"
}

model_original wan wan_a
model_original sky sky_fps
model_diffusers diff

ok()
{
    checks=$((checks + 1))
}

not_ok()
{
    checks=$((checks + 1))
    failures=$((failures + 1))
    echo "not ok: $1: $2"
    sed 's/^/    | /' "$root/err" 2>/dev/null | tail -4
}

is()
{
    if [ "$2" == "$3" ]; then
        ok
    else
        not_ok "$1" "got '$2', wanted '$3'"
    fi
}

same()
{
    if [ -s "$2" ] && cmp -s "$2" "$3"; then
        ok
    else
        not_ok "$1" "'$2' and '$3' differ"
    fi
}

differs()
{
    if [ -s "$2" ] && [ -s "$3" ] && ! cmp -s "$2" "$3"; then
        ok
    else
        not_ok "$1" "'$2' and '$3' do not differ"
    fi
}

# at_least NAME GOT LIMIT: numbers; "inf" is large
at_least()
{
    if awk -v a="$2" -v b="$3" 'BEGIN { exit !(a == "inf" || a + 0 >= b + 0) }'; then
        ok
    else
        not_ok "$1" "$2 is below $3"
    fi
}

# psnr A B: decibels between two videos; "inf": same pixels
psnr()
{
    "$FF" compare "$1" "$2" | sed -n 's/^PSNR: \([^ ]*\) dB.*/\1/p'
}

skip()
{
    echo "skipped: $1: $2"
}

run()
{
    timeout 300 "$FF" "$@" >"$root/out" 2>"$root/err" </dev/null
    code=$?
}

makes()
{
    run "$@"
    if [ "$code" -ne 0 ]; then
        not_ok "framefleet $*" "exit code $code"
        return 1
    fi
    ok
}

number()
{
    "$PROBE" json plan.json "$1"
}

plan_of()
{
    run plan "$@" --json
    is "plan $*" "$code" 0
    cp "$root/out" plan.json
}

# What there is, with sizes and times.
files()
{
    find . -type d -printf '%p\n' -o -printf '%p %y %s %T@\n' | sort
}

# refused NAME CODE PARTS: the last run was, in the way that it should be
refused()
{
    local name=$1 want=$2 parts=$3 part

    if [ "$code" -ne "$want" ]; then
        not_ok "$name" "exit code $code, not $want"
        return
    fi
    if [ "$(wc -l <"$root/err")" -ne 1 ] || [ -s "$root/out" ]; then
        not_ok "$name" "not one line on stderr"
        return
    fi
    if ! grep -q '^framefleet: [^A-Z]' "$root/err" || grep -q '\.$' "$root/err"; then
        not_ok "$name" "not in the form of a message"
        return
    fi
    while [ -n "$parts" ]; do
        part=${parts%% ; *}
        if ! grep -qF -- "$part" "$root/err"; then
            not_ok "$name" "the message lacks '$part'"
            return
        fi
        [ "$part" == "$parts" ] && break
        parts=${parts#* ; }
    done
    ok
}

trim()
{
    local text=$1

    text=${text#"${text%%[![:space:]]*}"}
    printf '%s' "${text%"${text##*[![:space:]]}"}"
}

table()
{
    local name want args parts before

    while IFS='|' read -r name want args parts; do
        [ -z "$(trim "$name")" ] && continue
        eval "set -- $args"
        before=$(files)
        run "$@"
        refused "$(trim "$name")" "$(trim "$want")" "$(trim "$parts")"
        if [ "$before" != "$(files)" ]; then
            not_ok "$name" "files have changed"
            diff <(printf '%s\n' "$before") <(files) | head -3
        fi
    done
}

done_testing()
{
    echo "$checks checks, $failures failed"
    [ "$failures" -eq 0 ]
}
