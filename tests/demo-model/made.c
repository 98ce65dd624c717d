/* made.c - fills lists of random tensors and writes them as safetensors */
#include "tests/demo-model/made.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/weights/safetensors.h"
#include "kernels/base/rng.h"

static void *memory(size_t bytes)
{
    void *p = calloc(1, bytes);

    if (!p) {
        fprintf(stderr, "make_demo_model: no memory\n");
        exit(4);
    }
    return p;
}

static void list_grow(struct made *m)
{
    struct made_tensor *list;

    if (m->n < m->cap)
        return;
    m->cap = m->cap ? 2 * m->cap : 64;
    list = memory((size_t)m->cap * sizeof(*list));
    if (m->n)
        memcpy(list, m->list, (size_t)m->n * sizeof(*list));
    free(m->list);
    m->list = list;
}

/* Add a tensor and take the f32 values over. */
static void tensor_add(struct made *m, const char *name, int rank, const int64_t *dims,
                       int64_t count, float *values)
{
    struct made_tensor *t;

    list_grow(m);
    t = &m->list[m->n++];
    snprintf(t->name, sizeof(t->name), "%s", name);
    t->rank = rank;
    memcpy(t->dims, dims, (size_t)rank * sizeof(dims[0]));
    t->count = count;
    t->data = memory((size_t)count * dtype_bytes(m->dtype));
    dtype_convert(t->data, m->dtype, values, DT_F32, (size_t)count);
    free(values);
}

static int64_t count_of(int rank, const int64_t *dims)
{
    int64_t n = 1;

    for (int k = 0; k < rank; k++)
        n *= dims[k];
    return n;
}

static float *normals(const struct made *m, int64_t n, float std)
{
    float *x = memory((size_t)n * sizeof(*x));

    noise_philox(m->seed, m->stream + (uint64_t)m->n, 0, (size_t)n, x);
    for (int64_t i = 0; i < n; i++)
        x[i] *= std;
    return x;
}

void made_normal(struct made *m, const char *name, float std, int rank,
                 const int64_t *dims)
{
    int64_t n = count_of(rank, dims);

    tensor_add(m, name, rank, dims, n, normals(m, n, std));
}

void made_const(struct made *m, const char *name, float value, int rank,
                const int64_t *dims)
{
    int64_t n = count_of(rank, dims);
    float *x = memory((size_t)n * sizeof(*x));

    for (int64_t i = 0; i < n; i++)
        x[i] = value;
    tensor_add(m, name, rank, dims, n, x);
}

static void bias_add(struct made *m, const char *name, int64_t out)
{
    char full[MADE_NAME_MAX];

    snprintf(full, sizeof(full), "%s.bias", name);
    made_normal(m, full, 0.02f, 1, &out);
}

void made_linear(struct made *m, const char *name, int64_t out, int64_t in, float gain)
{
    char full[MADE_NAME_MAX];

    snprintf(full, sizeof(full), "%s.weight", name);
    made_normal(m, full, gain / sqrtf((float)in), 2, (int64_t[]){out, in});
    bias_add(m, name, out);
}

/* Half as much per step away from the middle of an axis; a first axis of three is time,
 * where the last tap is the present. */
static float tap_weight(int axes, const int64_t *kernel, int64_t tap)
{
    float w = 1.0f;

    for (int k = axes - 1; k >= 0; k--) {
        int64_t home = axes == 3 && k == 0 ? kernel[k] - 1 : kernel[k] / 2;

        w = ldexpf(w, -(int)llabs(tap % kernel[k] - home));
        tap /= kernel[k];
    }
    return w;
}

static void conv_add(struct made *m, const char *name, int64_t out, int64_t in,
                     int axes, const int64_t *kernel, float gain, bool identity)
{
    int64_t dims[MADE_RANK_MAX] = {out, in};
    int64_t taps = count_of(axes, kernel);
    char full[MADE_NAME_MAX];
    float *noise = normals(m, out * in, 1.0f);
    float sum = 0.0f;
    float *x;

    memcpy(dims + 2, kernel, (size_t)axes * sizeof(kernel[0]));
    for (int64_t i = 0; i < taps; i++)
        sum += tap_weight(axes, kernel, i);
    x = normals(m, out * in * taps, 0.3f);
    for (int64_t i = 0; i < out * in; i++) {
        float mean = noise[i];

        for (int64_t j = 0; j < taps; j++)
            x[i * taps + j] = (mean + x[i * taps + j]) * tap_weight(axes, kernel, j) *
                              gain / (sum * sqrtf((float)in));
    }
    free(noise);
    for (int64_t i = 0; identity && i < out; i++)
        x[(i * in + i % in) * taps + taps - 1] += 1.0f;
    snprintf(full, sizeof(full), "%s.weight", name);
    tensor_add(m, full, 2 + axes, dims, out * in * taps, x);
    bias_add(m, name, out);
}

void made_conv(struct made *m, const char *name, int64_t out, int64_t in, int axes,
               const int64_t *kernel, float gain)
{
    conv_add(m, name, out, in, axes, kernel, gain, false);
}

void made_time_conv(struct made *m, const char *name, int64_t out, int64_t in,
                    float gain)
{
    conv_add(m, name, out, in, 3, (int64_t[]){3, 1, 1}, gain, true);
}

enum status made_safetensors(const struct made *m, const char *path, struct err *e)
{
    struct safetensors_item *items = memory((size_t)m->n * sizeof(*items));
    enum status st;

    for (int i = 0; i < m->n; i++) {
        const struct made_tensor *t = &m->list[i];

        items[i] = (struct safetensors_item){t->name, m->dtype, t->rank, t->dims,
                                             t->data};
    }
    st = safetensors_write(path, items, m->n, (const char *[]){"format", "pt", NULL},
                           e);
    free(items);
    return st;
}

void made_release(struct made *m)
{
    for (int i = 0; i < m->n; i++)
        free(m->list[i].data);
    free(m->list);
    m->list = NULL;
    m->n = 0;
    m->cap = 0;
}
