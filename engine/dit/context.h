/* context.h - what cross attention looks at: keys and values of one prompt
 *
 * They depend on the prompt alone, so they are worked out once, for every block, and
 * kept: text rows -> text embedding -> per block k (normed) and v, as heads.
 *
 * The network sees `text_len` rows, of which all behind the prompt are zero. Zero rows
 * are not zero after the text embedding, and they are not masked out; but they are all
 * alike. So one padding row stands for all of them, with ln(how many) added to its
 * logits, which is the same softmax (dit-and-sampling 4.2): a prompt of n rows costs
 * n + 1 rows of attention instead of 512.
 */
#ifndef ENGINE_DIT_CONTEXT_H
#define ENGINE_DIT_CONTEXT_H

#include "engine/dit/dit.h"

struct dit_context;

/* Rows that `text_rows` rows of a prompt are kept as. */
int64_t dit_context_rows(const struct dit_config *config, int64_t text_rows);

/* Make the context of `text` [n, text_dim], float, without padding rows, 0 <= n <=
 * text_len. Keys and values are cut from `kept` and must stay as long as the context;
 * `scratch` (may be the same arena) is given back before the call returns. Waits for
 * the queue. */
enum status dit_context_create(const struct dit *m, struct queue *q,
                               const struct tensor *text, struct arena *kept,
                               struct arena *scratch, struct dit_context **out,
                               struct err *e);
void dit_context_destroy(struct dit_context *c);

#endif
