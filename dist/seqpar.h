/* seqpar.h - self attention over a sequence that is shared by a group of ranks
 *
 * Outside attention every rank works on its own tokens and all heads; inside, on all
 * tokens and its own heads. The model hands over raw projections, in parts, so that
 * each part can travel while the next product runs:
 *
 *     TRY(seqpar_put_v(sp, q, &v, e));            v product pending, now on its way
 *     TRY(seqpar_put_k(sp, q, &k, &norm_k, e));
 *     TRY(seqpar_put_q(sp, q, &qr, &norm_q, e));
 *     TRY(seqpar_attend(sp, q, e));               own heads, every token
 *     TRY(seqpar_get_o(sp, q, &operand, e));      own tokens, every head
 *
 * Other work (another guidance branch with its own seqpar) may go between any two of
 * these calls. Each put is one pass over the raw rows: pending scales and bias, norm
 * over the whole row, rope at global positions, rounding to the format, scatter.
 *
 *     put      rows [own tokens, heads*head_dim]
 *              -> one part per destination rank: its heads, own tokens
 *     exchange part p of rank r becomes the tokens of r in the inputs of rank p
 *     attend   one list of queries and one of keys and values per source rank, in
 *              global token order; one result per source
 *     exchange results go back to the ranks that own the tokens
 *     get_o    one part per head owner -> rows of the operand
 *
 * The part that a rank keeps for itself lies in its attention inputs from the start: a
 * rank that is alone copies nothing. Formats: q and k f32 or bf16 with v alike, or i8
 * (q one scale per token and head, k one per 4 tokens and head) with v e4m3, transposed
 * for the attention kernel (one scale per channel and 128 tokens). Before k becomes i8
 * its column mean over every 16th token is taken off, which leaves the softmax as it
 * is; the sums are integers, so the mean is the same however the tokens are shared out.
 * The result is f32, bf16, or e4m3 with one scale per token and head.
 *
 * A put ends with its parts on their way. v and k go to all ranks at once; queries and
 * results go in stages, in which every rank talks to one other: in stage i rank r gets
 * the queries of rank r + i + 1, attends for them, and sends the results back while it
 * works on those of stage i + 1. Its own come last, so only the first stage of queries
 * has nothing to hide behind:
 *
 *     v | k | q 1  q 2  q 3      1 back  2 back  3 back       travels
 *               attend 1   attend 2   attend 3   attend own   works
 *
 * With a ring (mesh.h, ring.h) the exchange is among the Ulysses ranks, attend passes
 * keys and values round, and results go when all are there.
 *
 * Any number of Ulysses ranks gives the same bytes. Nothing here allocates after
 * seqpar_start. The puts, attend and get_o are collective over the group and are called
 * in this order by every rank; where two of them interleave, in the same way on every
 * rank. None of them waits where the queue does not: parts of devices travel beside it.
 */
#ifndef DIST_SEQPAR_H
#define DIST_SEQPAR_H

#include "dist/mesh.h"
#include "dist/shard.h"
#include "kernels/base/arena.h"
#include "kernels/ops.h"

/* The ranks that share a sequence, and which of them this is. Arithmetic and plans need
 * no communicators, seqpar_start does. */
struct seqpar_group {
    int ulysses, ring;
    int rank;                       /* ring index * ulysses + Ulysses index */
    const struct mesh_comms *comms; /* borrowed; NULL: not there (yet), or alone */
};

#define SEQPAR_ALONE  \
    {                 \
        1, 1, 0, NULL \
    }

/* The group of this rank's place; `comms` is borrowed. Not collective. */
struct seqpar_group seqpar_group_of(const struct mesh_comms *comms);

/* The group of rank `rank` of a launch, to plan with. Not collective. */
struct seqpar_group seqpar_group_planned(const struct mesh *mesh, int rank);

struct seqpar_formats {
    enum dtype qk; /* DT_F32, DT_BF16 or DT_I8 */
    enum dtype v;  /* as qk, or DT_E4M3 when qk is DT_I8 */
    enum dtype o;  /* DT_F32, DT_BF16 or DT_E4M3 */
};

struct seqpar_layout {
    struct seqpar_group group;
    int64_t tokens; /* of the whole sequence */
    int64_t heads, head_dim;
    struct seqpar_formats formats;
};

/* How raw q or k rows are normalised and turned; borrowed during the call. */
struct seqpar_norm {
    const struct tensor *weight; /* f32 [heads*head_dim] */
    const struct rope *rope;
    float eps;
};

struct seqpar;

/* The state of one attention in flight; `ops` is borrowed for its life. Formats that do
 * not go together are ST_USAGE. Not collective. destroy(NULL) is fine. */
enum status seqpar_create(const struct seqpar_layout *layout, struct ops *ops,
                          struct seqpar **out, struct err *e);
void seqpar_destroy(struct seqpar *sp);

/* The tokens of a sequence that this rank holds. Not collective. */
struct span seqpar_tokens(const struct seqpar_group *group, const struct ops *ops,
                          int64_t tokens);

/* The tokens whose queries this rank attends for: its ring block. Not collective. */
struct span seqpar_queries(const struct seqpar_group *group, const struct ops *ops,
                           int64_t tokens);

/* The heads that this rank attends for. Not collective. */
struct span seqpar_heads(const struct seqpar_group *group, int64_t heads);

/* Cut what travels and what is attended to, in this order; counts when the arena does.
 * The three are used for different times, so that others can lie in the same memory:
 *
 *     queries   from put_q to the end of attend
 *     results   from the beginning of attend to the end of get_o
 *     keys      from the first put to the end of get_o (results come back there)
 *
 * The rows of a put are read before what it writes: what put_q is given, and what those
 * rows were made of, may lie where the queries and the results do.
 * seqpar_cut: all three, one behind the other. Not collective. */
void seqpar_cut_queries(struct seqpar *sp, struct arena *a);
void seqpar_cut_results(struct seqpar *sp, struct arena *a);
void seqpar_cut_keys(struct seqpar *sp, struct arena *a);
void seqpar_cut(struct seqpar *sp, struct arena *a);

/* Cut what must keep its bytes for the life of sp (constants). Not collective. */
void seqpar_cut_kept(struct seqpar *sp, struct arena *a);

/* Scratch memory that the queue must have. Not collective. */
size_t seqpar_workspace(const struct seqpar *sp);

/* Fill in the constants after both cuts, and take up the communicators; waits for the
 * queue. A group of several ranks without communicators, or with those of another
 * memory than the tensors', is ST_USAGE. Not collective. */
enum status seqpar_start(struct seqpar *sp, struct queue *q, struct err *e);

/* Raw rows [own tokens, heads*head_dim], float, pending accepted. They are read before
 * later work of the queue, so the caller may use them again at once. Collective. */
enum status seqpar_put_v(struct seqpar *sp, struct queue *q, const struct tensor *rows,
                         struct err *e);
enum status seqpar_put_k(struct seqpar *sp, struct queue *q, const struct tensor *rows,
                         const struct seqpar_norm *norm, struct err *e);
enum status seqpar_put_q(struct seqpar *sp, struct queue *q, const struct tensor *rows,
                         const struct seqpar_norm *norm, struct err *e);

/* Own heads of every token against every token. Collective. */
enum status seqpar_attend(struct seqpar *sp, struct queue *q, struct err *e);

/* The result for the own tokens: operand of a product or float rows
 * [own tokens, heads*head_dim]. Collective. */
enum status seqpar_get_o(struct seqpar *sp, struct queue *q, struct tensor *rows,
                         struct err *e);

#endif
