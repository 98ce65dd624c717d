/* spm_shim.h - the sentencepiece library behind C calls
 *
 * Used by tokenizer.c alone. Nothing here throws; failures are 0 or -1 and a text.
 */
#ifndef ENGINE_TEXT_SPM_SHIM_H
#define ENGINE_TEXT_SPM_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct spm; /* a model that is loaded */

enum { SPM_MESSAGE_BYTES = 160 };

/* Load a serialized model; NULL and a message on failure. spm_destroy(NULL) is fine. */
struct spm *spm_create(const void *bytes, size_t n, char message[SPM_MESSAGE_BYTES]);
void spm_destroy(struct spm *s);

int spm_pieces(const struct spm *s);
int spm_eos_id(const struct spm *s); /* -1: the model has none */
int spm_unk_id(const struct spm *s);

/* Piece `id`: its bytes (valid as long as the model), its score, and whether it is a
 * control symbol, which text never contains. */
const char *spm_piece(const struct spm *s, int id, size_t *n, float *score,
                      int *control);

/* Segment `n` bytes of UTF-8. At most `cap` ids are written; returns how many the text
 * has, or -1 and a message. */
int64_t spm_encode(const struct spm *s, const char *text, size_t n, int32_t *ids,
                   size_t cap, char message[SPM_MESSAGE_BYTES]);

#ifdef __cplusplus
}
#endif

#endif
