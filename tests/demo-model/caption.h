/* caption.h - scenes in words, with many phrasings, and back
 *
 * One table of words and phrases serves both ways, so whatever is written can be
 * read. */
#ifndef TESTS_DEMO_MODEL_CAPTION_H
#define TESTS_DEMO_MODEL_CAPTION_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/demo-model/world.h"

enum { CAPTION_BYTES = 384 };

/* Describe a scene; `phrasing` chooses the words. */
void caption_write(const struct world_scene *s, uint64_t phrasing,
                   char out[CAPTION_BYTES]);

/* What a caption says; places stay 0. False when it is no caption of ours. */
bool caption_read(const char *text, struct world_scene *out);

const char *caption_form(enum world_form form);
const char *caption_colour(enum world_colour colour);
const char *caption_motion(enum world_motion motion);

#endif
