"""make_tokenizer - prompts, what cleaning makes of them, and their token ids

Usage: make_tokenizer.py FOLDER, where make_spiece.py wrote tokenizer.json.
Cleaning is diffusers' own prompt_clean with ftfy installed. The ids come from the
tokenizers library on the converted tokenizer.json with the special tokens registered as
the published tokenizer_config.json registers them. Prompts in which ftfy repairs
mojibake are left out (printed): that step is out of scope.
"""

import json
import os
import sys

import ftfy
import sentencepiece
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from tokenizers import AddedToken, Tokenizer

from common import path
from prompts import all_prompts

LENGTH = 512


def fast_tokenizer(folder):
    tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    names = ["<pad>", "</s>", "<s>", "<unk>"]
    names += [f"<extra_id_{i}>" for i in range(299, -1, -1)]
    tok.add_special_tokens([AddedToken(n, normalized=False, special=True)
                            for n in names])
    assert tok.get_vocab_size() == 2300 and tok.token_to_id("<extra_id_0>") == 2299
    tok.enable_truncation(LENGTH)
    tok.enable_padding(length=LENGTH, pad_id=0, pad_token="<pad>")
    return tok


def write(rows, name):
    with open(path("tokenizer", name), "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_tokenizer.py FOLDER (with tokenizer.json)")
    tok = fast_tokenizer(sys.argv[1])
    sp = sentencepiece.SentencePieceProcessor(
        model_file=path("tokenizer", "spiece.model"))
    hf, spm = [], []
    for prompt in all_prompts():
        if ftfy.fix_text(prompt) != ftfy.fix_text(prompt, fix_encoding=False):
            print("left out, mojibake repair:", ascii(prompt[:60]))
            continue
        cleaned = prompt_clean(prompt)
        enc = tok.encode(cleaned)
        n = sum(enc.attention_mask)
        assert len(enc.ids) == LENGTH and enc.ids[n - 1] == 1 and not any(enc.ids[n:])
        hf.append({"prompt": prompt, "cleaned": cleaned, "ids": enc.ids[:n]})
        ids = sp.encode(cleaned)[:LENGTH - 1] + [1]
        if ids != enc.ids[:n]:
            spm.append({"cleaned": cleaned, "ids": ids})
    write(hf, "prompts.jsonl")
    write(spm, "spm.jsonl")
    print(len(hf), "prompts,", len(spm), "with other ids in SentencePiece, longest",
          max(len(r["ids"]) for r in hf))


if __name__ == "__main__":
    main()
