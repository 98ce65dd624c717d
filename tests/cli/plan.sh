#!/usr/bin/env bash
# plan.sh - the figures of plan: what they should be, what reading them costs, and
# whether a run keeps to them
. "$(dirname "$0")/lib.sh"

# ---- figures that can be worked out by hand

plan_of --model wan --size 48x32 --num_frames 9 --steps 7
is "latent frames" "$(number latent_frames)" 3
is "latent height" "$(number latent_height)" 4
is "latent width" "$(number latent_width)" 6
is "tokens" "$(number tokens)" 18
is "segments" "$(number segments)" 1
is "rows" "$(number rows)" 7
is "forwards with guidance" "$(number forwards)" 14
plan_of --model wan --size 48x32 --num_frames 9 --steps 7 --guidance_scale 1
is "forwards without" "$(number forwards)" 7
plan_of --model sky --size 32x16 --num_frames 29 --base_num_frames 17 \
    --overlap_history 5 --ar_step 1 --steps 5
is "segments of a long video" "$(number segments)" 2
is "rows of a long video" "$(number rows)" 16
is "latent frames of a long video" "$(number latent_frames)" 8

# Three snapshots, an image and a second reading: four latents of a segment, the finished
# ones, and texts.
at_least "checkpoints" "$(number checkpoint_bytes)" $((5 * (4 * 5 + 8) * 16 * 2 * 4 * 4))
at_least "what is kept has checkpoints in it" "$(number kept_bytes)" \
    $(($(number checkpoint_bytes) + 1))

# Weights in fp32 or as stored: never less than the parameters in 16 bits.
plan_of --model wan --size 48x32 --num_frames 9
bytes=$(($(number dit_weight_bytes) + $(number text_weight_bytes) + $(number vae_weight_bytes)))
at_least "bytes of weights" "$bytes" $((240924 * 2))
at_least "bytes of weights" $((2 * 1048576)) "$bytes"
at_least "peak" "$(number peak_bytes)" $(($(number denoise_bytes) + bytes))

# More frames, more memory and work; a table says the same as JSON.
small=$(number peak_bytes)
flop=$(number forward_flop)
run plan --model wan --size 48x32 --num_frames 9
is "plan without --json" "$code" 0
is "tokens in the table" "$(grep -c '18 tokens' "$root/out")" 1
plan_of --model wan --size 96x64 --num_frames 81
at_least "a larger video takes more" "$(number peak_bytes)" $((small + 1))
awk -v a="$(number forward_flop)" -v b="$flop" 'BEGIN { exit !(a > 20 * b) }' && ok ||
    not_ok "a larger video" "does not take more work"

# A size nobody has the memory for is planned all the same.
plan_of --model wan --size 4096x4096 --num_frames 401
at_least "a huge video" "$(number peak_bytes)" 20000000000
is "plan writes nothing" "$(files | grep -c video)" 0

# Unless it is to fit: then the plan is printed, and what would fit is said.
run plan --model wan --size 4096x4096 --num_frames 401 --memory_limit 1.5
is "a plan that does not fit" "$code" 4
is "the plan is printed" "$(grep -c '^  peak of everything' "$root/out")" 1
is "why it does not fit" "$(grep -c \
    'not enough memory: .* 1.50 GiB are available; .* would fit$' \
    "$root/err")" 1
run plan --model wan --size 48x32 --num_frames 9 --memory_limit 1.5
is "a plan that fits" "$code" 0

# ---- headers only: with all tensor data gone to holes plan says the same

plan_of --model diff --size 48x32 --num_frames 9
cp plan.json before.json
find diff -name '*.safetensors' | while read -r f; do
    size=$(wc -c <"$f")
    header=$(od -A n -t u8 -N 8 "$f")
    head -c $((header + 8)) "$f" >head.bin
    truncate -s "$size" head.bin
    mv head.bin "$f"
done
plan_of --model diff --size 48x32 --num_frames 9
same "data gone to holes" before.json plan.json
if command -v strace >/dev/null && strace -o trace true 2>/dev/null; then
    strace -f -y -e trace=read,pread64 -o trace "$FF" plan --model diff --size 48x32 \
        --num_frames 9 >/dev/null
    read_bytes=$(grep 'safetensors>' trace | sed 's/.*= //' | awk '{ n += $1 } END { print n + 0 }')
    headers=$(find diff -name '*.safetensors' | while read -r f; do od -A n -t u8 -N 8 "$f"; done |
        awk '{ n += $1 + 8 } END { print n }')
    at_least "bytes that plan reads" $((headers * 2)) "$read_bytes"
    at_least "bytes that plan reads" "$read_bytes" "$headers"
else
    skip "bytes that plan reads" "no strace here"
fi

# ---- a run stays within its plan

# What the program takes by itself: libraries, threads, FFmpeg. Measured by the smallest
# job there is, less its plan.
S=(--size 16x16 --num_frames 1 --steps 1 --guidance_scale 1 --prompt x --threads 2)
plan_of --model wan "${S[@]}"
"$PROBE" peak base "$FF" generate --model wan "${S[@]}" --output base.y4m 2>"$root/err"
own=$(($(cat base) - $(number peak_bytes)))
echo "the program itself: $((own / 1024)) KiB"
at_least "the program itself" $((160 * 1048576)) $own
i=0
while read -r model more; do
    i=$((i + 1))
    # shellcheck disable=SC2086
    plan_of --model "$model" --steps 1 --threads 2 $more
    # shellcheck disable=SC2086
    timeout 60 "$PROBE" peak used "$FF" generate --model "$model" --prompt x --steps 1 --threads 2 \
        $more --output m$i.y4m 2>"$root/err" || not_ok "$more" "failed"
    echo "$more: plan $(($(number peak_bytes) / 1048576)) MiB, beyond the program" \
        "$((($(cat used) - own) / 1048576)) MiB"
    at_least "$more stays within its plan" $(($(number peak_bytes) + own + 4194304)) "$(cat used)"
    at_least "$more: the plan is not a fantasy" "$(cat used)" $(($(number peak_bytes) / 2))
done <<'END'
wan --size 320x192 --num_frames 5
wan --size 160x96 --num_frames 33 --guidance_scale 1
wan --size 192x128 --num_frames 9 --vae_chunk 2 --precision bf16
sky --size 160x96 --num_frames 29 --base_num_frames 17 --overlap_history 5
sky --size 160x96 --num_frames 29 --base_num_frames 17 --overlap_history 5 --chain pixels
END

done_testing
