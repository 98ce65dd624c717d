/* segment.h - cut words into the pieces of a unigram vocabulary, as HF's library does
 *
 * The best segmentation is the one with the largest sum of piece scores, in double,
 * left to right over the characters of one word:
 *
 *     best[0] = 0
 *     best[p + n] = max(best[p] + score(piece))       piece = the n bytes at p
 *     best[p + c] = max(best[p] + least - 10)         unknown, if no piece is exactly
 *                                                     the one character (c bytes) at p
 *
 * where `least` is the smallest score of all pieces; the first candidate (the one that
 * begins earliest) wins a tie. A run of unknown characters gives one id.
 */
#ifndef ENGINE_TEXT_SEGMENT_H
#define ENGINE_TEXT_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/err.h"

struct piece {
    const char *text; /* borrowed, not NUL-terminated */
    size_t n;
    int32_t id;
    double score;
};

struct vocab; /* pieces that can be searched */

/* Take over `n` pieces (the array is copied, the texts are borrowed). Of equal texts
 * the one with the largest id counts. vocab_destroy(NULL) is fine. */
enum status vocab_create(const struct piece *pieces, size_t n, int32_t unk_id,
                         struct vocab **out, struct err *e);
void vocab_destroy(struct vocab *v);

/* Segment one word of `n` bytes of valid UTF-8; `give` gets the ids in order, and stops
 * everything by another answer than ST_OK. */
enum status vocab_segment(const struct vocab *v, const char *word, size_t n,
                          enum status (*give)(void *ctx, int32_t id, struct err *e),
                          void *ctx, struct err *e);

#endif
