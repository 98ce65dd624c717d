#!/usr/bin/env bash
# long.sh - diffusion forcing and long videos: every way of chaining, and its laws
. "$(dirname "$0")/lib.sh"

latents()
{
    "$PROBE" h5 "$1" latents/x 4
}

G=(generate "${SKY[@]}" --num_frames 29 --base_num_frames 17 --overlap_history 5)

# Each line: a name, and what it says beyond G. All must make 29 frames of 8 latents,
# repeat on two threads, and come out of their own noise file.
while IFS='|' read -r name more; do
    name=$(trim "$name")
    # shellcheck disable=SC2086
    makes "${G[@]}" $more --output "$name.y4m" --save_latents "$name.h5" \
        --save_noise "$name.noise.h5"
    is "$name: frames" "$("$PROBE" frames "$name.y4m")" "32x16 24 29"
    is "$name: latent frames" "$(latents "$name.h5" | cut -d' ' -f1)" 16x8x2x4
    # shellcheck disable=SC2086
    makes "${G[@]}" $more --threads 2 --seed 5 --noise "$name.noise.h5" \
        --output "$name.again.y4m" --save_latents "$name.again.h5"
    same "$name: again from its noise" "$name.y4m" "$name.again.y4m"
    is "$name: latents again" "$(latents "$name.again.h5")" "$(latents "$name.h5")"
done <<'END'
latents      |
pixels       | --chain pixels
noised       | --addnoise_condition 20
noisedpixels | --addnoise_condition 20 --chain pixels
lagged       | --ar_step 2
laggednoised | --ar_step 1 --addnoise_condition 20 --rng torch_cpu
END
for pair in "latents pixels" "latents noised" "pixels noisedpixels" "latents lagged"; do
    # shellcheck disable=SC2086
    set -- $pair
    differs "$1 against $2" "$1.y4m" "$2.y4m"
done

# The first segment is a video of its own: the same latents, the same frames.
makes generate "${SKY[@]}" --num_frames 17 --output first.y4m --save_latents first.h5
head -c "$(wc -c <first.y4m)" latents.y4m >begin.y4m
same "a long video begins like the short one" first.y4m begin.y4m

# Decoding as segments finish gives what decoding everything at once gives.
makes "${G[@]}" --vae_chunk 4 --output chunked.y4m --save_latents chunked.h5
is "chunks leave latents alone" "$(latents chunked.h5)" "$(latents latents.h5)"
at_least "chunks across segments" "$(psnr latents.y4m chunked.y4m)" 55

# ---- blocks

B=(generate "${SKY[@]}" --causal_block_size 2 --ar_step 2)
makes "${B[@]}" --num_frames 29 --output block.y4m --save_latents block.h5
is "blocks of 2" "$("$PROBE" frames block.y4m)" "32x16 24 29"
makes "${B[@]}" --num_frames 45 --base_num_frames 29 --overlap_history 13 \
    --addnoise_condition 20 --output blocks.y4m --save_latents blocks.h5
is "blocks of 2 in segments" "$("$PROBE" frames blocks.y4m)" "32x16 24 45"
makes generate "${SKY[@]}" --num_frames 29 --output sync.y4m
differs "lag of blocks" block.y4m sync.y4m
makes generate "${SKY[@]}" --num_frames 29 --causal_block_size 2 --output syncblock.y4m
same "blocks without lag are the plain run" sync.y4m syncblock.y4m

# ---- a model that is told to be one of forcing, and one that is not

makes generate "${BASE[@]}" --num_frames 21 --base_num_frames 13 --overlap_history 5 \
    --ar_step 1 --model_kind df --output df.y4m
is "a plain model as df" "$("$PROBE" frames df.y4m)" "48x16 16 21"
makes generate "${SKY[@]}" --fps 16 --output fps16.y4m
makes generate "${SKY[@]}" --fps 24 --output fps24.y4m
tail -n +2 fps16.y4m >fps16.frames
tail -n +2 fps24.y4m >fps24.frames
differs "the frame rate goes into the model" fps16.frames fps24.frames

# ---- many segments, memory that does not grow with them

M=(generate "${SKY[@]}" --size 64x64 --steps 1 --guidance_scale 1 --base_num_frames 9
    --overlap_history 5)
for n in 33 129; do
    "$PROBE" peak peak.$n "$FF" "${M[@]}" --num_frames $n --output many.$n.y4m \
        2>"$root/err" || not_ok "$n frames" "failed"
    is "$n frames" "$("$PROBE" frames many.$n.y4m)" "64x64 24 $n"
done
at_least "memory does not grow with frames" "$(($(cat peak.33) + 4194304))" \
    "$(cat peak.129)"

done_testing
