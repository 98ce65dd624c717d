#!/usr/bin/env bash
# decode.sh - decoding apart from denoising gives the bytes of the whole run
. "$(dirname "$0")/lib.sh"

LONG=(generate "${SKY[@]}" --num_frames 29 --base_num_frames 17 --overlap_history 5)

# ---- latents from a file, with the model's VAE alone, on a "machine" without the rest

mkdir machine
cp "$GOLDEN/vae/Wan2.1_VAE.pth" machine/
while IFS='|' read -r name args; do
    name=$(trim "$name")
    # shellcheck disable=SC2086
    eval "makes $args --output '$name.y4m' --save_latents '$name.h5'"
    makes decode "$name.h5" --vae machine/Wan2.1_VAE.pth --output "$name.again.y4m"
    same "$name: latents" "$name.y4m" "$name.again.y4m"
    makes decode "$name.h5" --model machine --threads 2 --output "$name.more.y4m"
    same "$name: another machine" "$name.y4m" "$name.more.y4m"
done <<'END'
plain     | generate "${BASE[@]}"
bf16      | generate "${BASE[@]}" --precision bf16 --fps 7
forcing   | generate "${SKY[@]}" --num_frames 9 --ar_step 1
long      | "${LONG[@]}"
pixels    | "${LONG[@]}" --chain pixels
chunked   | "${LONG[@]}" --vae_chunk 3
END
makes decode plain.h5 --vae "$GOLDEN/vae/vae" --output diffusers.y4m
same "diffusers' folder of the VAE" plain.y4m diffusers.y4m
makes decode plain.h5 --vae diff --output model.y4m
same "a model folder" plain.y4m model.y4m
makes decode plain.h5 --model machine --fps 5 --output fps5.y4m
is "another frame rate" "$("$PROBE" frames fps5.y4m)" "48x16 5 5"

# Latents of somebody else: nothing but values.
"$PROBE" h5make bare.h5 latents/x 16 3 4 6
makes decode bare.h5 --model machine --output bare.y4m
is "bare latents" "$("$PROBE" frames bare.y4m)" "48x32 24 9"

if "$FF" generate "${BASE[@]}" --output v.mp4 2>&1 | grep -q "not built"; then
    skip "mp4" "FFmpeg is not in this build"
else
    makes decode plain.h5 --model machine --output again.mp4
    same "mp4 with its tags" v.mp4 again.mp4
fi

# ---- a run that is killed while it decodes: decode and resume both finish it

for chain in latents pixels; do
    rm -rf got.*
    ARGS=("${LONG[@]:1}" --size 160x96 --steps 2 --chain $chain)
    makes generate "${ARGS[@]}" --output want.$chain.y4m
    how=$("$PROBE" hold 9 0 "segment 2/" 1 "got.y4m.checkpoints/ck-0001-0002-i1.h5" \
        "$FF" generate "${ARGS[@]}" --output got.y4m --checkpoint_every 1 2>"$root/err")
    is "$chain: killed" "$how" "signal 9"
    [ ! -e got.y4m ] && ok || not_ok "$chain" "it was quicker than the kill"
    makes decode got.y4m.checkpoints --output decoded.$chain.y4m
    same "$chain: decoded after a kill" want.$chain.y4m decoded.$chain.y4m
    makes decode got.y4m.checkpoints/ck-0001-0002-i1.h5 --model machine
    same "$chain: decoded from one file" want.$chain.y4m got.y4m
    makes decode got.y4m --force
    same "$chain: decoded by the output's name" want.$chain.y4m got.y4m
    rm got.y4m
    makes resume got.y4m
    same "$chain: resumed after a kill" want.$chain.y4m got.y4m
    [ ! -e got.y4m.checkpoints ] && ok || not_ok "$chain" "checkpoints are left"
done

# Decoding itself is killed: nothing is left, and the next one does it.
"$FF" generate "${ARGS[@]}" --output big.y4m --save_latents big.h5 2>"$root/err"
is "KILL while decoding" "$("$PROBE" signal 9 "decode 1/" "$FF" decode big.h5 \
    --model machine --output killed.y4m 2>"$root/err")" "signal 9"
makes decode big.h5 --model machine --output killed.y4m --force
same "after a kill of decode" big.y4m killed.y4m
is "INT while decoding" "$("$PROBE" signal 2 "decode 2/" "$FF" decode big.h5 \
    --model machine --output stopped.y4m 2>"$root/err")" "exit 75"
is "nothing half made" "$(find . -name '*stopped*' -o -name '*.part*' | grep -v killed | wc -l)" 0

# ---- in the middle of a run

how=$("$PROBE" signal 10 "denoise 5/" "$FF" generate "${LONG[@]:1}" --steps 100 \
    --output half.y4m 2>"$root/err")
is "a run in the middle" "$how" "exit 75"
makes decode half.y4m --preview --output preview.y4m
is "a preview" "$("$PROBE" frames preview.y4m)" "32x16 24 17"

# ---- refusals

"$PROBE" h5make other.h5 latents/x 8 3 4 6
"$PROBE" h5make flat.h5 latents/x 16 3 24
"$PROBE" h5make empty.h5 other/x 16 3 4 6
cp plain.h5 damaged.h5
printf 'x' | dd of=damaged.h5 bs=1 seek=$(($(wc -c <damaged.h5) - 700)) conv=notrunc 2>/dev/null
cp "$(ls half.y4m.checkpoints/ck-* | tail -1)" cut.h5
truncate -s -1 cut.h5
touch there.y4m
table <<'END'
nothing to decode     | 2 | decode | say what to decode
two things            | 2 | decode plain.h5 long.h5 | say what to decode
unknown flag          | 2 | decode plain.h5 --promt x | unknown flag 'promt'
not finished          | 2 | decode half.y4m --model machine --output a.y4m | of 100, segment 1 of 2 ; resume ; --preview
no output             | 2 | decode plain.h5 --model machine | missing output
no autoencoder        | 2 | decode plain.h5 --output a.y4m | missing autoencoder ; --vae
output is there       | 2 | decode plain.h5 --model machine --output there.y4m | 'there.y4m' ; --force
a job file            | 2 | decode job.json --output a.y4m | job.json ; it is a job
other channels        | 3 | decode other.h5 --model machine --output a.y4m | 8 latent channels ; takes 16
no latents            | 3 | decode empty.h5 --model machine --output a.y4m | empty.h5 ; latents/x
other rank            | 3 | decode flat.h5 --model machine --output a.y4m | flat.h5 ; latents/x
damaged               | 3 | decode damaged.h5 --model machine --output a.y4m | damaged.h5
damaged checkpoint    | 3 | decode cut.h5 --model machine --output a.y4m | 'cut.h5' rejected
nothing there         | 3 | decode none.y4m --model machine | none.y4m.checkpoints
no VAE there          | 3 | decode plain.h5 --vae nowhere --output a.y4m | 'nowhere'
not a VAE             | 3 | decode plain.h5 --vae wan/diffusion_pytorch_model.safetensors --output a.y4m | vae
no such folder        | 2 | decode plain.h5 --model machine --output none/a.y4m | none/a.y4m
END

done_testing
