/* weights_team.c - ranks that read a part of the files each, in rounds
 *
 * The store's memory, in the order of its tensors, is cut into rounds and each round
 * into a part for every rank, by the bytes that the files hold. A part is whole tensors
 * and one piece of memory, the same on all ranks, so an exchange of parts fills a round
 * with bytes in their final form. While it travels the ranks read the next round.
 *
 *     tensors   a b c d | e f g h | i j …       round 0 | round 1 | …
 *     rank      0 0 1 1 | 0 1 1 1 | 0 …
 *
 * Before every exchange all ranks agree that theirs is there; a rank that could not
 * read, or has lost its device, ends all of them at that point. The number of rounds
 * depends on the tensors alone, because ranks of other teams agree too. */
#include <stdlib.h>

#include "engine/weights/load.h"

enum { ROUNDS_MAX = 64 };

static const size_t round_bytes = (size_t)1 << 30;

static int64_t stored_bytes(const struct weights *w)
{
    int64_t sum = 0;

    for (int i = 0; i < w->n; i++)
        sum += w->slots[i].stored->bytes;
    return sum;
}

int team_rounds(const struct weights *w)
{
    size_t each = w->policy.team->round_bytes ? w->policy.team->round_bytes
                                              : round_bytes;
    size_t n = (size_t)stored_bytes(w) / each;

    return n < 1 ? 1 : n > ROUNDS_MAX ? ROUNDS_MAX : (int)n;
}

/* ---- parts ----------------------------------------------------------------------- */

/* parts + 1 slots: where each part begins, part p of round k being k * size + p. */
static enum status parts_cut(const struct weights *w, int parts, int **out,
                             struct err *e)
{
    int64_t total = stored_bytes(w), before = 0;
    int *first = calloc((size_t)parts + 1, sizeof(*first));
    int at = 0;

    if (!first)
        return err_set(e, ST_RESOURCE, "cannot load weights: out of memory");
    for (int i = 0; i < w->n; i++) {
        int part = total ? (int)(before * parts / total) : 0;

        part = part < parts ? part : parts - 1;
        while (at < part)
            first[++at] = i;
        before += w->slots[i].stored->bytes;
    }
    while (at < parts)
        first[++at] = w->n;
    *out = first;
    return ST_OK;
}

static struct weights_piece piece_of(const struct weights *w, const int *first,
                                     int part)
{
    size_t begin = w->bytes, end = w->bytes;

    if (first[part] < w->n)
        begin = w->slots[first[part]].data_at;
    if (first[part + 1] < w->n)
        end = w->slots[first[part + 1]].data_at;
    return (struct weights_piece){(char *)w->memory + begin, end - begin};
}

/* This rank's slots, round by round. */
static void own_take(struct load *l, const int *first)
{
    const struct weights_team *team = l->w->policy.team;

    for (int k = 0; k < l->rounds && team->size > 0; k++) {
        int part = k * team->size + team->rank;

        for (int i = first[part]; i < first[part + 1]; i++) {
            l->w->slots[i].round = k;
            l->order[l->n++] = &l->w->slots[i];
        }
    }
    load_order(l);
}

/* ---- rounds ---------------------------------------------------------------------- */

static enum status round_pass(struct load *l, const int *first, int round,
                              struct weights_piece *pieces, struct err *e)
{
    const struct weights_team *team = l->w->policy.team;

    if (team->size < 2)
        return ST_OK;
    for (int r = 0; r < team->size; r++)
        pieces[r] = piece_of(l->w, first, round * team->size + r);
    return team->pass(team->self, load_work(l), pieces, e);
}

static enum status rounds_run(struct load *l, const int *first,
                              struct weights_piece *pieces, struct err *e)
{
    const struct weights_team *team = l->w->policy.team;
    enum status st;

    for (int k = 0; k < l->rounds; k++) {
        st = crew_wait(l, k, e);
        TRY(team->agree(team->self, st, e));
        TRY(round_pass(l, first, k, pieces, e));
    }
    st = l->stream ? stream_finish(l, e) : ST_OK;
    TRY(team->agree(team->self, st, e));
    return team->finish(team->self, e);
}

static enum status team_run(struct load *l, struct err *e)
{
    const struct weights_team *team = l->w->policy.team;
    int parts = l->rounds * (team->size > 0 ? team->size : 1), *first = NULL;
    struct weights_piece *pieces = calloc((size_t)team->size + 1, sizeof(*pieces));
    enum status st = parts_cut(l->w, parts, &first, e);
    struct crew crew;

    if (st == ST_OK && !pieces)
        st = err_set(e, ST_RESOURCE, "cannot load weights: out of memory");
    if (st == ST_OK) {
        own_take(l, first);
        crew_start(l, &crew);
        st = rounds_run(l, first, pieces, e);
        atomic_store(&l->stop, true);
        crew_join(&crew);
    }
    free(first);
    free(pieces);
    return st;
}

/* Every checksum is there on one rank of the team and zero on the others. */
static enum status sums_share(struct weights *w, struct err *e)
{
    const struct weights_team *team = w->policy.team;
    int64_t *sums;
    enum status st;

    sums = calloc((size_t)w->n + 1, sizeof(*sums));
    st = sums ? ST_OK : err_set(e, ST_RESOURCE, "cannot load weights: out of memory");
    st = team->agree(team->self, st, e);
    for (int i = 0; st == ST_OK && i < w->n; i++)
        sums[i] = (int64_t)w->slots[i].checksum;
    if (st == ST_OK && team->size > 1)
        st = team->sum(team->self, sums, w->n, e);
    for (int i = 0; st == ST_OK && i < w->n; i++)
        w->slots[i].checksum = (uint64_t)sums[i];
    free(sums);
    return st;
}

enum status team_fill(struct load *l, struct err *e)
{
    const struct weights_team *team = l->w->policy.team;
    enum status st;

    st = team->open(team->self, l->w->ops, e);
    if (st == ST_OK)
        st = team_run(l, e);
    if (st == ST_OK)
        st = sums_share(l->w, e);
    st = team->agree(team->self, st, e);
    team->close(team->self);
    return st;
}
