"""make_spiece - train the tiny SentencePiece model and convert it as transformers 4 did

Runs in an environment of its own (requirements-spiece.txt): the published umt5
tokenizer.json was converted by transformers 4 in mid 2023, and transformers 5 has no
such converter. Writes data/tokenizer/spiece.model, and into the folder given as
argument (not committed) tokenizer.json, which make_tokenizer.py runs.
"""

import contextlib
import os
import random
import sys
import tempfile

import sentencepiece
from transformers import T5TokenizerFast

from corpus import REPEAT, SENTENCES, lines, words

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "data", "tokenizer", "spiece.model")


def training_text():
    """Lines, shuffled words, and words made of halves of two (parts to be learnt)."""
    rng = random.Random(7)
    out = []
    for lang in SENTENCES:
        for _ in range(REPEAT.get(lang, 2)):
            out += lines(lang)
            w = words(lang)
            rng.shuffle(w)
            heads = [x[:(len(x) + 1) // 2] for x in w]
            mixed = [h + x[len(x) // 2:] for h, x in zip(heads, w[1:] + w[:1])]
            for v in (w, mixed):
                out += [" ".join(v[i:i + 8]) for i in range(0, len(v), 8)]
    rng.shuffle(out)
    return out


def train():
    os.makedirs(os.path.dirname(MODEL), exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp, contextlib.chdir(tmp):
        with open("text.txt", "w", encoding="utf-8") as f:
            f.write("\n".join(training_text()) + "\n")
        # relative names: the model file stores them
        sentencepiece.SentencePieceTrainer.train(
            input="text.txt", model_prefix="spiece", model_type="unigram",
            vocab_size=2000, normalization_rule_name="nmt_nfkc", byte_fallback=True,
            character_coverage=0.9995, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
            num_threads=1, minloglevel=2)
        with open("spiece.model", "rb") as f:
            data = f.read()
    with open(MODEL, "wb") as f:
        f.write(data)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_spiece.py FOLDER (for tokenizer.json)")
    if not os.path.exists(MODEL) or os.environ.get("RETRAIN"):
        train()
    fast = T5TokenizerFast(vocab_file=MODEL, extra_ids=300, bos_token="<s>",
                           eos_token="</s>", unk_token="<unk>", pad_token="<pad>")
    fast.save_pretrained(sys.argv[1])
    print(os.path.getsize(MODEL), "bytes,", len(fast), "tokens")


if __name__ == "__main__":
    main()
