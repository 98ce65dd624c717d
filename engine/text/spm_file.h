/* spm_file.h - look through a SentencePiece model file before a library loads it */
#ifndef ENGINE_TEXT_SPM_FILE_H
#define ENGINE_TEXT_SPM_FILE_H

#include <stddef.h>

#include "kernels/base/err.h"

/* The published tokenizer has 4.5 MB and 256,000 pieces. */
enum { SPM_FILE_MAX_BYTES = 16 << 20, SPM_FILE_MAX_PIECES = 1 << 19 };

struct spm_file {
    const unsigned char *charsmap; /* into the file's bytes; NULL: no character map */
    size_t charsmap_bytes;
};

/* Check the protobuf framing of the model in `bytes` (every length inside its message,
 * no group, sane counts), that it is a unigram model, and that its character map is
 * sound. `name` is what errors call the file: ST_INPUT. */
enum status spm_file_check(const void *bytes, size_t n, const char *name,
                           struct spm_file *out, struct err *e);

#endif
