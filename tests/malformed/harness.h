/* harness.h - hands one malformed file to its reader and judges what comes out
 *
 * Each attempt runs in a process of its own. It must end by itself, with ST_INPUT (or
 * the status that is asked for), in one line that names the file and holds `reason`,
 * within a second of processor time and without needing more than 64 MiB above what the
 * process had. (The two limits are not judged under a sanitizer, which has its own
 * needs.)
 *
 * With `--write DIR` the program writes its files as DIR/<family>/<name> instead: seeds
 * for the fuzz targets.
 */
#ifndef TESTS_MALFORMED_HARNESS_H
#define TESTS_MALFORMED_HARNESS_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base/buf.h"
#include "kernels/base/err.h"

enum family {
    BAD_JSON,
    BAD_SAFETENSORS,
    BAD_INDEX,
    BAD_CONFIG_DIT, /* config.json of the transformer */
    BAD_CONFIG_TEXT,
    BAD_CONFIG_VAE,
    BAD_PICKLE, /* data.pkl alone; put into a zip for the reader */
    BAD_PTH,
};

/* Before the first and after the last case. `write_to`: NULL, or where --write goes. */
void harness_open(const char *write_to);
void harness_close(void);

/* One case. `reason` NULL: any. Counts; prints and counts what fails. */
void bad(enum family family, const char *name, const void *data, size_t bytes,
         const char *reason);
void bad_text(enum family family, const char *name, const char *text,
              const char *reason);

/* The same, for a case whose status is not ST_INPUT. ST_OK: the file is valid, and is
 * here to show that its neighbours are refused for the right reason. */
void bad_status(enum family family, const char *name, const void *data, size_t bytes,
                enum status wanted, const char *reason);

int harness_cases(void);
int harness_failures(void);

/* The families; each adds its cases. */
void cases_json(void);
void cases_safetensors(void);
void cases_index(void);
void cases_config(void);
void cases_pickle(void);
void cases_pth(void);

/* ---- building ------------------------------------------------------------------- */

/* A zip of stored entries, and where its records lie, for cases that change fields. */
struct zip_part {
    const char *name;
    const void *data;
    size_t bytes;
};

struct zip_made {
    struct buf bytes;
    size_t local[16], central[16], end; /* offsets of the records */
    size_t central_bytes;
};

void zip_make(struct zip_made *z, const struct zip_part *parts, int n);
void zip_field(struct zip_made *z, size_t record, int field, int width,
               unsigned long long value);

/* A pickle as m/data.pkl beside storage m/data/0 of 24 bytes. */
void pth_make(struct zip_made *z, const void *pickle, size_t bytes);

/* A pickle that is right: {"a": 2x3 floats in storage 0}. */
extern const char good_pickle[];
extern const size_t good_pickle_bytes;

#endif
