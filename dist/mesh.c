/* mesh.c - factors of the number of ranks, and the places in a mesh */
#include "dist/mesh.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DEGREE_MAX = 65536, SUGGESTIONS = 3 };

/* ---- text ----------------------------------------------------------------------- */

void mesh_print(const struct mesh *m, char text[MESH_TEXT_BYTES])
{
    snprintf(text, MESH_TEXT_BYTES, "g%du%dr%d", m->guidance, m->ulysses, m->ring);
}

/* Digits at *p, 1 to DEGREE_MAX; 0 when there is no such number. */
static int degree_at(const char **p)
{
    int n = 0;

    while (**p >= '0' && **p <= '9' && n <= DEGREE_MAX)
        n = 10 * n + *(*p)++ - '0';
    return n <= DEGREE_MAX ? n : 0;
}

enum status mesh_parse(const char *text, struct mesh *out, struct err *e)
{
    struct mesh m = {0};
    const char *p = text;
    bool good = *p != '\0';

    while (good && *p) {
        int *to = *p == 'g'   ? &m.guidance
                  : *p == 'u' ? &m.ulysses
                  : *p == 'r' ? &m.ring
                              : NULL;

        p++;
        good = to && *to == 0 && (*to = degree_at(&p)) > 0;
    }
    if (!good)
        return err_set(e, ST_USAGE, "cannot read mesh '%s': write it like 'g2u4r1'",
                       text);
    *out = m;
    return ST_OK;
}

/* ---- choosing ------------------------------------------------------------------- */

int mesh_ranks(const struct mesh *m)
{
    return m->guidance * m->ulysses * m->ring;
}

static enum status merge(int *to, int degree, const char *what, struct err *e)
{
    if (degree != 0 && *to != 0 && *to != degree)
        return err_set(e, ST_USAGE, "mesh and %s contradict each other: %d and %d",
                       what, *to, degree);
    *to = degree != 0 ? degree : *to;
    return ST_OK;
}

/* All that the user asked for, 0 where nothing. */
static enum status asked(const struct mesh_wish *w, struct mesh *out, struct err *e)
{
    struct mesh m = {0};

    if (w->mesh)
        TRY(mesh_parse(w->mesh, &m, e));
    TRY(merge(&m.guidance, w->guidance_degree, "use_cfg_parallel", e));
    TRY(merge(&m.ulysses, w->ulysses_degree, "ulysses_degree", e));
    TRY(merge(&m.ring, w->ring_degree, "ring_degree", e));
    *out = m;
    return ST_OK;
}

/* The i-th mesh of `ranks` ranks; false past the last. Guidance first, then the largest
 * Ulysses degree: the order of preference. */
static bool possible(const struct mesh_wish *w, int i, struct mesh *out)
{
    for (int g = w->guidance ? 2 : 1; g >= 1; g--) {
        if (w->ranks % g != 0)
            continue;
        for (int u = w->ranks / g; u >= 1; u--) {
            if (w->ranks / g % u == 0 && i-- == 0) {
                *out = (struct mesh){g, u, w->ranks / g / u};
                return true;
            }
        }
    }
    return false;
}

static bool fits(int have, int wanted)
{
    return wanted == 0 || have == wanted;
}

static double apart(int have, int wanted)
{
    return wanted == 0 ? 0.0 : fabs(log2((double)have / wanted));
}

static double distance(const struct mesh *m, const struct mesh *want)
{
    return apart(m->guidance, want->guidance) + apart(m->ulysses, want->ulysses) +
           apart(m->ring, want->ring);
}

/* The nearest possible mesh that is farther than (`past`, `index`) in order; false when
 * there is none. */
static bool next_nearest(const struct mesh_wish *w, const struct mesh *want,
                         double *past, int *index, struct mesh *out)
{
    double best = INFINITY;
    int best_index = -1;
    struct mesh m;

    for (int i = 0; possible(w, i, &m); i++) {
        double d = distance(&m, want);
        bool later = d > *past || (d == *past && i > *index);

        if (later && d < best) {
            best = d;
            best_index = i;
            *out = m;
        }
    }
    *past = best;
    *index = best_index;
    return best_index >= 0;
}

/* Only what was asked for: "u5". */
static void print_asked(const struct mesh *want, char text[MESH_TEXT_BYTES])
{
    const char letter[] = {'g', 'u', 'r'};
    const int degree[] = {want->guidance, want->ulysses, want->ring};
    size_t used = 0;

    text[0] = '\0';
    for (int i = 0; i < 3; i++) {
        if (degree[i] != 0)
            used += (size_t)snprintf(text + used, MESH_TEXT_BYTES - used, "%c%d",
                                     letter[i], degree[i]);
    }
}

static enum status refuse(const struct mesh_wish *w, const struct mesh *want,
                          struct err *e)
{
    char list[SUGGESTIONS * (MESH_TEXT_BYTES + 2)] = "", text[MESH_TEXT_BYTES];
    double past = -1.0;
    struct mesh m;
    int index = -1;

    for (int i = 0; i < SUGGESTIONS; i++) {
        size_t used = strlen(list);

        if (!next_nearest(w, want, &past, &index, &m))
            break;
        mesh_print(&m, text);
        snprintf(list + used, sizeof(list) - used, "%s%s", i > 0 ? ", " : "", text);
    }
    print_asked(want, text);
    return err_set(e, ST_USAGE, "cannot lay %d rank%s out as '%s'%s: nearest are %s",
                   w->ranks, w->ranks == 1 ? "" : "s", text,
                   want->guidance > 1 && !w->guidance ? " with guidance off" : "",
                   list);
}

enum status mesh_choose(const struct mesh_wish *wish, struct mesh *out, struct err *e)
{
    struct mesh want, m;

    TRY(asked(wish, &want, e));
    for (int i = 0; possible(wish, i, &m); i++) {
        bool heads = want.ulysses != 0 || m.ulysses <= wish->heads || m.ulysses == 1 ||
                     want.ring != 0;

        if (heads && fits(m.guidance, want.guidance) && fits(m.ulysses, want.ulysses) &&
            fits(m.ring, want.ring)) {
            *out = m;
            return ST_OK;
        }
    }
    return refuse(wish, &want, e);
}

/* ---- places --------------------------------------------------------------------- */

struct mesh_place mesh_place_of(const struct mesh *m, int rank)
{
    int sequence = rank % (m->ulysses * m->ring);

    return (struct mesh_place){
        .guidance = rank / (m->ulysses * m->ring),
        .ring = sequence / m->ulysses,
        .ulysses = sequence % m->ulysses,
        .sequence = sequence,
    };
}

int mesh_rank_of(const struct mesh *m, const struct mesh_place *place)
{
    return (place->guidance * m->ring + place->ring) * m->ulysses + place->ulysses;
}

enum status mesh_comms_open(const struct mesh *m, struct comm *world,
                            struct mesh_comms *out, struct err *e)
{
    struct mesh_comms c = {.mesh = *m, .place = mesh_place_of(m, comm_rank(world))};
    const struct mesh_place *p = &c.place;
    int rank = comm_rank(world);
    enum status st;

    if (comm_size(world) != mesh_ranks(m))
        return err_set(e, ST_USAGE, "a mesh of %d ranks cannot be laid over %d",
                       mesh_ranks(m), comm_size(world));
    TRY_GOTO(st, comm_split(world, p->sequence, rank, &c.guidance, e), err_close);
    TRY_GOTO(st, comm_split(world, p->guidance, rank, &c.sequence, e), err_close);
    TRY_GOTO(st, comm_split(c.sequence, p->ring, rank, &c.ulysses, e), err_close);
    TRY_GOTO(st, comm_split(c.sequence, p->ulysses, rank, &c.ring, e), err_close);
    *out = c;
    return ST_OK;

err_close:
    mesh_comms_close(&c);
    return st;
}

void mesh_comms_close(struct mesh_comms *m)
{
    comm_close(m->ring);
    comm_close(m->ulysses);
    comm_close(m->sequence);
    comm_close(m->guidance);
    *m = (struct mesh_comms){0};
}
