#!/usr/bin/env bash
# inspect.sh - what checkpoints say about themselves, and about those that are damaged
. "$(dirname "$0")/lib.sh"

shows()
{
    grep -qF -- "$2" "$root/out" && ok || not_ok "$1" "'$2' is not shown"
}

member()
{
    is "$1: $2" "$("$PROBE" json "$root/out" "$2")" "$3"
}

prompt=$(printf 'a \033[31mred\033[0m cat \xe2\x80\xae "$(touch x)"\nand a dog')
how=$("$PROBE" signal 10 "denoise 3/" "$FF" generate --model wan --prompt "$prompt" \
    --size 48x16 --num_frames 5 --steps 60 --threads 1 --seed 7 --checkpoint_every 1 \
    --output v.y4m 2>"$root/err")
is "a run in the middle" "$how" "exit 75"
newest=$(ls v.y4m.checkpoints/ck-* | tail -1)
older=$(ls v.y4m.checkpoints/ck-* | head -1)
row=$(basename "$newest" | cut -d- -f3 | sed 's/^0*//')

# ---- a file

makes inspect "$newest"
shows "file" "$newest: a valid checkpoint, running"
shows "where" "row $row of 60, segment 1 of 1"
shows "latents" " 16x2x2x6"
shows "prompt" 'a \x1b[31mred\x1b[0m cat \u202e "$(touch x)"\x0aand a dog'
shows "seed" "seed             7"
shows "sampler" "sampler          unipc"
shows "mesh" "mesh written     g1u1r1"
shows "size" "$(wc -c <"$newest") bytes"
is "no control characters" "$(LC_ALL=C tr -d '\n' <"$root/out" | LC_ALL=C grep -c '[[:cntrl:]]')" 0
makes inspect "$newest" --json
member json valid true
member json kind running
member json rows_done "$row"
member json rows_total 60
member json bytes "$(wc -c <"$newest")"
member json mesh g1u1r1
"$PROBE" json "$root/out" config >config.json
is "prompt in JSON" "$("$PROBE" json config.json prompt)" "$prompt"

# ---- a folder, by its name and by that of the output

for x in v.y4m v.y4m.checkpoints v.y4m.checkpoints/; do
    makes inspect "$x"
    is "$x: lines" "$(grep -c '^  ck-.*  valid, ' "$root/out")" 2
    shows "$x" "$(basename "$newest")  valid, running, row $row of 60"
    shows "$x: details" "seed             7"
done

# ---- damage

cp "$newest" copy.h5
makes inspect copy.h5
for what in flip cut zero; do
    cp copy.h5 "ck-0000-0001-i1.h5"
    case $what in
    flip) printf 'x' | dd of=ck-0000-0001-i1.h5 bs=1 seek=3000 conv=notrunc 2>/dev/null ;;
    cut) truncate -s 2000 ck-0000-0001-i1.h5 ;;
    zero) truncate -s 0 ck-0000-0001-i1.h5 && truncate -s 4096 ck-0000-0001-i1.h5 ;;
    esac
    run inspect ck-0000-0001-i1.h5
    refused "a file with a $what" 3 "'ck-0000-0001-i1.h5' rejected"
done
rm ck-0000-0001-i1.h5
printf 'x' | dd of="$newest" bs=1 seek=3000 conv=notrunc 2>/dev/null
ln -s /etc/passwd v.y4m.checkpoints/ck-0000-0059-i1.h5
makes inspect v.y4m
shows "damaged" "$(basename "$newest")  rejected: its bytes are not those that were written"
shows "a link" "ck-0000-0059-i1.h5  rejected: a symbolic link"
shows "the older one" "$(basename "$older")  valid"
makes inspect v.y4m --json
is "reason in JSON" "$(grep -c '"reason": "its bytes are not those that were written"' "$root/out")" 1
mkdir empty.checkpoints
run inspect empty.checkpoints
refused "an empty folder" 3 "no checkpoint in 'empty.checkpoints'"
run inspect none.y4m
refused "nothing there" 3 "'none.y4m'"

# Models and weights are what they were.
makes inspect wan
shows "a model" "Wan2.1 T2V"
makes inspect wan/Wan2.1_VAE.pth
shows "weights" "a VAE"
makes inspect wan/diffusion_pytorch_model.safetensors "$older"
shows "two at once" "a valid checkpoint"

done_testing
