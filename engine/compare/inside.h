/* inside.h - what the files of this folder share */
#ifndef ENGINE_COMPARE_INSIDE_H
#define ENGINE_COMPARE_INSIDE_H

#include "engine/compare/compare.h"
#include "engine/compare/sums.h"

/* Fill what the sums say; the kind and dims are there already. */
void comparison_finish(struct comparison *c, const struct sums *s);

/* One frame's PSNR is known: is it the worst? */
void comparison_frame(struct comparison *c, int64_t frame, double psnr);

/* `out` is zeroed. */
enum status latents_compare(const char *a, const char *b, struct comparison *out,
                            struct err *e);
enum status videos_compare(const char *a, const char *b, struct comparison *out,
                           struct err *e);

#endif
