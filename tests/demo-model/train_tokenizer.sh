#!/usr/bin/env bash
# train_tokenizer.sh - make the tokenizers of the demonstration models
#
#     train_tokenizer.sh FILE PIECES [DEMO_WORLD]
#
# Unigram SentencePiece models with the ids of umt5 (pad 0, end 1, begin 2, unknown 3),
# byte pieces, and the nmt_nfkc character map:
#
#     train_tokenizer.sh spiece.model 1500                   of the random model
#     train_tokenizer.sh trained/google/umt5-xxl/spiece.model 1800 build/cpu/bin/demo_world
#
# The second one has read captions too. Needs python3 and spm_train, version 0.1.97 made
# the committed files (Debian: apt-get install sentencepiece). One thread and no sampling,
# so that a second run gives the same pieces.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$(dirname "$1")"
file=$(realpath "$1")
captions=${3:+$(realpath "$3")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 "$here/make_corpus.py" >"$work/corpus.txt"
[ -z "$captions" ] || "$captions" captions 1 10000 20000 >>"$work/corpus.txt"
cd "$work"
spm_train --input=corpus.txt --model_prefix=spiece --model_type=unigram \
    --vocab_size="$2" --character_coverage=1.0 --byte_fallback=true \
    --normalization_rule_name=nmt_nfkc --num_threads=1 \
    --pad_id=0 --eos_id=1 --bos_id=2 --unk_id=3 --minloglevel=1
cp spiece.model "$file"
