/* spread.c - the few things that ranks say to each other outside the model */
#include "engine/pipeline/spread.h"

#include <stdlib.h>
#include <string.h>

static enum status comms_open(struct spread *s, struct ops *ops, const struct mesh *m,
                              struct err *e)
{
    TRY(comm_open_over(world_comm(s->world), ops, &s->ranks, e));
    TRY(mesh_comms_open(m, s->ranks, &s->comms, e));
    s->open = true;
    return m->guidance > 1 ? comm_flight_create(s->comms.guidance, &s->velocities, e)
                           : ST_OK;
}

enum status spread_open(struct spread *s, struct world *world, struct ops *ops,
                        const struct mesh *m, struct err *e)
{
    enum status st;

    s->world = world;
    TRY(world_agree(world, ST_OK, e));
    st = comms_open(s, ops, m, e);
    if (st == ST_DEVICE)
        world_tear(world);
    return st;
}

void spread_close(struct spread *s)
{
    comm_flight_destroy(s->velocities);
    if (s->open)
        mesh_comms_close(&s->comms);
    comm_close(s->ranks);
    s->velocities = NULL;
    s->ranks = NULL;
    s->open = false;
}

void spread_abort(struct spread *s)
{
    comm_abort(s->ranks);
}

bool spread_leads(const struct spread *s)
{
    return world_facts(s->world)->rank == 0;
}

bool spread_owns(const struct spread *s, enum branch b)
{
    return s->comms.mesh.guidance == 1 || s->comms.place.guidance == (int)b;
}

enum status spread_bytes(struct spread *s, void *data, size_t bytes, struct err *e)
{
    return world_bcast(s->world, data, bytes, e);
}

static enum status rows_spread(struct spread *s, struct embeds_rows *m, int64_t width,
                               struct err *e)
{
    size_t bytes = (size_t)(m->n * width) * sizeof(float);

    if (!spread_leads(s)) {
        m->rows = malloc(bytes + 1);
        if (!m->rows)
            return err_set(e, ST_RESOURCE, "out of memory: %lld text rows",
                           (long long)m->n);
    }
    return world_bcast(s->world, m->rows, bytes, e);
}

enum status spread_embeds(struct spread *s, struct embeds *m, struct err *e)
{
    int64_t head[4] = {m->width, m->cond.n, m->uncond.n, m->uncond.rows != NULL};

    TRY(world_bcast(s->world, head, sizeof(head), e));
    m->width = head[0];
    m->cond.n = head[1];
    m->uncond.n = head[2];
    TRY(rows_spread(s, &m->cond, m->width, e));
    return head[3] ? rows_spread(s, &m->uncond, m->width, e) : ST_OK;
}

enum status spread_velocities(struct spread *s, struct queue *q,
                              const struct tensor *const v[BRANCHES], struct err *e)
{
    struct comm_piece receive[BRANCHES];

    if (!s->velocities)
        return ST_OK;
    for (int b = 0; b < BRANCHES; b++)
        receive[b] = (struct comm_piece){v[b]->data,
                                         (size_t)tensor_count(v[b]) * sizeof(float)};
    TRY(comm_allgather_begin(s->velocities, q, receive[s->comms.place.guidance],
                             receive, e));
    return comm_end(s->velocities, q, e);
}

/* ---- the latents of a segment ---------------------------------------------------- */

/* On the leader: everybody's rows in one piece of memory, in rank order. */
static enum status rows_collect(struct spread *s, const struct latent_size *size,
                                const struct span *tokens, struct comm_piece *pieces,
                                float *rows, float *all, struct err *e)
{
    int n = comm_size(s->comms.sequence), me = s->comms.place.sequence;
    struct comm_piece *send = pieces, *receive = pieces + n;
    size_t row = (size_t)(4 * size->channels) * sizeof(float), at = 0;

    for (int r = 0; r < n; r++) {
        size_t bytes = (size_t)tokens[r].count * row;

        send[r] = (struct comm_piece){rows,
                                      r == 0 ? (size_t)tokens[me].count * row : 0};
        receive[r] = (struct comm_piece){(char *)all + at, me == 0 ? bytes : 0};
        at += me == 0 ? bytes : 0;
    }
    return comm_alltoall(s->comms.sequence, send, receive, e);
}

static int64_t tokens_of(const struct latent_size *size)
{
    return size->frames * (size->height / 2) * (size->width / 2);
}

enum status spread_rows(struct spread *s, const struct ops *ops,
                        const struct latent_size *size, float *rows, float *all,
                        struct err *e)
{
    struct seqpar_group g = seqpar_group_of(&s->comms);
    size_t n = (size_t)comm_size(s->comms.sequence);
    struct span *tokens = calloc(n, sizeof(*tokens));
    struct comm_piece *pieces = calloc(2 * n, sizeof(*pieces));
    enum status st = ST_OK;

    if (!tokens || !pieces)
        st = err_set(e, ST_RESOURCE, "out of memory: %zu ranks", n);
    st = world_agree(s->world, st, e);
    for (size_t r = 0; st == ST_OK && r < n; r++) {
        g.rank = (int)r;
        tokens[r] = seqpar_tokens(&g, ops, tokens_of(size));
    }
    if (st == ST_OK && s->comms.place.guidance == 0)
        st = rows_collect(s, size, tokens, pieces, rows, all, e);
    free(tokens);
    free(pieces);
    return st;
}

enum status spread_gather(struct spread *s, const struct ops *ops,
                          const struct latent_size *size, float *rows, float *latent,
                          struct err *e)
{
    size_t floats = (size_t)(tokens_of(size) * 4 * size->channels);
    float *all = malloc(spread_leads(s) ? floats * sizeof(float) : 1);
    enum status st = ST_OK;

    if (!all)
        st = err_set(e, ST_RESOURCE, "out of memory: latents of %lld tokens",
                     (long long)tokens_of(size));
    else
        st = spread_rows(s, ops, size, rows, all, e);
    if (st == ST_OK && spread_leads(s))
        latent_from_patch(latent, all, size, (struct span){0, tokens_of(size)});
    free(all);
    return st;
}

/* ---- traffic --------------------------------------------------------------------- */

enum status spread_traffic(struct spread *s, struct spread_traffic *last,
                           struct spread_traffic *out, struct err *e)
{
    struct comm *const comms[] = {s->comms.guidance, s->comms.sequence,
                                  s->comms.ulysses, s->comms.ring};
    struct spread_traffic sum = {0}, mine;

    for (size_t i = 0; i < sizeof(comms) / sizeof(comms[0]); i++) {
        const struct comm_stats *c = comm_stats(comms[i]);

        sum.sent_bytes += (int64_t)c->sent_bytes;
        sum.received_bytes += (int64_t)c->received_bytes;
        sum.messages += (int64_t)c->messages;
        sum.wait_seconds += c->seconds;
    }
    mine.sent_bytes = sum.sent_bytes - last->sent_bytes;
    mine.received_bytes = sum.received_bytes - last->received_bytes;
    mine.messages = sum.messages - last->messages;
    mine.wait_seconds = sum.wait_seconds - last->wait_seconds;
    *last = sum;
    return world_gather(s->world, &mine, sizeof(mine), out, e);
}
