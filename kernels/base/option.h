/* option.h - one table of options feeds flags, JSON keys, help and reports
 *
 * A table describes the members of a settings struct; an option_set binds it to one
 * such struct and remembers where each value came from:
 *
 *     static const struct option table[] = {
 *         {"num_frames", "frame_num target_video_length", OPT_INT,
 *          offsetof(struct job, num_frames), 1, 1e6, NULL, "N", "frames, 4k + 1"},
 *         …
 *     };
 *     TRY(option_set_init(&set, table, n, &job, e));
 *     TRY(option_parse_args(&set, argc, argv, &rest, e));      --num-frames 97
 *     option_assign(&set, option_find(&set, "fps"), "24", SOURCE_MODEL, e);
 *     option_set_release(&set);                               frees the texts
 *
 * Names are compared with '-' and '_' equal. An unknown name is ST_USAGE and names the
 * closest known one. Values are checked against min, max or the choices; a later source
 * of higher rank replaces an earlier one, never the other way round.
 *
 * Members by type: OPT_FLAG bool, OPT_INT int64_t, OPT_REAL double, OPT_TEXT char *
 * (allocated, owned by the set, NULL when unset), OPT_CHOICE int (index), OPT_SIZE
 * struct option_size, OPT_EVERY struct option_every, OPT_UNBUILT none: a name that is
 * known and refused with ST_UNBUILT.
 */
#ifndef KERNELS_BASE_OPTION_H
#define KERNELS_BASE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kernels/base/err.h"

enum option_type {
    OPT_FLAG,
    OPT_INT,
    OPT_REAL,
    OPT_TEXT,
    OPT_CHOICE,
    OPT_SIZE,
    OPT_EVERY,
    OPT_UNBUILT,
};

struct option_size {
    int64_t width, height; /* pixels */
};

/* "4": so many rows, "90s": so many seconds; the other one is 0. */
struct option_every {
    int64_t rows;
    double seconds;
};

struct option {
    const char *name;    /* canonical, with underscores; "" starts a help section */
    const char *aliases; /* other names, space separated, or NULL */
    enum option_type type;
    size_t offset;
    double min, max;     /* OPT_INT, OPT_REAL, OPT_EVERY */
    const char *choices; /* OPT_CHOICE: space separated, in index order */
    const char *value;   /* what help calls the value */
    const char *help;    /* one line; of a section: its title */
};

/* In rising rank. */
enum option_source {
    SOURCE_UNSET,
    SOURCE_DEFAULT,
    SOURCE_MODEL, /* the model's own default */
    SOURCE_FILE,  /* job file */
    SOURCE_FLAG,  /* command line */
};

struct option_set {
    const struct option *table;
    int n;
    void *settings;
    enum option_source *source; /* [n] */
};

/* All members count as unset; the struct's own initial values stay. */
enum status option_set_init(struct option_set *set, const struct option *table, int n,
                            void *settings, struct err *e);
/* Frees the sources and every text member. */
void option_set_release(struct option_set *set);

/* Index of a name or alias, or -1. */
int option_find(const struct option_set *set, const char *name);

/* The error for a name that is not in the table; `what` is "flag" or "key". */
enum status option_unknown(const struct option_set *set, const char *what,
                           const char *name, struct err *e);

/* Parse `text` into option `i`, unless a source of higher rank has set it. */
enum status option_assign(struct option_set *set, int i, const char *text,
                          enum option_source source, struct err *e);

/* The same for an option of the table that the program itself names. */
enum status option_assign_named(struct option_set *set, const char *name,
                                const char *text, enum option_source source,
                                struct err *e);

/* Flags "--name value", "--name=value", "--flag", "--no-flag". What does not start with
 * "--" goes to rest[] (room for argc pointers), in order; "--" ends the flags. */
enum status option_parse_args(struct option_set *set, int argc, const char *const *argv,
                              const char **rest, int *n_rest, struct err *e);

/* The same for a command of few arguments: more than `most` are ST_USAGE, and rest[]
 * has room for as many. */
enum status option_parse_few(struct option_set *set, int argc, const char *const *argv,
                             int most, const char **rest, int *n_rest, struct err *e);

/* The value as text, as option_assign reads it; returns bytes needed like snprintf. */
int option_format(const struct option_set *set, int i, char *out, size_t bytes);

/* "default", "model", "file", "flag" or "unset". */
const char *option_source_name(enum option_source source);

/* Sections, flags and their help lines. */
void option_help(const struct option *table, int n, FILE *out);

#endif
