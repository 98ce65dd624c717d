#!/usr/bin/env bash
# text_memory.sh - the text encoder's memory is free before the transformer's is taken,
# and a text encoder that is no good is found before the transformer is read
. "$(dirname "$0")/../sparse.sh"
. "$(dirname "$0")/lib.sh"

# ---- a model whose text encoder is most of it: a table of zeros for 2 million words

model_original big wan_a
rm big/models_t5_umt5-xxl-enc-bf16.pth
text=$(sparse_weights big/models_t5_umt5-xxl-enc-bf16.safetensors '
    function weight(name, shape)
    {
        tensor(name ".weight", shape)
    }
    BEGIN {
        weight("token_embedding", vocab "," d)
        for (b = 0; b < layers; b++) {
            block = "blocks." b "."
            weight(block "norm1", d)
            for (i = 1; i <= 3; i++)
                weight(block "attn." substr("qkv", i, 1), inner "," d)
            weight(block "attn.o", d "," inner)
            weight(block "pos_embedding.embedding", "32,4")
            weight(block "norm2", d)
            weight(block "ffn.gate.0", ffn "," d)
            weight(block "ffn.fc1", ffn "," d)
            weight(block "ffn.fc2", d "," ffn)
        }
        weight("norm", d)
    }' -v d=48 -v ffn=70 -v inner=40 -v layers=3 -v vocab=2000000)

# ---- the plan: the larger of the two, not their sum

B=(--model big --size 640x320 --num_frames 5 --steps 1 --threads 2)
plan_of "${B[@]}"
first=$(number text_peak_bytes)
then=$(number run_peak_bytes)
peak=$(number peak_bytes)
is "the text encoder dominates" "$peak" "$first"
at_least "what is encoded with it" "$first" "$text"
at_least "all the rest" "$then" $((64 * 1048576))
is "the encoder goes" "$(number text_stays)" false
plan_of "${B[@]}" --embeds rows.h5
is "no text to encode" "$(number text_peak_bytes)" 0
is "then the rest is the peak" "$(number peak_bytes)" "$then"

# ---- a run keeps to it: measured less what the smallest job takes beyond its plan

S=(--size 16x16 --num_frames 1 --steps 1 --guidance_scale 1 --prompt x --threads 2)
plan_of --model wan "${S[@]}"
"$PROBE" peak base "$FF" generate --model wan "${S[@]}" --output base.y4m 2>"$root/err"
own=$(($(cat base) - $(number peak_bytes)))

for i in 1 2 3; do
    echo "{\"prompt\": \"cat $i\", \"output\": \"cat$i.y4m\"}"
done >three.jsonl
peaks()
{
    local name=$1

    shift
    timeout 120 "$PROBE" peak used "$FF" generate "${B[@]}" "$@" 2>"$root/err" ||
        not_ok "$name" "failed"
    echo "$name: text $((first >> 20)) MiB, then $((then >> 20)) MiB," \
        "beyond the program $((($(cat used) - own) >> 20)) MiB"
    at_least "$name: the text encoder is in memory" "$(cat used)" "$first"
    at_least "$name: and not beside the rest" $((peak + own + 8 * 1048576)) "$(cat used)"
}
peaks "one job" --prompt "cat 2" --save_embeds rows.h5 --output alone.y4m
peaks "three jobs" --job three.jsonl
is "loads" "$(grep -c '^load' "$root/err")" 3
is "prompts that are encoded" "$(grep -c '^encode ./4' "$root/err")" 4
same "one job and three" cat2.y4m alone.y4m

# With so many jobs that none waits for all, it stays, and the plan says so.
for i in $(seq 33); do
    echo "{\"prompt\": \"cat $i\", \"output\": \"many$i.y4m\"}"
done >many.jsonl
head -32 many.jsonl >fewer.jsonl
run plan "${B[@]}" --job fewer.jsonl --json
is "plan of 32 jobs" "$(grep -c '"text_stays": false' "$root/out")" 32
run plan "${B[@]}" --job many.jsonl --json
is "plan of 33 jobs" "$(grep -c '"text_stays": true' "$root/out")" 33
sum=$(sed -n 's/.*"peak_bytes": \([0-9]*\),/\1/p' "$root/out" | tail -1)
at_least "everything at once" "$sum" $((then + text))

# ---- what is refused by it

gib()
{
    awk -v b="$1" 'BEGIN { printf "%.9f", b / 1024 / 1024 / 1024 }'
}

run plan "${B[@]}" --memory_limit "$(gib $((peak + 1024)))"
is "a limit below the sum" "$code" 0
table <<END
text does not fit | 4 | generate ${B[@]} --prompt x --output a.y4m --memory_limit $(gib $((peak - 1024))) | not enough memory ; the text encoder takes 0.18 GiB by itself, --embeds does without
too many jobs | 4 | generate ${B[@]} --job many.jsonl --vae_tile 0 --memory_limit $(gib $((sum - 1024))) | not enough memory ; at most 32 jobs do not keep the text encoder
END
makes generate "${B[@]}" --embeds rows.h5 --output rows.y4m \
    --memory_limit "$(gib $((then + 1024)))"
same "rows from a file" rows.y4m alone.y4m

# ---- a bad text encoder is found first

bad()
{
    local name=$1 parts=$2

    run generate "${BASE[@]}" --output bad.y4m
    is "$name" "$code" 3
    is "$name: says why" "$(grep -c "$parts" "$root/err")" 1
    is "$name: nothing else was read" "$(grep -c '^load' "$root/err")" 0
    is "$name: nothing is left" "$(find . -name 'bad.y4m*' | wc -l)" 0
}
pth=wan/models_t5_umt5-xxl-enc-bf16.pth
mv $pth kept.pth
bad "no text encoder" "no text encoder in .*${pth##*/}"
head -c 100000 kept.pth >$pth
bad "half a text encoder" "$pth"

done_testing
