/* time.c - timesteps to modulation tables, all in fp32
 *
 *     e  = W2 silu(W1 sinusoid(t) + b1) + b2                      [rows,d]
 *     e0 = Wp silu(e) + bp (+ fps)                                [rows,6d]
 *     table of a block = e0 + modulation                          [rows,6,d]
 *
 * The fps embedding is one vector for a whole run, so it is added to bp once. A bias
 * that is the same for all rows is given to the op as a pending one.
 */
#include "engine/dit/inside.h"

static struct tensor first_rows(const struct tensor *t, int64_t rows)
{
    return tensor_slice(t, 0, 0, rows);
}

void time_views(const struct dit_buffers *b, int64_t rows, struct time_path *tp)
{
    int64_t d = b->e.shape[1];

    tp->rows = rows;
    tp->e = first_rows(&b->e, rows);
    tp->e0 = first_rows(&b->e0, rows);
    for (int i = 0; i < 2; i++) {
        tp->table[i] = first_rows(&b->table[i], rows);
        for (int k = 0; k < 6; k++)
            tp->part[i][k] = tensor_slice(&tp->table[i], 1, k * d, d);
    }
}

enum status time_embed(const struct dit *m, struct queue *q,
                       const struct dit_buffers *b, const struct time_path *tp,
                       const struct tensor *t, struct err *e)
{
    struct tensor sinus = first_rows(&b->sinus, tp->rows);
    struct tensor raw = first_rows(&b->time1, tp->rows);
    struct tensor act = first_rows(&b->time2, tp->rows);
    struct tensor e1 = tp->e, e0 = tp->e0;
    struct op_sinusoid s = {.out = &sinus, .t = t};
    struct dit_linear proj = m->time_proj;

    if (m->config.has_fps)
        proj.b = tensor_reshape(&b->time_bias, 1, &b->time_bias.shape[1]);
    TRY(ops_sinusoid(m->ops, q, &s, e));
    TRY(dit_product(m, q, &raw, &sinus, &m->time_in, false, e));
    TRY(dit_act(m, q, &act, &raw, NULL, ACT_SILU, e));
    TRY(dit_product(m, q, &e1, &act, &m->time_out, false, e));
    TRY(dit_act(m, q, &raw, &e1, NULL, ACT_SILU, e));
    return dit_product(m, q, &e0, &raw, &proj, false, e);
}

enum status time_table(const struct dit *m, struct queue *q, struct time_path *tp,
                       int64_t i, struct err *e)
{
    return dit_act(m, q, &tp->table[i % 2], &tp->e0, &m->blocks[i].modulation, ACT_NONE,
                   e);
}

enum status time_head(const struct dit *m, struct queue *q, const struct time_path *tp,
                      struct tensor *shift, struct tensor *scale, struct err *e)
{
    struct tensor row = tensor_slice(&m->head_modulation, 0, 0, 1);

    TRY(dit_act(m, q, shift, &tp->e, &row, ACT_NONE, e));
    row = tensor_slice(&m->head_modulation, 0, 1, 1);
    return dit_act(m, q, scale, &tp->e, &row, ACT_NONE, e);
}

enum status time_fps(const struct dit *m, struct queue *q, const struct dit_buffers *b,
                     int fps, struct err *e)
{
    struct tensor row = tensor_slice(&m->fps_table, 0, fps == 16 ? 0 : 1, 1);
    struct tensor x = first_rows(&b->time1, 1), y = first_rows(&b->time2, 1);
    struct tensor wide = first_rows(&b->e0, 1), out = b->time_bias;
    struct op_convert a = {.dst = &x, .src = &row};

    TRY(ops_convert(m->ops, q, &a, e));
    TRY(dit_product(m, q, &y, &x, &m->fps_in, false, e));
    TRY(dit_act(m, q, &x, &y, NULL, ACT_SILU, e));
    TRY(dit_product(m, q, &wide, &x, &m->fps_out, false, e));
    return dit_act(m, q, &out, &wide, &m->time_proj.b, ACT_NONE, e);
}
