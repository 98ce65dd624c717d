/* load.c - reading a file of some blocks to where the model wants them
 *
 * The first rank of every machine writes the file, all ranks read it, at the same
 * time: each takes its own copy to its own memory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/bench/inside.h"

enum { PATH_BYTES = 4096 };

struct load_bench {
    struct bench *b;
    char path[PATH_BYTES]; /* "" when there is no file */
    size_t bytes;          /* of the store */
};

static double bytes_of(const struct expect_list *list, enum dtype stored)
{
    double sum = 0.0;

    for (int i = 0; i < list->n; i++) {
        double n = 1.0;

        for (int k = 0; k < list->items[i].rank; k++)
            n *= (double)list->items[i].dims[k];
        sum += n * (double)dtype_bytes(stored);
    }
    return sum;
}

static enum status file_name(struct load_bench *l, struct err *e)
{
    int n = snprintf(l->path, sizeof(l->path), "%s/framefleet-bench-XXXXXX",
                     l->b->o->scratch);
    int fd;

    if (n < 0 || (size_t)n >= sizeof(l->path)) {
        l->path[0] = '\0';
        return err_set(e, ST_USAGE, "the name of folder '%s' is too long",
                       l->b->o->scratch);
    }
    fd = mkstemp(l->path);
    if (fd < 0) {
        l->path[0] = '\0';
        return err_set(e, ST_USAGE, "cannot make a file in '%s': %s", l->b->o->scratch,
                       strerror(errno));
    }
    close(fd);
    return ST_OK;
}

/* What real files hold: bf16. */
static enum status file_make(struct load_bench *l, struct err *e)
{
    struct bench *b = l->b;
    struct made_up how = {.seed = (uint64_t)b->o->seed, .stored = DT_BF16};
    struct bench_models models = bench_models_of((enum bench_shape)b->o->shape,
                                                 b->o->layers);
    struct expect_list list = EXPECT_LIST_INIT;
    enum status st = ST_OK;

    expect_dit(&list, &models.dit);
    b->r->load_model_bytes = bytes_of(&list, how.stored);
    expect_release(&list);
    models.dit.layers = b->o->load_blocks;
    expect_dit(&list, &models.dit);
    b->r->load_file_bytes = bytes_of(&list, how.stored);
    if (world_facts(b->world)->node_rank == 0)
        st = file_name(l, e);
    if (st == ST_OK && world_facts(b->world)->node_rank == 0)
        st = made_up_write(&list, &how, l->path, e);
    expect_release(&list);
    TRY(st);
    return world_node_bcast(b->world, l->path, sizeof(l->path), e);
}

static enum status store_load(struct load_bench *l, const struct component *c,
                              struct err *e)
{
    struct weights_policy policy = precision_policy(l->b->choice, MODEL_DIT);
    struct weights *w;
    enum status st;

    policy.threads = (int)l->b->o->engine.threads;
    TRY(weights_open(c, &policy, &w, e));
    st = weights_load(w, l->b->ops, e);
    l->bytes = weights_bytes(w);
    weights_close(w);
    return st;
}

static enum status load_pass(void *ctx, struct err *e)
{
    struct load_bench *l = ctx;
    struct component c;
    struct source *s;
    enum status st;

    TRY(source_open(l->path, &s, e));
    TRY(component_open(s, "transformer", &names_dit, &c, e));
    st = store_load(l, &c, e);
    component_close(&c);
    return st;
}

enum status bench_load(struct bench *b, struct bench_part_result *out, struct err *e)
{
    struct load_bench l = {.b = b};
    enum status st = file_make(&l, e);

    if (st == ST_OK)
        st = bench_repeat(b, load_pass, &l, true, &out->seconds, e);
    if (l.path[0] && world_facts(b->world)->node_rank == 0)
        unlink(l.path);
    out->ran = st == ST_OK;
    out->weight_bytes = out->peak_bytes = l.bytes;
    return st;
}
