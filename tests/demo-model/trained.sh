#!/usr/bin/env bash
# trained.sh - the trained model shows what captions say, by the program on a CPU in fp32
#
#     trained.sh BIN MODEL clips     20 held-out captions
#     trained.sh BIN MODEL long      six videos of four segments, judged from the last on
#
# Exit code 77 (skipped) where the weights are not there. The shares are looser than what
# 200 captions are held to, since one caption of 20 is 5 %.
set -euo pipefail
bin=$1 model=$2
quality=$(dirname "$0")/quality.sh
[ -f "$model/config.json" ] || { echo "skipped: no trained weights in '$model'"; exit 77; }

# held LINE PART PERCENT
held()
{
    awk -v part="$2" -v least="$3" '{ for (i = 1; i < NF; i++)
        if ($i == part) share = $(i + 1) } END { exit !(share >= least) }' <<<"$1" ||
        { echo "not ok: less than $3 % right: $2"; exit 1; }
}

case $3 in
clips)
    said=$("$quality" "$bin" "$model" 0 20 --precision fp32 --inference_steps 30)
    wanted="background:90 colour:90 form:80 motion:80"
    ;;
long)
    said=$(FROM=33 "$quality" "$bin" "$model" 200 6 --precision fp32 --num_frames 41 \
        --inference_steps 30 --model_kind df --base_num_frames 17 --overlap_history 9 \
        --addnoise_condition 20)
    wanted="background:80 colour:80 form:80"
    ;;
*)
    echo "usage: trained.sh BIN MODEL clips|long" >&2
    exit 2
    ;;
esac
echo "$said"
for one in $wanted; do
    held "$(tail -1 <<<"$said")" "${one%:*}" "${one#*:}"
done
