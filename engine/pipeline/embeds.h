/* embeds.h - the text rows of a job: encoded, or read from a file
 *
 * Rows are f32 [n, width] without padding, n the tokens of the prompt with its end
 * token. Files hold them as /text/cond and /text/uncond (engine/h5/h5.h).
 */
#ifndef ENGINE_PIPELINE_EMBEDS_H
#define ENGINE_PIPELINE_EMBEDS_H

#include "engine/config.h"
#include "kernels/base/err.h"

struct embeds_rows {
    int64_t n;
    float *rows; /* owned */
};

struct embeds {
    int64_t width;
    struct embeds_rows cond, uncond; /* uncond.rows may be NULL */
};

/* Read both; `uncond` must be there when `guided`. The width and at most text_len rows
 * are those of the transformer. */
enum status embeds_read(const char *path, const struct dit_config *dit, bool guided,
                        struct embeds *out, struct err *e);

/* Would embeds_read find what it wants? Looks at shapes only. */
enum status embeds_check(const char *path, const struct dit_config *dit, bool guided,
                         struct err *e);

enum status embeds_write(const char *path, bool force, const struct embeds *m,
                         struct err *e);

void embeds_release(struct embeds *m);

#endif
