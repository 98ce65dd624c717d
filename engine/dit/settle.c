/* settle.c - proves the products of a block before the first pass
 *
 * Three shapes, on random rows and the first block's own weights; the memory is given
 * back. Backends without a choice are left alone. */
#include "kernels/settle.h"

#include <string.h>

#include "engine/dit/inside.h"

struct trial {
    const struct dit *m;
    const struct dit_linear *l;
    struct tensor numbers; /* f32 [rows,k] */
    struct tensor x, y, again;
};

static struct op_linear op_of(struct trial *t)
{
    return (struct op_linear){.y = &t->y, .x = &t->x, .w = &t->l->w, .pending = true};
}

static void trial_cut(struct trial *t, struct arena *a)
{
    const struct dit_precision *p = &t->m->precision;
    enum mem_space space = ops_facts(t->m->ops)->space;
    int64_t n = t->l->w.shape[0], k = t->l->w.shape[1];

    t->numbers = tensor_cut(a, DT_F32, space, 2, (int64_t[]){SETTLE_ROWS, k});
    t->x = operand_cut(a, p->operand, space, SETTLE_ROWS, k);
    t->y = tensor_cut(a, p->real, space, 2, (int64_t[]){SETTLE_ROWS, n});
    t->again = tensor_cut(a, p->real, space, 2, (int64_t[]){SETTLE_ROWS, n});
}

static enum status trial_run(struct trial *t, struct queue *q,
                             char note[SETTLE_NOTE_BYTES], struct err *e)
{
    struct ops *ops = t->m->ops;
    struct op_normal normal = {.out = &t->numbers, .std = 1.0f, .seed = 1};
    struct op_convert convert = {.dst = &t->x, .src = &t->numbers};
    struct op_linear a = op_of(t);

    TRY(ops_normal(ops, q, &normal, e));
    TRY(ops_convert(ops, q, &convert, e));
    return linear_settle(ops, q, &a, &t->again, note, e);
}

/* Memory and a queue for one product; *proven counts it where there is a choice. */
static enum status trial_open(struct trial *t, int *proven,
                              char note[SETTLE_NOTE_BYTES], struct err *e)
{
    struct ops *ops = t->m->ops;
    void *memory = NULL, *workspace = NULL;
    struct queue *q = NULL;
    struct linear_way way;
    struct op_linear a;
    struct arena arena;
    enum status st;
    size_t bytes;
    int n;

    note[0] = 0;
    arena_init(&arena, NULL, 0);
    trial_cut(t, &arena);
    a = op_of(t);
    TRY(ops_linear_ways(ops, &a, &way, 1, &n, e));
    if (n == 0)
        return ST_OK;
    bytes = ops_linear_workspace(ops, &a);
    TRY_GOTO(st, ops_mem_alloc(ops, arena.peak, &memory, e), out);
    TRY_GOTO(st, ops_mem_alloc(ops, bytes, &workspace, e), out);
    TRY_GOTO(st, ops_queue_open(ops, workspace, bytes, &q, e), out);
    arena_init(&arena, memory, arena.peak);
    trial_cut(t, &arena);
    st = trial_run(t, q, note, e);
    *proven += st == ST_OK;

out:
    ops_queue_close(ops, q);
    ops_mem_free(ops, workspace);
    ops_mem_free(ops, memory);
    return st;
}

enum status dit_settle(const struct dit *m, int *proven, char note[SETTLE_NOTE_BYTES],
                       struct err *e)
{
    const struct dit_block *b = &m->blocks[0];
    const struct dit_linear *all[] = {&b->self.q, &b->ffn_in, &b->ffn_out};
    char one[SETTLE_NOTE_BYTES];
    enum status st = ST_OK;

    note[0] = 0;
    *proven = 0;
    TRY(weights_borrow_block(m->weights, 0, e));
    for (int i = 0; i < 3 && st == ST_OK; i++) {
        struct trial t = {.m = m, .l = all[i]};

        st = trial_open(&t, proven, one, e);
        if (st == ST_OK && one[0])
            memcpy(note, one, SETTLE_NOTE_BYTES);
    }
    weights_return_block(m->weights, 0);
    return st;
}
