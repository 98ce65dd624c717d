/* segments.c - counts windows and their prefixes */
#include "engine/sample/segments.h"

#include <stdlib.h>
#include <string.h>

int latent_frames(int frames)
{
    return (frames - 1) / 4 + 1;
}

int video_frames(int latents)
{
    return 4 * (latents - 1) + 1;
}

static enum status frames_check(const char *name, int frames, struct err *e)
{
    int low = (frames - 1) / 4 * 4 + 1;

    if (frames < 1)
        return err_set(e, ST_USAGE, "impossible %s %d: 1, 5, 9 and so on are", name,
                       frames);
    if ((frames - 1) % 4)
        return err_set(e, ST_USAGE, "impossible %s %d: %d and %d are possible", name,
                       frames, low, low + 4);
    return ST_OK;
}

static enum status args_check(const struct segments_args *a, struct err *e)
{
    TRY(frames_check("num_frames", a->num_frames, e));
    if (a->overlap_history == 0)
        return ST_OK;
    TRY(frames_check("base_num_frames", a->base_num_frames, e));
    TRY(frames_check("overlap_history", a->overlap_history, e));
    if (a->overlap_history >= a->base_num_frames)
        return err_set(e, ST_USAGE,
                       "impossible overlap_history %d: it must be smaller than "
                       "base_num_frames %d",
                       a->overlap_history, a->base_num_frames);
    return ST_OK;
}

/* Every segment and the overlap must be whole blocks. */
static enum status blocks_check(const struct segments *s, const struct segments_args *a,
                                struct err *e)
{
    int block = a->causal_block_size;

    for (int i = 0; i < s->count; i++) {
        const struct segment *g = &s->segment[i];

        if (g->prefix % block)
            return err_set(e, ST_USAGE,
                           "impossible overlap_history %d: its %d latent frames are "
                           "not a multiple of causal_block_size %d",
                           a->overlap_history, g->prefix, block);
        if (g->frames % block)
            return err_set(e, ST_USAGE,
                           "impossible num_frames %d: segment %d has %d latent frames, "
                           "which causal_block_size %d does not divide; %d or %d would "
                           "do",
                           a->num_frames, i, g->frames, block,
                           a->num_frames - 4 * (g->frames % block),
                           a->num_frames + 4 * (block - g->frames % block));
    }
    return ST_OK;
}

enum status segments_init(struct segments *s, const struct segments_args *a,
                          struct err *e)
{
    int total, base, overlap, count;
    enum status st;

    TRY(args_check(a, e));
    total = latent_frames(a->num_frames);
    base = latent_frames(a->base_num_frames);
    overlap = a->overlap_history ? latent_frames(a->overlap_history) : 0;
    count = 1;
    if (overlap && total > base)
        count = 2 + (total - base - 1) / (base - overlap);
    if (count > SEGMENTS_MAX)
        return err_set(e, ST_USAGE,
                       "impossible num_frames %d: %d segments, at most %d are",
                       a->num_frames, count, SEGMENTS_MAX);
    s->segment = calloc((size_t)count, sizeof(*s->segment));
    if (!s->segment)
        return err_set(e, ST_RESOURCE, "out of memory: %d segments", count);
    s->count = count;
    s->total = total;
    for (int i = 0; i < count; i++) {
        struct segment *g = &s->segment[i];

        g->first = i * (base - overlap);
        g->frames = total - g->first;
        if (count > 1 && g->frames > base)
            g->frames = base;
        g->prefix = i ? overlap : 0;
    }
    st = blocks_check(s, a, e);
    if (st != ST_OK)
        segments_release(s);
    return st;
}

void segments_release(struct segments *s)
{
    free(s->segment);
    memset(s, 0, sizeof(*s));
}
