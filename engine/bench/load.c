/* load.c - reading a file of some blocks to where the model wants them
 *
 * The first rank of every machine writes the file, all ranks have it in their memory
 * when a pass is done, whoever has read it (engine/pipeline/reading.h). Beside it: how
 * fast memory that could be read into is sent to where weights lie, by all ranks at
 * once, and how fast one thread reads the file from the page cache. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/bench/inside.h"
#include "engine/pipeline/reading.h"
#include "engine/weights/file.h"

enum { PATH_BYTES = 4096, SENT_BYTES = 16 << 20, SENDS = 8, DRAWN = 1 << 18 };

struct load_bench {
    struct bench *b;
    char path[PATH_BYTES]; /* "" when there is no file */
    size_t bytes;          /* of the store */
    struct comm *ranks;    /* NULL: ranks do not read together */
    struct reading reading;
    struct queue *queue;
    struct tensor from, to; /* of what is sent */
    struct file file;
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

/* ---- the file -------------------------------------------------------------------- */

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

/* What real files hold: bf16. How fast they are read does not depend on the numbers, so
 * that few of them are drawn. */
static enum status file_make(struct load_bench *l, struct err *e)
{
    struct bench *b = l->b;
    struct made_up how = {
        .seed = (uint64_t)b->o->seed, .stored = DT_BF16, .drawn = DRAWN};
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

/* ---- loading --------------------------------------------------------------------- */

static enum status store_load(struct load_bench *l, const struct component *c,
                              struct err *e)
{
    struct weights_policy policy = precision_policy(l->b->choice, MODEL_DIT);
    struct weights *w;
    enum status st;

    policy.threads = (int)l->b->o->engine.threads;
    reading_apply(&l->reading, &policy);
    TRY(weights_open(c, &policy, &w, e));
    st = weights_load(w, l->b->ops, e);
    l->bytes = weights_bytes(w);
    if (!world_torn(l->b->world))
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

/* Ranks that read together need each other's memory connected first. Memory that the
 * ranks of a machine share would stay until the end of the program, that of every pass,
 * so that it is taken only when it is asked for. */
static enum status readers_open(struct load_bench *l, struct err *e)
{
    struct bench *b = l->b;
    struct engine_options engine = b->o->engine;
    enum status st;

    if (engine.read_weights == READ_AUTO && ops_facts(b->ops)->space == MEM_HOST)
        engine.read_weights = READ_EACH;
    reading_init(&l->reading, &engine, b->ops);
    if (!l->reading.teams)
        return ST_OK;
    TRY(world_agree(b->world, ST_OK, e));
    st = comm_open_over(world_comm(b->world), b->ops, &l->ranks, e);
    if (st == ST_DEVICE)
        world_tear(b->world);
    team_use(&l->reading.team, l->ranks);
    return st;
}

/* ---- what stands beside it ------------------------------------------------------- */

static enum status send_pass(void *ctx, struct err *e)
{
    struct load_bench *l = ctx;

    for (int i = 0; i < SENDS; i++)
        TRY(ops_copy(l->b->ops, l->queue, &l->to, &l->from, e));
    return ops_queue_wait(l->b->ops, l->queue, e);
}

/* Into memory that lies ready: the part of reading that no copy can hide. */
static enum status read_pass(void *ctx, struct err *e)
{
    struct load_bench *l = ctx;
    int64_t n;

    for (int64_t at = 0; at < l->file.bytes; at += n) {
        n = l->file.bytes - at < SENT_BYTES ? l->file.bytes - at : SENT_BYTES;
        TRY(file_read(&l->file, at, l->from.data, (size_t)n, e));
    }
    return ST_OK;
}

static enum status beside_measure(struct load_bench *l, struct err *e)
{
    struct bench *b = l->b;
    struct bench_times t;
    enum status st;

    TRY(bench_repeat(b, send_pass, l, true, &t, e));
    b->r->load_send_rate = (double)SENDS * SENT_BYTES / t.median;
    TRY(file_open(l->path, &l->file, e));
    st = bench_repeat(b, read_pass, l, true, &t, e);
    if (st == ST_OK)
        b->r->load_read_rate = (double)l->file.bytes / t.median;
    file_close(&l->file);
    return st;
}

static enum status beside_run(struct load_bench *l, struct err *e)
{
    struct ops *ops = l->b->ops;
    void *pinned = NULL, *there = NULL;
    enum status st = ops_pinned_alloc(ops, SENT_BYTES, &pinned, e);

    if (st == ST_OK)
        st = bench_room(l->b, SENT_BYTES, &there, e);
    if (st == ST_OK)
        st = ops_queue_open(ops, NULL, 0, &l->queue, e);
    if (st == ST_OK) {
        memset(pinned, 0, SENT_BYTES);
        l->from = tensor_make1(pinned, DT_U8, MEM_HOST, SENT_BYTES);
        l->to = tensor_make1(there, DT_U8, ops_facts(ops)->space, SENT_BYTES);
        st = beside_measure(l, e);
    }
    ops_queue_close(ops, l->queue);
    bench_release(l->b, there, SENT_BYTES);
    ops_pinned_free(ops, pinned);
    return st;
}

static enum status load_run(struct load_bench *l, struct bench_times *out,
                            struct err *e)
{
    TRY(file_make(l, e));
    TRY(beside_run(l, e));
    TRY(readers_open(l, e));
    return bench_repeat(l->b, load_pass, l, true, out, e);
}

enum status bench_load(struct bench *b, struct bench_part_result *out, struct err *e)
{
    struct load_bench l = {.b = b};
    enum status st = load_run(&l, &out->seconds, e);

    if (l.path[0] && world_facts(b->world)->node_rank == 0)
        unlink(l.path);
    if (!world_torn(b->world))
        comm_close(l.ranks);
    out->ran = st == ST_OK;
    out->weight_bytes = out->peak_bytes = l.bytes;
    return st;
}
