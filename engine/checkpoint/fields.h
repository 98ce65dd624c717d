/* fields.h - the members of a checkpoint as tables: written, read and compared by them
 */
#ifndef ENGINE_CHECKPOINT_FIELDS_H
#define ENGINE_CHECKPOINT_FIELDS_H

#include "engine/checkpoint/checkpoint.h"

/* An attribute: object and name in the file, place in struct checkpoint. */
struct checkpoint_field {
    const char *object, *name;
    size_t offset;
    size_t bytes; /* of a text; unused for numbers */
};

struct checkpoint_dataset {
    const char *path;
    size_t offset;
    int rank;
};

enum {
    CHECKPOINT_TEXTS = 10,
    CHECKPOINT_INTS = 7,
    CHECKPOINT_ARRAYS = 7,
    CHECKPOINT_STATES = 4, /* the first arrays: those of a running segment */
};

extern const struct checkpoint_field checkpoint_texts[CHECKPOINT_TEXTS];
extern const struct checkpoint_field checkpoint_ints[CHECKPOINT_INTS];
extern const struct checkpoint_dataset checkpoint_arrays[CHECKPOINT_ARRAYS];
#define CHECKPOINT_COUNTER "sampler/counter"

static inline char *checkpoint_text_at(const struct checkpoint *ck, int i)
{
    return (char *)(uintptr_t)ck + checkpoint_texts[i].offset;
}

static inline int64_t *checkpoint_int_at(const struct checkpoint *ck, int i)
{
    return (int64_t *)(void *)((char *)(uintptr_t)ck + checkpoint_ints[i].offset);
}

static inline struct checkpoint_floats *checkpoint_array_at(const struct checkpoint *ck,
                                                            int i)
{
    return (struct checkpoint_floats *)(void *)((char *)(uintptr_t)ck +
                                                checkpoint_arrays[i].offset);
}

#endif
