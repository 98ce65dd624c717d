/* model_files.h - where the parts of a model may lie in its folder
 *
 * Private to the model reader.
 */
#ifndef ENGINE_WEIGHTS_MODEL_FILES_H
#define ENGINE_WEIGHTS_MODEL_FILES_H

#include "engine/weights/file.h"
#include "engine/weights/model.h"

/* One place: a folder below the model's ("" for itself) and a file in it. Places with
 * the same stem are one (an index goes before a single file). */
struct place {
    const char *sub, *file;
    int stem;
};

/* The place where this part is, or NULL in *out when it is nowhere. Two stems at once
 * are ST_INPUT. */
enum status part_find(const struct folder *root, enum model_part part,
                      const struct place **out, struct err *e);

/* ST_INPUT: "no text encoder in 'DIR': tried a, b, c". */
enum status part_missing(const struct folder *root, enum model_part part,
                         struct err *e);

/* Open the folder of a place; "a/b" is walked without following links. */
enum status place_open(const struct folder *root, const char *sub, struct folder *out,
                       struct err *e);

#endif
