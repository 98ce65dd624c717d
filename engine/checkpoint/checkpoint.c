/* checkpoint.c - memory of a checkpoint, and what must hold between its parts */
#include "engine/checkpoint/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint/fields.h"

/* No page is smaller. */
enum { PAGE_BYTES = 4096 };

#define TEXT(object, member)                                  \
    {                                                         \
        object, #member, offsetof(struct checkpoint, member), \
            sizeof(((struct checkpoint *)0)->member)          \
    }
#define INT(object, member)                                     \
    {                                                           \
        object, #member, offsetof(struct checkpoint, member), 0 \
    }
#define ARRAY(path, member, rank)                       \
    {                                                   \
        path, offsetof(struct checkpoint, member), rank \
    }

const struct checkpoint_field checkpoint_texts[CHECKPOINT_TEXTS] = {
    TEXT("", program),
    TEXT("", created),
    TEXT("job", config_digest),
    TEXT("job", model_digest),
    TEXT("job", whole_digest),
    TEXT("job", conditioning_digest),
    TEXT("job", schedule_digest),
    TEXT("job", precision),
    TEXT("job", backend),
    TEXT("job", mesh),
};

const struct checkpoint_field checkpoint_ints[CHECKPOINT_INTS] = {
    INT("", segment),
    INT("", rows_done),
    INT("", rows_total),
    INT("", segments_total),
    INT("segment", finished_frames),
    INT("segment", prefix_frames),
    INT("report", restarts),
};

const struct checkpoint_dataset checkpoint_arrays[CHECKPOINT_ARRAYS] = {
    ARRAY("latents/x", x, 4),
    ARRAY("sampler/x_last", x_last, 4),
    ARRAY("sampler/m0", m0, 4),
    ARRAY("sampler/m1", m1, 4),
    ARRAY("text/cond", cond, 2),
    ARRAY("text/uncond", uncond, 2),
    ARRAY("segment/finished", finished, 4),
};

static const char *const kinds[] = {"encoded", "running", "segment", "final"};

const char *checkpoint_kind_name(int64_t kind)
{
    return kind >= 0 && kind <= CHECKPOINT_FINAL ? kinds[kind] : "unknown";
}

/* ---- memory ---------------------------------------------------------------------- */

void checkpoint_release(struct checkpoint *ck)
{
    for (int i = 0; i < CHECKPOINT_ARRAYS; i++)
        free(checkpoint_array_at(ck, i)->data);
    free(ck->counter.data);
    free(ck->config);
    free(ck->launch);
    memset(ck, 0, sizeof(*ck));
}

size_t checkpoint_floats_count(const struct checkpoint_floats *f)
{
    return (size_t)(f->dims[0] * f->dims[1] * f->dims[2] * f->dims[3]);
}

/* Memory for `n` items, old content not kept. */
static enum status room_get(void **data, size_t *room, size_t n, size_t item,
                            struct err *e)
{
    void *fresh;

    if (n <= *room)
        return ST_OK;
    fresh = malloc(n * item);
    if (!fresh)
        return err_set(e, ST_RESOURCE, "no memory for a checkpoint: %zu bytes",
                       n * item);
    free(*data);
    *data = fresh;
    *room = n;
    return ST_OK;
}

enum status checkpoint_floats_size(struct checkpoint_floats *f, const int64_t dims[4],
                                   struct err *e)
{
    static const int64_t nothing[4];
    struct checkpoint_floats sized = *f;
    void *data = f->data;

    memcpy(sized.dims, dims ? dims : nothing, sizeof(sized.dims));
    TRY(room_get(&data, &sized.room, checkpoint_floats_count(&sized), sizeof(float),
                 e));
    sized.data = data;
    *f = sized;
    return ST_OK;
}

/* The kernel hands out a page when it is first written to. */
static void pages_touch(void *data, size_t bytes)
{
    volatile unsigned char *at = data;

    for (size_t i = 0; i < bytes; i += PAGE_BYTES)
        at[i] = 0;
}

static void floats_reserve(struct checkpoint_floats *f, size_t n)
{
    void *data = f->data;

    if (f->dims[0] || n <= f->room ||
        room_get(&data, &f->room, n, sizeof(float), NULL) != ST_OK)
        return;
    f->data = data;
    pages_touch(data, n * sizeof(float));
}

void checkpoint_reserve(struct checkpoint *ck, const struct checkpoint_room *room)
{
    struct checkpoint_floats *state[] = {&ck->x, &ck->x_last, &ck->m0, &ck->m1};

    for (int i = 0; i < CHECKPOINT_STATES; i++)
        floats_reserve(state[i], room->state);
    floats_reserve(&ck->cond, room->cond);
    floats_reserve(&ck->uncond, room->uncond);
    floats_reserve(&ck->finished, room->finished);
}

enum status checkpoint_ints_size(struct checkpoint_ints *f, int64_t n, struct err *e)
{
    void *data = f->data;

    TRY(room_get(&data, &f->room, (size_t)n, sizeof(int64_t), e));
    f->data = data;
    f->n = n;
    return ST_OK;
}

static enum status text_copy(char **to, const char *text, struct err *e)
{
    size_t bytes = strlen(text);
    char *copy;

    if (bytes > CHECKPOINT_CONFIG_MAX)
        return err_set(e, ST_USAGE,
                       "cannot write checkpoints: the job has %zu bytes, %d at most",
                       bytes, CHECKPOINT_CONFIG_MAX);
    copy = strdup(text);
    if (!copy)
        return err_set(e, ST_RESOURCE, "no memory for a checkpoint: %zu bytes", bytes);
    free(*to);
    *to = copy;
    return ST_OK;
}

enum status checkpoint_config(struct checkpoint *ck, const char *config,
                              const char *launch, struct err *e)
{
    TRY(text_copy(&ck->config, config, e));
    return text_copy(&ck->launch, launch ? launch : "", e);
}

int64_t checkpoint_bytes(const struct checkpoint *ck)
{
    size_t bytes = (size_t)ck->counter.n * sizeof(int64_t);

    for (int i = 0; i < CHECKPOINT_ARRAYS; i++)
        bytes += checkpoint_floats_count(checkpoint_array_at(ck, i)) * sizeof(float);
    return (int64_t)bytes;
}

/* ---- laws ------------------------------------------------------------------------ */

static enum status state_check(const struct checkpoint *ck, struct err *e)
{
    bool running = ck->kind == CHECKPOINT_RUNNING;

    for (int i = 0; i < CHECKPOINT_STATES; i++) {
        const struct checkpoint_floats *f = checkpoint_array_at(ck, i);

        if ((f->dims[0] > 0) != running)
            return err_set(e, ST_INPUT, "'%s' is %s in a checkpoint of kind '%s'",
                           checkpoint_arrays[i].path, running ? "missing" : "there",
                           checkpoint_kind_name(ck->kind));
        if (memcmp(f->dims, ck->x.dims, sizeof(f->dims)) != 0)
            return err_set(e, ST_INPUT, "'%s' has another shape than 'latents/x'",
                           checkpoint_arrays[i].path);
    }
    if (ck->counter.n != ck->x.dims[1])
        return err_set(e, ST_INPUT, "'%s' counts %lld frames, 'latents/x' has %lld",
                       CHECKPOINT_COUNTER, (long long)ck->counter.n,
                       (long long)ck->x.dims[1]);
    for (int64_t i = 0; i < ck->counter.n; i++) {
        if (ck->counter.data[i] < 0 || ck->counter.data[i] > ck->rows_total)
            return err_set(e, ST_INPUT, "'%s' is %lld at frame %lld",
                           CHECKPOINT_COUNTER, (long long)ck->counter.data[i],
                           (long long)i);
    }
    return ST_OK;
}

static enum status place_check(const struct checkpoint *ck, struct err *e)
{
    if (ck->segments_total < 1 || ck->segment < 0 ||
        ck->segment >= ck->segments_total || ck->rows_done < 0 ||
        ck->rows_done > ck->rows_total)
        return err_set(e, ST_INPUT, "row %lld of %lld in segment %lld of %lld",
                       (long long)ck->rows_done, (long long)ck->rows_total,
                       (long long)ck->segment, (long long)ck->segments_total);
    if (ck->finished_frames < 0 || ck->finished_frames != ck->finished.dims[1])
        return err_set(e, ST_INPUT, "%lld latent frames are finished, %lld are there",
                       (long long)ck->finished_frames, (long long)ck->finished.dims[1]);
    if (ck->prefix_frames < 0 || (ck->x.dims[0] && ck->prefix_frames >= ck->x.dims[1]))
        return err_set(e, ST_INPUT, "%lld of %lld latent frames are given",
                       (long long)ck->prefix_frames, (long long)ck->x.dims[1]);
    return ST_OK;
}

enum status checkpoint_check(const struct checkpoint *ck, struct err *e)
{
    const struct checkpoint_floats *x = &ck->x, *done = &ck->finished;

    if (ck->kind < 0 || ck->kind > CHECKPOINT_FINAL || !ck->config || !ck->launch)
        return err_set(e, ST_INPUT, "a checkpoint without kind or configuration");
    TRY(state_check(ck, e));
    TRY(place_check(ck, e));
    if (x->dims[0] && done->dims[0] &&
        (x->dims[0] != done->dims[0] || x->dims[2] != done->dims[2] ||
         x->dims[3] != done->dims[3]))
        return err_set(e, ST_INPUT, "finished and running segments differ in size");
    if (!ck->cond.dims[0] ||
        (ck->uncond.dims[0] && ck->uncond.dims[1] != ck->cond.dims[1]))
        return err_set(e, ST_INPUT, "text rows are missing or of different width");
    return ST_OK;
}

bool checkpoint_floats_same(const struct checkpoint_floats *a,
                            const struct checkpoint_floats *b)
{
    size_t n = checkpoint_floats_count(a);

    return memcmp(a->dims, b->dims, sizeof(a->dims)) == 0 &&
           (n == 0 || memcmp(a->data, b->data, n * sizeof(float)) == 0);
}

const char *checkpoint_difference(const struct checkpoint *a,
                                  const struct checkpoint *b)
{
    for (int i = 0; i < CHECKPOINT_ARRAYS; i++) {
        if (!checkpoint_floats_same(checkpoint_array_at(a, i),
                                    checkpoint_array_at(b, i)))
            return checkpoint_arrays[i].path;
    }
    if (a->counter.n != b->counter.n ||
        (a->counter.n && memcmp(a->counter.data, b->counter.data,
                                (size_t)a->counter.n * sizeof(int64_t)) != 0))
        return CHECKPOINT_COUNTER;
    for (int i = 0; i < CHECKPOINT_TEXTS; i++) {
        if (strcmp(checkpoint_text_at(a, i), checkpoint_text_at(b, i)) != 0)
            return checkpoint_texts[i].name;
    }
    for (int i = 0; i < CHECKPOINT_INTS; i++) {
        if (*checkpoint_int_at(a, i) != *checkpoint_int_at(b, i))
            return checkpoint_ints[i].name;
    }
    if (a->kind != b->kind)
        return "kind";
    if (a->seconds != b->seconds)
        return "seconds";
    if (strcmp(a->launch, b->launch) != 0)
        return "launch";
    return strcmp(a->config, b->config) != 0 ? "config" : NULL;
}
