/* names.h - the other names of tensors: diffusers and transformers to original
 *
 * Canonical names are those of the original Wan checkpoints. A map is a table of rules
 * from a name of the other family to the canonical one. In a rule '#' stands for a
 * decimal number (the same numbers come out, in order) and '*' at the end for any rest,
 * which may be renamed by a second table.
 */
#ifndef ENGINE_WEIGHTS_NAMES_H
#define ENGINE_WEIGHTS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

struct name_rule {
    const char *from, *to; /* a NULL `from` ends a table */
};

struct name_map {
    const char *original; /* a name that only the original family has */
    const char *other;    /* a name that only the other family has */
    const struct name_rule *rules;
    const struct name_rule *rest;     /* for what '*' took; may be NULL */
    const char *const *ignored;       /* patterns of names to skip, NULL at the end */
    const char *spare, *spare_beside; /* skip the first name beside the second */
    bool anything;                    /* take scales of quantised checkpoints as well */
};

extern const struct name_map names_dit, names_text, names_vae;

/* Does `name` match the pattern? */
bool name_matches(const char *pattern, const char *name);

/* The canonical name of `name` into `out`; false when no rule knows it. */
bool name_translate(const struct name_map *map, const char *name, char *out,
                    size_t bytes);

/* `name` without the prefixes that repacked single files put before it. */
const char *name_strip(const char *name);

#endif
