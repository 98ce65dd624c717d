/* component.h - the tensors of one part of a model under their canonical names
 *
 * A component (transformer, text encoder, VAE) is a source and, for each tensor that
 * the model uses, its canonical name. What a file calls it is in `stored->name`. The
 * reader (model.h) makes it after checking that nothing is missing and nothing is left
 * over.
 */
#ifndef ENGINE_WEIGHTS_COMPONENT_H
#define ENGINE_WEIGHTS_COMPONENT_H

#include "engine/weights/source.h"

struct component_tensor {
    char *name; /* canonical; owned by the component */
    const struct stored *stored;
};

struct component {
    const char *label;             /* "transformer", "text encoder", "vae" */
    struct source *source;         /* owned */
    struct component_tensor *list; /* sorted by canonical name */
    int n;
    bool renamed; /* the file uses the names of diffusers or transformers */
};

/* The tensor of this canonical name, or NULL. */
const struct stored *component_find(const struct component *c, const char *name);

#endif
