/* latents_differ.c - how far apart are the latents of two runs?
 *
 *     latents_differ A.h5 B.h5 NAME LIMIT
 *
 * Prints one row, NAME, the relative L2 of A against B and LIMIT, and exits 1 when it
 * is more (or not a number).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/h5/h5.h"

enum { FLOATS_MAX = 1 << 26 };

static enum status latents_read(const char *path, float **out, size_t *n, struct err *e)
{
    struct h5_array a = {.path = "latents/x",
                         .rank = 4,
                         .dims = {-1, -1, -1, -1},
                         .max_count = FLOATS_MAX};

    TRY(h5_read(path, &a, 1, NULL, 0, e));
    *n = (size_t)(a.dims[0] * a.dims[1] * a.dims[2] * a.dims[3]);
    *out = malloc(*n * sizeof(float));
    if (!*out)
        return err_set(e, ST_RESOURCE, "no memory for the latents of '%s'", path);
    a.data = *out;
    return h5_read(path, &a, 1, NULL, 0, e);
}

int main(int argc, char **argv)
{
    float *v[2] = {NULL, NULL};
    double off = 0.0, all = 0.0, found, limit;
    struct err e = ERR_INIT;
    size_t n[2] = {0, 0};
    int code = h5_child_main(argc, argv);

    if (code >= 0)
        return code;
    if (argc != 5)
        return 2;
    for (int i = 0; i < 2; i++) {
        if (latents_read(argv[i + 1], &v[i], &n[i], &e) != ST_OK) {
            fprintf(stderr, "%s\n", e.text);
            return 3;
        }
    }
    for (size_t i = 0; i < n[0] && n[0] == n[1]; i++) {
        double d = (double)v[0][i] - (double)v[1][i];

        off += d * d;
        all += (double)v[1][i] * (double)v[1][i];
    }
    found = n[0] == n[1] ? sqrt(off / all) : INFINITY;
    limit = strtod(argv[4], NULL);
    printf("%-58s %12.3g %12.3g  %s\n", argv[3], found, limit,
           found <= limit ? "ok" : "FAILED");
    free(v[0]);
    free(v[1]);
    return found <= limit ? 0 : 1;
}
