/* prompts.h - walk the reference prompts, one JSON object per line */
#ifndef TESTS_UNIT_PROMPTS_H
#define TESTS_UNIT_PROMPTS_H

#include <stdio.h>
#include <stdlib.h>

#include "kernels/base/json.h"

/* Call `visit` with each line of a file under the reference data; returns the lines. */
static inline int prompts_walk(const char *name,
                               void (*visit)(struct json_value row, void *ctx),
                               void *ctx)
{
    char path[512];
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int count = 0;
    FILE *f;

    snprintf(path, sizeof path, "%s/tokenizer/%s", FF_GOLDEN_DIR, name);
    f = fopen(path, "r");
    assert_non_null(f);
    while ((n = getline(&line, &cap, f)) > 0) {
        struct err e = ERR_INIT;
        struct json *doc;

        assert_int_equal(
            json_parse(name, line, (size_t)n, &JSON_LIMITS_CONFIG, &doc, &e), ST_OK);
        visit(json_root(doc), ctx);
        json_close(doc);
        count++;
    }
    free(line);
    fclose(f);
    return count;
}

#endif
