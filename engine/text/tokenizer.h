/* tokenizer.h - a cleaned prompt to token ids
 *
 *     struct tokenizer *t;
 *     TRY(tokenizer_open("umt5/spiece.model", &TOKENIZER_DEFAULT, &t, e));
 *     TRY(text_clean(prompt, strlen(prompt), &text, e));
 *     TRY(tokenizer_encode(t, text, strlen(text), ids, 512, &n, e));
 *     … ids[0 .. n): at most 511 pieces, then the end token …
 *     tokenizer_close(t);
 *
 * Everything is read from the SentencePiece file; tokenizer.json is not needed.
 *
 * Modes:
 *   TOKENIZER_HF   what the published pipelines feed their models: the ids of the
 *                  fast T5 tokenizer that transformers makes of the file. "</s>",
 *                  "<pad>", "<s>", "<unk>" and "<extra_id_N>" in the text become those
 *                  tokens; a run of unknown characters becomes one unknown id.
 *   TOKENIZER_SPM  the ids of the sentencepiece library (ComfyUI): special strings are
 *                  plain text, unknown characters become byte pieces.
 *
 * Ids: those of the file; the extra ids lie above, <extra_id_0> highest.
 */
#ifndef ENGINE_TEXT_TOKENIZER_H
#define ENGINE_TEXT_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/err.h"

enum tokenizer_mode { TOKENIZER_HF, TOKENIZER_SPM };

struct tokenizer_options {
    enum tokenizer_mode mode;
    int extra_ids; /* how many <extra_id_N> there are, 0 to 1000 */
};

/* umt5: 300 extra ids. */
extern const struct tokenizer_options TOKENIZER_DEFAULT;

struct tokenizer;

/* Open a spiece.model. A file that is not there, too large (16 MiB), damaged, or of
 * another kind than unigram is ST_INPUT. tokenizer_close(NULL) is fine. */
enum status tokenizer_open(const char *path, const struct tokenizer_options *opt,
                           struct tokenizer **out, struct err *e);

/* The same from memory (copied); `name` is what errors call it. */
enum status tokenizer_open_bytes(const void *bytes, size_t n, const char *name,
                                 const struct tokenizer_options *opt,
                                 struct tokenizer **out, struct err *e);
void tokenizer_close(struct tokenizer *t);

/* Ids are below this. */
int32_t tokenizer_vocab(const struct tokenizer *t);

/* Encode `n` bytes of cleaned text: at most text_len - 1 ids of pieces, then the end
 * token, in ids[0 .. *n_ids); the rest of `ids` [text_len] is not touched. An empty
 * text gives the end token alone. Bytes that are not UTF-8 count as U+FFFD. */
enum status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
                             int32_t *ids, int text_len, int *n_ids, struct err *e);

#endif
