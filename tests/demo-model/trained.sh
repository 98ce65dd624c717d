#!/usr/bin/env bash
# trained.sh - the trained model shows what captions say, by the program on a CPU in fp32
#
#     trained.sh BIN MODEL short     2 captions in few steps, which must be right
#     trained.sh BIN MODEL clips     20 held-out captions
#     trained.sh BIN MODEL long      six videos of four segments, judged from the last on
#
# The shares of the last two are looser than what 200 captions are held to, since one
# caption of 20 is 5 %.
set -euo pipefail
bin=$1 model=$2
quality=$(dirname "$0")/quality.sh
work=$(mktemp -d /tmp/framefleet-trained-XXXXXX)
trap 'rm -rf "$work"' EXIT
export KEEP=$work

# held LINE PART PERCENT
held()
{
    awk -v part="$2" -v least="$3" '{ for (i = 1; i < NF; i++)
        if ($i == part) share = $(i + 1) } END { exit !(share >= least) }' <<<"$1" ||
        { echo "not ok: less than $3 % right: $2"; exit 1; }
}

case $3 in
short)
    said=$("$quality" "$bin" "$model" 0 2 --precision fp32 --inference_steps 12)
    wanted="background:100 colour:100 form:100 motion:100"
    # the same videos, each with the other's caption
    awk -F '\t' '{ video[NR] = $1; told[NR] = $2 }
        END { print video[1] "\t" told[2]; print video[2] "\t" told[1] }' \
        "$work/list" >"$work/swapped"
    swapped=$("$bin/demo_world" judge_all "$work/swapped" | tail -1)
    [[ $swapped == *"colour 0.00"* ]] ||
        { echo "not ok: right for another caption: $swapped"; exit 1; }
    ;;
clips)
    said=$("$quality" "$bin" "$model" 0 20 --precision fp32 --inference_steps 30)
    wanted="background:90 colour:90 form:80 motion:80"
    ;;
long)
    said=$(FROM=25 KEPT=17 "$quality" "$bin" "$model" 200 6 --precision fp32 --num_frames 29 \
        --inference_steps 30 --model_kind df --base_num_frames 17 --overlap_history 13 \
        --addnoise_condition 20)
    wanted="background:80 colour:80 form:80"
    held "$(grep '^kept: ' <<<"$said" | awk '{ print "kept", $(NF - 1), "%" }')" kept 80
    ;;
*)
    echo "usage: trained.sh BIN MODEL short|clips|long" >&2
    exit 2
    ;;
esac
echo "$said"
for one in $wanted; do
    held "$(tail -1 <<<"$said")" "${one%:*}" "${one#*:}"
done
