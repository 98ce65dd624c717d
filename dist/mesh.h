/* mesh.h - which rank works on which guidance branch, heads and tokens
 *
 * The P ranks of a launch are a mesh of G x U x R:
 *
 *     G  guidance: 1, or 2 when the two branches of a step run side by side
 *     U  Ulysses: ranks that swap tokens for heads in attention; keeps the bytes
 *     R  ring: ranks round which keys and values travel; only for more ranks than
 * heads, or on request, because it rounds differently for every R
 *
 * Ulysses ranks lie next to each other (inside a node, where links are fast), rings
 * across them, guidance outermost, for it talks once per step:
 *
 *     g2u2r2, 8 ranks      g0: r0: 0 1   r1: 2 3      g1: r0: 4 5   r1: 6 7
 *
 * A branch's ranks 0 .. U*R - 1 in this order hold its tokens in this order.
 *
 * Default: G = 2 when guidance is on and P is even; then U as large as the heads allow
 * and R what is left. Heads and tokens need not divide evenly.
 */
#ifndef DIST_MESH_H
#define DIST_MESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dist/comm.h"

enum { MESH_TEXT_BYTES = 40 };

struct mesh {
    int guidance, ulysses, ring;
};

#define MESH_ALONE \
    {              \
        1, 1, 1    \
    }

/* What is known and what the user asked for; 0 and NULL leave it to the program. */
struct mesh_wish {
    int ranks;
    int64_t heads;
    bool guidance;    /* a step has two branches */
    const char *mesh; /* "g2u4r1"; any of the three may be left out */
    int ulysses_degree;
    int ring_degree;
    int guidance_degree; /* 1: --use_cfg_parallel off, 2: on */
};

/* Choose the mesh. A wish that cannot be had is ST_USAGE, with the possible meshes of
 * that many ranks that come nearest. More Ulysses ranks than heads are possible on
 * request; the ranks without heads then only hold tokens. Not collective. */
enum status mesh_choose(const struct mesh_wish *wish, struct mesh *out, struct err *e);

/* "g2u4r1" and back; text that leaves one out gets 0 there. Not collective. */
void mesh_print(const struct mesh *m, char text[MESH_TEXT_BYTES]);
enum status mesh_parse(const char *text, struct mesh *out, struct err *e);

/* G * U * R. Not collective. */
int mesh_ranks(const struct mesh *m);

/* Where a rank of the launch stands. */
struct mesh_place {
    int guidance, ring, ulysses;
    int sequence; /* ring * U + ulysses: which shard of the tokens */
};

/* Not collective. */
struct mesh_place mesh_place_of(const struct mesh *m, int rank);
int mesh_rank_of(const struct mesh *m, const struct mesh_place *place);

/* The communicators of this rank's place. Each has its ranks in the order of the mesh.
 */
struct mesh_comms {
    struct mesh mesh;
    struct mesh_place place;
    struct comm *guidance; /* G ranks with the same tokens of the other branches */
    struct comm *sequence; /* U*R ranks that share a branch's tokens */
    struct comm *ulysses;  /* U ranks that swap tokens for heads */
    struct comm *ring;     /* R ranks with the same heads */
};

/* Split `world`, whose size must be mesh_ranks. Close before `world`. Collective. */
enum status mesh_comms_open(const struct mesh *m, struct comm *world,
                            struct mesh_comms *out, struct err *e);
void mesh_comms_close(struct mesh_comms *m);

#endif
