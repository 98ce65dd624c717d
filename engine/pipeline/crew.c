/* crew.c - orders as one broadcast each, frames as one exchange */
#include "engine/pipeline/crew.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RANKS_MAX = 4096 };

struct crew_page {
    int64_t deed, round, frames;
    float latents[]; /* [C,frames,h,w] */
};

enum status crew_parse(const char *text, int ranks, int *out, struct err *e)
{
    char *end;
    long n;

    if (!text || strcmp(text, "auto") == 0) {
        *out = ranks;
        return ST_OK;
    }
    errno = 0;
    n = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || n < 1 || n > RANKS_MAX)
        return err_set(e, ST_USAGE,
                       "impossible vae_ranks '%s': it is auto or a number of ranks, "
                       "1 to %d",
                       text, RANKS_MAX);
    *out = n < ranks ? (int)n : ranks;
    return ST_OK;
}

size_t crew_bytes(const int64_t shape[4])
{
    return sizeof(struct crew_page) +
           (size_t)(shape[0] * shape[1] * shape[2] * shape[3]) * sizeof(float);
}

enum status crew_init(struct crew *c, struct world *world, const int64_t shape[4],
                      struct err *e)
{
    memset(c, 0, sizeof(*c));
    if (!world)
        return ST_OK;
    c->world = world;
    memcpy(c->shape, shape, sizeof(c->shape));
    c->page_bytes = crew_bytes(shape);
    c->page = calloc(1, c->page_bytes);
    c->pieces = calloc(2 * (size_t)world_facts(world)->size, sizeof(*c->pieces));
    if (c->page && c->pieces)
        return ST_OK;
    crew_release(c);
    return err_set(e, ST_RESOURCE, "out of memory: latents of %lld frames",
                   (long long)shape[1]);
}

void crew_release(struct crew *c)
{
    free(c->page);
    free(c->pieces);
    memset(c, 0, sizeof(*c));
}

/* ---- orders ---------------------------------------------------------------------- */

/* Latents [C,n,h,w], whatever their strides, one behind the other. */
static void latents_pack(float *to, const struct tensor *t)
{
    size_t plane = (size_t)(t->shape[2] * t->shape[3]);

    for (int64_t c = 0; c < t->shape[0]; c++) {
        for (int64_t f = 0; f < t->shape[1]; f++, to += plane)
            memcpy(to, (const float *)t->data + c * t->stride[0] + f * t->stride[1],
                   plane * sizeof(float));
    }
}

enum status crew_say(struct crew *c, const struct crew_order *order, struct err *e)
{
    bool step = order->deed == CREW_STEP;

    if (!c->world)
        return ST_OK;
    c->page->deed = order->deed;
    c->page->round = order->round;
    c->page->frames = step ? order->latents.shape[1] : 0;
    if (step)
        latents_pack(c->page->latents, &order->latents);
    return world_bcast(c->world, c->page, c->page_bytes, e);
}

enum status crew_hear(struct crew *c, struct crew_order *order, struct err *e)
{
    TRY(world_bcast(c->world, c->page, c->page_bytes, e));
    order->deed = (enum crew_deed)c->page->deed;
    order->round = (int)c->page->round;
    order->latents = tensor_make(
        c->page->latents, DT_F32, MEM_HOST, 4,
        (int64_t[]){c->shape[0], c->page->frames, c->shape[2], c->shape[3]});
    return ST_OK;
}

/* ---- frames ---------------------------------------------------------------------- */

enum status crew_gather(struct crew *c, void *data, const size_t *bytes, struct err *e)
{
    const struct world_facts *f;
    struct comm_piece *send = c->pieces, *receive;
    char *at = data;
    enum status st;

    if (!c->world)
        return ST_OK;
    f = world_facts(c->world);
    receive = send + f->size;
    for (int r = 0; r < f->size; r++) {
        send[r] = (struct comm_piece){data, r == 0 ? bytes[f->rank] : 0};
        receive[r] = (struct comm_piece){at, f->rank == 0 ? bytes[r] : 0};
        at += bytes[r];
    }
    st = comm_alltoall(world_comm(c->world), send, receive, e);
    if (st != ST_OK)
        world_tear(c->world);
    return st;
}
