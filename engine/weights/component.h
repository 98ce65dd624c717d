/* component.h - the tensors of one part of a model under their canonical names
 *
 * A component (transformer, text encoder, VAE) is a source and, for each tensor that
 * the model uses, its canonical name. What a file calls it is in `stored->name`.
 *
 *     TRY(component_open(source, "vae", &names_vae, &c, e));    takes the source over
 *     … read the configuration off the shapes, list what must be there …
 *     TRY(component_check(&c, &expected, e));                   both ways
 *     component_close(&c);
 */
#ifndef ENGINE_WEIGHTS_COMPONENT_H
#define ENGINE_WEIGHTS_COMPONENT_H

#include "engine/weights/names.h"
#include "engine/weights/source.h"

struct component_tensor {
    char *name; /* canonical; owned by the component */
    const struct stored *stored;
};

struct component {
    const char *label;             /* "transformer", "text encoder", "vae" */
    struct source *source;         /* owned; NULL: this component is not open */
    struct component_tensor *list; /* sorted by canonical name */
    int n;
    bool renamed; /* the file uses the names of diffusers or transformers */
};

/* Take over `source` (closed on failure), strip prefixes, skip what is to be ignored
 * and translate names. A name that no rule knows stays as it is: component_check will
 * say that it is unexpected. Files with quantised weights and scales are ST_UNBUILT. */
enum status component_open(struct source *source, const char *label,
                           const struct name_map *map, struct component *out,
                           struct err *e);
void component_close(struct component *c);

/* Does the source hold the scales or markers of an already quantised checkpoint? */
bool component_quantised(const struct source *s);

/* The tensor of this canonical name, or NULL; _get checks rank and says what is wrong.
 */
const struct stored *component_find(const struct component *c, const char *name);
enum status component_get(const struct component *c, const char *name, int rank,
                          const struct stored **out, struct err *e);

/* 1 + the largest N of the names "<prefix>N.…", 0 when there is none. */
int64_t component_layers(const struct component *c, const char *prefix);

/* Elements and stored bytes of all tensors. */
int64_t component_parameters(const struct component *c);
int64_t component_bytes(const struct component *c);

/* "bf16", or "bf16+fp32" … : the dtypes, most bytes first, into `out`. */
const char *component_dtypes(const struct component *c, char *out, size_t bytes);

/* ---- what must be there --------------------------------------------------------- */

struct expected {
    char name[96];
    int rank;
    int64_t dims[5];
};

struct expect_list {
    struct expected *items;
    int n, cap;
    bool failed; /* out of memory */
};

#define EXPECT_LIST_INIT  \
    {                     \
        NULL, 0, 0, false \
    }

/* A table row: '#' in the name runs over the layers; a dimension is a number, or
 * -1 - i for symbols[i]. */
struct expect_row {
    const char *name;
    int rank;
    int dims[5];
};

void expect_add(struct expect_list *l, int rank, const int64_t *dims, const char *fmt,
                ...) __attribute__((format(printf, 4, 5)));
void expect_rows(struct expect_list *l, const struct expect_row *rows, int n,
                 const int64_t *symbols, int64_t layers);
void expect_release(struct expect_list *l);

/* Every expected tensor is there with its shape, and nothing else is. */
enum status component_check(const struct component *c, struct expect_list *l,
                            struct err *e);

#endif
