#!/usr/bin/env bash
# refusals.sh - requests that cannot be: one line, the right exit code, nothing written
. "$(dirname "$0")/lib.sh"

G=(generate "${BASE[@]}")
P=(plan --model wan --size 48x16 --num_frames 5 --steps 3)

# ---- commands and flags

table <<'END'
no arguments             | 2 |                                   | framefleet --help
unknown command          | 2 | paint                             | unknown command 'paint' ; generate
resume of nothing        | 2 | resume                            | say what to go on with
command not built        | 2 | convert                           | 'convert' is not built yet
command not built        | 2 | doctor                            | 'doctor' is not built yet
nothing to compare       | 2 | compare a.h5                      | say what to compare
command not built        | 2 | sbatch                            | 'sbatch' is not built yet
unknown flag             | 2 | "${G[@]}" --num_frame 5           | unknown flag 'num_frame' ; 'num_frames'
unknown flag             | 2 | "${G[@]}" --guidence-scale 5      | unknown flag 'guidence-scale' ; 'guidance_scale'
unknown flag of plan     | 2 | "${P[@]}" --promt x               | unknown flag 'promt' ; 'prompt'
flag without its value   | 2 | "${G[@]}" --seed                  | missing value of flag '--seed'
stray argument           | 2 | "${G[@]}" cat.mp4                 | unexpected argument 'cat.mp4'
not built: image         | 2 | "${G[@]}" --image cat.png         | 'image' is not built yet
not built: alias         | 2 | "${G[@]}" --lora_dir 4            | not built yet
too few ranks            | 2 | "${G[@]}" --ulysses-size 4        | nearest are g1u1r1
not a mesh               | 2 | "${G[@]}" --mesh 4x1              | write it like 'g2u4r1'
not built: offload       | 2 | "${G[@]}" --offload               | 'offload' is not built yet
not built: teacache      | 2 | "${G[@]}" --teacache              | 'teacache' is not built yet
not built: lora          | 2 | "${G[@]}" --lora_path x           | not built yet
END

# ---- values

table <<'END'
frames not 4k + 1        | 2 | "${G[@]}" --num_frames 98         | num_frames 98 ; 97 ; 101
frames zero              | 2 | "${G[@]}" --num_frames 0          | num_frames 0
frames far too many      | 2 | "${G[@]}" --num_frames 1000005    | num_frames 1000005 ; 1000001
frames not a number      | 2 | "${G[@]}" --num_frames many       | num_frames 'many' ; whole number
frames with a tail       | 2 | "${G[@]}" --num_frames 97f        | num_frames '97f'
width not 16k            | 2 | "${G[@]}" --size 50x16            | width 50 ; multiple of 16 ; 48 or 64
height not 16k           | 2 | "${G[@]}" --size 48x17            | height 17 ; 16 or 32
size too small           | 2 | "${G[@]}" --size 8x16             | width 8 ; 16 or 32
size malformed           | 2 | "${G[@]}" --size 48              | size '48' ; WIDTHxHEIGHT
size beyond bounds       | 2 | "${G[@]}" --size 99999x16         | size '99999x16'
width without height     | 2 | "${G[@]}" --width 48              | missing height
height without width     | 2 | "${G[@]}" --height 16             | missing width
steps zero               | 2 | "${G[@]}" --steps 0               | steps 0 ; 1 to
steps negative           | 2 | "${G[@]}" --inference_steps -5    | steps -5 ; 1 to
guidance negative        | 2 | "${G[@]}" --guidance_scale -1     | guidance_scale -1 ; 0 to 100
guidance NaN             | 2 | "${G[@]}" --guidance_scale nan    | guidance_scale nan
shift zero               | 2 | "${G[@]}" --shift 0               | shift 0 ; 0.01
seed negative            | 2 | "${G[@]}" --seed -1               | seed -1
seed too large           | 2 | "${G[@]}" --seed 99999999999999999999 | seed 99999999999999999999
unknown sampler          | 2 | "${G[@]}" --sampler ddim          | sampler 'ddim' ; unipc dpm++ euler
unknown rng              | 2 | "${G[@]}" --rng cuda              | rng 'cuda' ; philox torch_cpu
unknown precision        | 2 | "${G[@]}" --precision fp4         | precision 'fp4' ; auto fp32 bf16 fp8 int8 fp8_fast
unknown model kind       | 2 | "${G[@]}" --model_kind x          | model_kind 'x' ; auto plain df
unknown backend          | 2 | "${G[@]}" --backend tpu           | backend 'tpu' ; cpu
unknown kernels          | 2 | "${G[@]}" --backend cuda:all      | backend 'cuda:all' ; :portable ; :simple
threads negative         | 2 | "${G[@]}" --threads -1            | threads -1
vae_chunk zero           | 2 | "${G[@]}" --vae_chunk 0           | vae_chunk 0 ; 1 to 64
crf too large            | 2 | "${G[@]}" --crf 52                | crf 52 ; 0 to 51
fps zero                 | 2 | "${G[@]}" --fps 0                 | fps 0
no model                 | 2 | generate --prompt x               | missing model ; --model
no model to plan         | 2 | plan                              | missing model ; --model
no prompt                | 2 | generate --model wan --size 48x16 --num_frames 5 | missing prompt ; --prompt_file
END

run "${G[@]}" --backend cuda --print_job
if [ "$code" -eq 0 ]; then
    skip "cuda is not in this build" "it is"
else
    refused "cuda is not in this build" 2 "cuda ; not built"
fi

# ---- what a model cannot do

S=(generate "${SKY[@]}")
table <<'END'
lag on a plain model     | 2 | "${G[@]}" --ar_step 5             | ar_step ; --model_kind df
overlap on a plain model | 2 | "${G[@]}" --overlap_history 5     | overlap_history ; --model_kind df
noise on a plain model   | 2 | "${G[@]}" --addnoise_condition 20 | addnoise_condition ; --model_kind df
block does not divide    | 2 | "${S[@]}" --num_frames 25 --ar_step 1 --causal_block_size 5 | num_frames 25 ; causal_block_size 5 ; 17 or 37
block against overlap    | 2 | "${S[@]}" --num_frames 57 --base_num_frames 29 --overlap_history 5 --causal_block_size 4 | overlap_history 5 ; causal_block_size 4
overlap not 4k + 1       | 2 | "${S[@]}" --num_frames 57 --base_num_frames 29 --overlap_history 6 | overlap_history 6 ; 5 and 9
base not 4k + 1          | 2 | "${S[@]}" --num_frames 57 --base_num_frames 30 --overlap_history 5 | base_num_frames 30 ; 29 and 33
overlap as long as base  | 2 | "${S[@]}" --num_frames 57 --base_num_frames 17 --overlap_history 17 | overlap_history 17 ; smaller than
END

# ---- outputs

touch there.mp4 there.y4m there.h5
mkdir there_png there_empty
touch there_png/frame_000000.png
table <<'END'
mp4 that is there        | 2 | "${G[@]}" --output there.mp4      | 'there.mp4' ; --force
y4m that is there        | 2 | "${G[@]}" --output there.y4m      | 'there.y4m' ; --force
folder that is there     | 2 | "${G[@]}" --output there_png      | 'there_png' ; --force
latents that are there   | 2 | "${G[@]}" --output a.y4m --save_latents there.h5 | 'there.h5' ; --force
embeds that are there    | 2 | "${G[@]}" --output a.y4m --save_embeds there.h5  | 'there.h5' ; --force
noise that is there      | 2 | "${G[@]}" --output a.y4m --save_noise there.h5   | 'there.h5' ; --force
one name twice           | 2 | "${G[@]}" --output a.y4m --save_noise x.h5 --save_latents x.h5 | 'x.h5' ; save_noise ; save_latents
no such folder           | 2 | "${G[@]}" --output none/a.mp4     | 'none/a.mp4'
no such folder, y4m      | 2 | "${G[@]}" --output none/a.y4m     | 'none/a.y4m'
no such folder, latents  | 2 | "${G[@]}" --output a.y4m --save_latents none/a.h5 | 'none/a.h5'
no such folder, log      | 2 | "${G[@]}" --output a.y4m --log_json none/log.json | 'none/log.json'
folder is a file         | 2 | "${G[@]}" --output there.h5/a.mp4 | there.h5
unknown kind of output   | 2 | "${G[@]}" --output a.avi          | 'a.avi' ; .mp4 ; .y4m
empty name               | 2 | "${G[@]}" --output ''             | name of the output is empty
END

# ---- models

mkdir empty
touch file
for part in text vae dit tokenizer config; do
    model_original no_$part wan_a
done
rm no_text/*.pth no_vae/Wan2.1_VAE.pth no_dit/*.safetensors no_config/config.json
cp "$GOLDEN/vae/Wan2.1_VAE.pth" no_text/
rm -r no_tokenizer/google
model_original fifo wan_a
rm fifo/diffusion_pytorch_model.safetensors
mkfifo fifo/diffusion_pytorch_model.safetensors
model_original linked wan_a
rm linked/Wan2.1_VAE.pth
ln -s "$GOLDEN/vae/Wan2.1_VAE.pth" linked/Wan2.1_VAE.pth
model_original short wan_a
truncate -s -1 short/diffusion_pytorch_model.safetensors
model_original zero wan_a
truncate -s 0 zero/diffusion_pytorch_model.safetensors
model_original badshape wan_a
sed -i 's/"shape":\[80,150\]/"shape":[150,80]/' badshape/diffusion_pytorch_model.safetensors
model_original baddtype wan_a
sed -i 's/"dtype":"BF16"/"dtype":"I16" /' baddtype/diffusion_pytorch_model.safetensors
model_original intdtype wan_a
sed -i 's/"\([a-z_.0-9]*\)":{"dtype":"BF16","shape":\[80,80\]/"\1":{"dtype":"BF17","shape":[80,80]/' intdtype/diffusion_pytorch_model.safetensors
model_original badname wan_a
sed -i 's/"blocks.0.self_attn.q.weight"/"blocks.0.self_attn.Q.weight"/' badname/diffusion_pytorch_model.safetensors
model_original badconfig wan_a
echo '{"num_heads": 4,' >badconfig/config.json
model_original otherconfig wan_a
sed -i 's/"num_heads": 4/"num_heads": 3/' otherconfig/config.json
model_diffusers noshard
rm noshard/transformer/diffusion_pytorch_model-00002-of-00003.safetensors

M=(--prompt x --size 48x16 --num_frames 5 --output a.y4m)
table <<'END'
no model folder          | 3 | generate --model nowhere "${M[@]}"   | 'nowhere'
model is a file          | 3 | generate --model file "${M[@]}"      | 'file'
empty model folder       | 3 | generate --model empty "${M[@]}"     | no transformer in 'empty' ; transformer/diffusion_pytorch_model.safetensors ; model.safetensors.index.json
no text encoder          | 3 | generate --model no_text "${M[@]}"   | no text encoder in 'no_text' ; text_encoder/model.safetensors ; models_t5_umt5-xxl-enc-bf16.pth
no vae                   | 3 | generate --model no_vae "${M[@]}"    | no VAE in 'no_vae' ; vae/diffusion_pytorch_model.safetensors ; Wan2.1_VAE.pth
no transformer           | 3 | generate --model no_dit "${M[@]}"    | no transformer in 'no_dit' ; diffusion_pytorch_model.safetensors
no tokenizer             | 3 | generate --model no_tokenizer "${M[@]}" | no tokenizer in 'no_tokenizer' ; tokenizer/spiece.model ; google/umt5-xxl/spiece.model
pipe in place of weights | 3 | generate --model fifo "${M[@]}"      | diffusion_pytorch_model.safetensors
link out of the folder   | 3 | generate --model linked "${M[@]}"    | Wan2.1_VAE.pth
weights cut short        | 3 | generate --model short "${M[@]}"     | 'short/diffusion_pytorch_model.safetensors'
weights empty            | 3 | generate --model zero "${M[@]}"      | 'zero/diffusion_pytorch_model.safetensors'
wrong shape              | 3 | generate --model badshape "${M[@]}"  | blocks. ; ffn ; 150
unknown dtype            | 3 | generate --model baddtype "${M[@]}"  | I16
unknown tensor name      | 3 | generate --model badname "${M[@]}"   | blocks.0.self_attn
config cut short         | 3 | generate --model badconfig "${M[@]}" | config.json
config against shapes    | 3 | generate --model otherconfig "${M[@]}" | 3 heads ; 80
shard is not there       | 3 | generate --model noshard "${M[@]}"   | diffusion_pytorch_model-00002-of-00003.safetensors
plan of empty folder     | 3 | plan --model empty                   | no transformer in 'empty'
END

# Root reads everything, so somebody else must try.
model_original locked wan_a
chmod 000 locked/diffusion_pytorch_model.safetensors
if [ "$(id -u)" -ne 0 ]; then
    run generate --model locked "${M[@]}"
    refused "unreadable weights" 3 "locked/diffusion_pytorch_model.safetensors ; denied"
elif setpriv --reuid 65534 --clear-groups "$FF" --version >/dev/null 2>&1; then
    chmod 755 "$root" .
    setpriv --reuid 65534 --clear-groups "$FF" generate --model locked "${M[@]}" \
        >"$root/out" 2>"$root/err"
    code=$?
    refused "unreadable weights" 3 "locked/diffusion_pytorch_model.safetensors ; denied"
else
    skip "unreadable weights" "root reads everything, and nobody else can run here"
fi

# ---- text rows, noise and prompts from files

"$PROBE" h5make narrow.h5 text/cond 9 47
"$PROBE" h5make long.h5 text/cond 513 48
"$PROBE" h5make nocond.h5 text/uncond 9 48
"$PROBE" h5make nouncond.h5 text/cond 9 48
"$PROBE" h5make noise.h5 initial/0 16 2 2 4
"$PROBE" h5make flat.h5 initial/0 16 144
"$PROBE" h5make othernoise.h5 initial/1 16 2 2 6
head -c 700 noise.h5 >cut.h5
printf 'a\0b' >nul.txt
head -c 1100000 /dev/zero | tr '\0' a >huge.txt
table <<'END'
text rows too narrow     | 3 | "${G[@]}" --output a.y4m --embeds narrow.h5   | 'narrow.h5' ; text/cond ; 47 ; 48
too many text rows       | 3 | "${G[@]}" --output a.y4m --embeds long.h5     | 'long.h5' ; text/cond
no text rows             | 3 | "${G[@]}" --output a.y4m --embeds nocond.h5   | 'nocond.h5' ; text/cond
no negative rows         | 3 | "${G[@]}" --output a.y4m --embeds nouncond.h5 | 'nouncond.h5' ; text/uncond
no such text rows        | 3 | "${G[@]}" --output a.y4m --embeds none.h5     | 'none.h5'
noise of another size    | 3 | "${G[@]}" --output a.y4m --noise noise.h5     | 'noise.h5' ; initial/0 ; 4 ; 6
noise of another rank    | 3 | "${G[@]}" --output a.y4m --noise flat.h5      | 'flat.h5' ; initial/0
noise of another segment | 3 | "${G[@]}" --output a.y4m --noise othernoise.h5 | 'othernoise.h5' ; initial/0
noise cut short          | 3 | "${G[@]}" --output a.y4m --noise cut.h5       | 'cut.h5'
noise is no HDF5         | 3 | "${G[@]}" --output a.y4m --noise nul.txt      | 'nul.txt'
no such noise            | 3 | "${G[@]}" --output a.y4m --noise none.h5      | 'none.h5'
prompt file not there    | 3 | "${G[@]}" --prompt_file none.txt              | 'none.txt'
prompt file with NUL     | 3 | "${G[@]}" --prompt_file nul.txt               | 'nul.txt' ; NUL
prompt file too long     | 3 | "${G[@]}" --prompt_file huge.txt              | 'huge.txt' ; 1048576
END

# ---- more than there is

table <<'END'
more memory than any has | 4 | generate --model wan --prompt x --size 16384x16384 --num_frames 65537 --output a.y4m | GiB
more memory than it may take | 4 | generate --model wan --prompt x --size 480x320 --num_frames 81 --memory_limit 0.01 --output a.y4m | 0.01 GiB are available
END

# ---- words from strangers do not drive the terminal

run generate "${BASE[@]}" --output $'a\e[2J.avi'
refused "escape in a name" 2 '\x1b'
is "no escape on stderr" "$(tr -cd '\033' <"$root/err" | wc -c)" 0

done_testing
