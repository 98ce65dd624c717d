#!/usr/bin/env bash
# resume_keys.sh - every key of a configuration, changed, is refused by its name
#
# The list of keys is read from what the program itself writes, so that a new key
# without a case here fails.
. "$(dirname "$0")/lib.sh"

# stopped ARGS...: run until row 5 and ask for a checkpoint
stopped()
{
    is "stopped: $*" "$("$PROBE" signal 10 "denoise 5/" "$FF" "$@" 2>"$root/err")" "exit 75"
}

# A job in which every key matters, and files that it could have been given.
ARGS=(--model sky --prompt "A cat" --negative_prompt "A dog" --size 32x16
    --num_frames 45 --base_num_frames 29 --overlap_history 13 --addnoise_condition 20
    --steps 12 --threads 1)
makes generate "${ARGS[@]}" --output want.y4m --save_latents want.h5 \
    --save_noise noise.h5 --save_embeds embeds.h5
stopped generate "${ARGS[@]}" --output got.y4m --checkpoint_every 1

# key | value that it is given | was | is
tried=" "
while IFS='|' read -r key value was now; do
    before=$(files)
    run resume got.y4m "--$key" "$value"
    refused "$key" 3 "got.y4m.checkpoints ; of another job ; '$key' was $was, is $now"
    is "$key: files are as they were" "$(files)" "$before"
    tried+="$key "
done <<'END'
model_kind|df|"auto"|"df"
backend|ref|"cpu"|"ref"
precision|bf16|"auto"|"bf16"
vae_chunk|2|1|2
prompt|A bat|"A cat"|"A bat"
negative_prompt||"A dog"|""
size|48x16|"32x16"|"48x16"
num_frames|61|45|61
fps|25|24|25
inference_steps|13|12|13
sampler|euler|"unipc"|"euler"
guidance_scale|5.5|6|5.5
shift|7|8|7
seed|43|42|43
rng|torch_cpu|"philox"|"torch_cpu"
ar_step|1|0|1
causal_block_size|2|1|2
base_num_frames|45|29|45
overlap_history|5|13|5
addnoise_condition|19|20|19
chain|pixels|"latents"|"pixels"
crf|11|10|11
embeds|embeds.h5|not set|"embeds.h5"
noise|noise.h5|not set|"noise.h5"
END
keys=$("$PROBE" attr want.h5 job | grep -o '[{,]"[a-z_]*":' | tr -d '{,":')
at_least "keys of a configuration" "$(echo "$keys" | wc -l)" 21
for key in $keys; do
    [[ $tried == *" $key "* ]] && ok || not_ok "$key" "no case"
done

# ---- what is not in the configuration

table <<'END'
never: steps             | 2 | resume got.y4m --steps 13 --accept_change inference_steps | impossible accept_change 'inference_steps' ; ring backend
never: a second key      | 2 | resume got.y4m --accept_change crf,seed | impossible accept_change 'seed'
another key              | 3 | resume got.y4m --seed 1 --crf 3 --accept_change crf | of another job: 'seed' was 42, is 1
END
cp sky/diffusion_pytorch_model.safetensors weights
printf '\x01' | dd of=sky/diffusion_pytorch_model.safetensors bs=1 conv=notrunc \
    seek=$(($(stat -c %s weights) - 1000)) 2>/dev/null
run resume got.y4m
is "other weights: exit code" "$code" 3
grep -q '^framefleet: checkpoint .* is of another model' "$root/err" && ok ||
    not_ok "other weights" "not said"
cp weights sky/diffusion_pytorch_model.safetensors

# ---- what may be accepted, and is said

cp -R got.y4m.checkpoints kept
makes resume got.y4m --crf 11 --accept_change crf
same "crf accepted" want.y4m got.y4m
grep -qF "warning: accepted, the bytes may differ: 'crf' was 10, is 11" "$root/err" && ok ||
    not_ok "crf accepted" "no warning"
again()
{
    rm -rf got.y4m
    cp -R kept got.y4m.checkpoints
}
again
makes resume got.y4m --backend ref --accept_change backend
grep -qF "'backend' was \"cpu\", is \"ref\"" "$root/err" && ok ||
    not_ok "backend accepted" "no warning"
grep -q "warning: the checkpoint was written by 'cpu (OpenBLAS [^']*)', this is 'ref'" \
    "$root/err" && ok || not_ok "another machine" "no warning"
at_least "backend accepted" "$(psnr want.y4m got.y4m)" 55
again
makes resume got.y4m --embeds embeds.h5 --noise noise.h5 --accept_change embeds,noise
same "the same rows and noise from files" want.y4m got.y4m

# ---- --keep

SLOW=(--model wan --prompt "A cat" --size 128x96 --num_frames 9 --steps 100 --threads 1
    --checkpoint_every 1)
for n in 1 2 3; do
    how=$("$PROBE" hold 10 0 "denoise 60/" $n "keep$n.y4m.checkpoints/ck-*" \
        "$FF" generate "${SLOW[@]}" --output keep$n.y4m --keep $n 2>"$root/err")
    is "--keep $n is stopped" "$how" "exit 75"
    is "--keep $n" "$(ls keep$n.y4m.checkpoints | grep -c '^ck-')" $n
done

# ---- damage: the newest, the newest two, all three

makes generate "${SLOW[@]}" --output slow.y4m
for n in 1 2 3; do
    rm -rf d.y4m d.y4m.checkpoints
    cp -R keep3.y4m.checkpoints d.y4m.checkpoints
    for file in $(ls -dr d.y4m.checkpoints/ck-* | head -$n); do
        truncate -s -1 "$file"
    done
    run resume d.y4m
    is "$n of 3 damaged: said" "$(grep -c "rejected: it has [0-9]* bytes" "$root/err")" $n
    if [ $n -eq 3 ]; then
        is "all damaged: exit code" "$code" 3
        continue
    fi
    next=$(basename "$(ls -dr keep3.y4m.checkpoints/ck-* | sed -n $((n + 1))p)")
    grep -q "going on from $next" "$root/err" && ok || not_ok "$n of 3 damaged" "not from $next"
    same "$n of 3 damaged" slow.y4m d.y4m
done

table <<'END'
keep none                | 2 | generate "${ARGS[@]}" --output k.y4m --keep 0 | keep 0 ; 1 to 64
END

done_testing
