#!/usr/bin/env bash
# laws.sh - what may change the bytes of a video, and what may not
. "$(dirname "$0")/lib.sh"

latents()
{
    "$PROBE" h5 "$1" latents/x 4
}

G=(generate "${BASE[@]}")
makes "${G[@]}" --seed 3 --output a.y4m --save_latents a.h5 --save_noise noise.h5 \
    --save_embeds embeds.h5

# ---- the same again, threads, layouts

makes "${G[@]}" --seed 3 --output b.y4m --save_latents b.h5
same "a second run" a.y4m b.y4m
same "a second run, latents file" a.h5 b.h5
for n in 2 3; do
    makes "${G[@]}" --seed 3 --threads $n --output t$n.y4m --save_latents t$n.h5
    same "$n threads" a.y4m t$n.y4m
    same "$n threads, latents file" a.h5 t$n.h5
done
makes "${G[@]}" --seed 3 --model diff --output d.y4m --save_latents d.h5
same "diffusers layout" a.y4m d.y4m
is "diffusers layout, latents" "$(latents d.h5)" "$(latents a.h5)"
makes "${G[@]}" --seed 3 --force --output a.y4m
same "--force replaces" a.y4m b.y4m

# ---- what does change them

for other in "--seed 4" "--rng torch_cpu" "--sampler euler" "--sampler dpm++" \
    "--steps 4" "--shift 4" "--guidance_scale 3" "--guidance_scale 1"; do
    # shellcheck disable=SC2086
    makes "${G[@]}" --seed 3 $other --output o.y4m --force
    differs "$other" a.y4m o.y4m
done
makes "${G[@]}" --seed 3 --prompt "A dog" --output o.y4m --force
differs "another prompt" a.y4m o.y4m
makes "${G[@]}" --seed 3 --negative_prompt "A dog" --output o.y4m --force
differs "another negative prompt" a.y4m o.y4m
makes "${G[@]}" --rng torch_cpu --output r1.y4m
makes "${G[@]}" --rng torch-cpu --output r2.y4m
same "torch_cpu repeats" r1.y4m r2.y4m

# ---- noise and text rows through files

is "shape of the noise" "$("$PROBE" h5 noise.h5 initial/0 4 | cut -d' ' -f1)" 16x2x2x6
makes "${G[@]}" --seed 99 --noise noise.h5 --output n.y4m --save_latents n.h5
same "saved noise comes back" a.y4m n.y4m
is "saved noise comes back, latents" "$(latents n.h5)" "$(latents a.h5)"
mkdir bare
cp wan/config.json wan/diffusion_pytorch_model.safetensors wan/Wan2.1_VAE.pth bare/
makes generate "${BASE[@]:2}" --model wan --seed 3 --embeds embeds.h5 --output e.y4m
same "saved text rows come back" a.y4m e.y4m
makes generate --model bare --embeds embeds.h5 --size 48x16 --num_frames 5 --steps 3 \
    --threads 1 --seed 3 --output bare.y4m --save_latents bare.h5
same "without a text encoder in the folder" a.y4m bare.y4m
is "without a text encoder, latents" "$(latents bare.h5)" "$(latents a.h5)"
makes "${G[@]}" --seed 3 --guidance_scale 1 --output g1.y4m --save_embeds cond.h5
makes "${G[@]}" --seed 3 --guidance_scale 1 --embeds cond.h5 --output g2.y4m
same "no negative rows are needed without guidance" g1.y4m g2.y4m
makes "${G[@]}" --seed 3 --prompt "" --output empty.y4m
is "an empty prompt" "$("$PROBE" frames empty.y4m)" "48x16 16 5"

# ---- sizes

makes "${G[@]}" --num_frames 1 --output one.y4m
is "one frame" "$("$PROBE" frames one.y4m)" "48x16 16 1"
makes "${G[@]}" --size 16x16 --num_frames 1 --steps 1 --output small.y4m
is "the smallest" "$("$PROBE" frames small.y4m)" "16x16 16 1"
makes "${G[@]}" --size 16x80 --num_frames 9 --fps 7 --output tall.y4m
is "taller than wide" "$("$PROBE" frames tall.y4m)" "16x80 7 9"

# ---- precision: near fp32, and each its own

for p in bf16 fp8 int8; do
    makes "${G[@]}" --seed 3 --precision $p --output $p.y4m
    makes "${G[@]}" --seed 3 --precision $p --threads 2 --output $p.2.y4m
    same "$p repeats on 2 threads" $p.y4m $p.2.y4m
    differs "$p is not fp32" a.y4m $p.y4m
    db=$(psnr a.y4m $p.y4m)
    echo "$p against fp32: $db dB"
    case $p in
    bf16) at_least "$p is near fp32" "$db" 38 ;;
    int8) at_least "$p is near fp32" "$db" 30 ;;
    fp8) at_least "$p is near fp32" "$db" 24 ;;
    esac
done
makes "${G[@]}" --seed 3 --precision fp8_fast --output fp8_fast.y4m
same "fast sums are those of a gpu" fp8.y4m fp8_fast.y4m
makes "${G[@]}" --seed 3 --precision fp32 --output fp32.y4m
same "auto is fp32" a.y4m fp32.y4m
makes "${G[@]}" --seed 3 --backend ref --output ref.y4m
at_least "the reference backend" "$(psnr a.y4m ref.y4m)" 55

# ---- latent frames decoded at once

makes "${G[@]}" --num_frames 17 --output c1.y4m --save_latents c1.h5
for n in 2 4 64; do
    makes "${G[@]}" --num_frames 17 --vae_chunk $n --output c$n.y4m --save_latents c$n.h5
    at_least "chunks of $n" "$(psnr c1.y4m c$n.y4m)" 55
    is "chunks of $n leave latents alone" "$(latents c$n.h5)" "$(latents c1.h5)"
done

done_testing
