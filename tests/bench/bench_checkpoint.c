/* bench_checkpoint.c - what a checkpoint of a 14B-sized latent costs
 *
 *     ff_bench_checkpoint [FOLDER] [SAVES]
 *
 * 720x1280, 121 frames: four arrays [16,31,90,160]. `hold` is what a row waits for:
 * rows of tokens of the four arrays into the snapshot. `save` is what the thread does
 * after that, with its parts. The snapshots' memory is reserved before, for a second,
 * as while a model loads. FOLDER decides which disk is measured.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint/writer.h"
#include "engine/dit/patch.h"
#include "engine/h5/h5.h"
#include "kernels/base/clock.h"

static const struct latent_size size = {16, 31, 90, 160};
enum { TEXT_ROWS = 512, TEXT_WIDTH = 4096 };

static enum status constant_fill(struct checkpoint *ck, int row, struct err *e)
{
    int64_t text[4] = {TEXT_ROWS, TEXT_WIDTH, 1, 1};

    ck->kind = CHECKPOINT_RUNNING;
    ck->rows_done = row;
    ck->rows_total = 1000;
    ck->segments_total = 1;
    TRY(checkpoint_config(ck, "{}", NULL, e));
    TRY(checkpoint_ints_size(&ck->counter, size.frames, e));
    for (int64_t i = 0; i < size.frames; i++)
        ck->counter.data[i] = row;
    TRY(checkpoint_floats_size(&ck->cond, text, e));
    TRY(checkpoint_floats_size(&ck->uncond, text, e));
    memset(ck->cond.data, 0, checkpoint_floats_count(&ck->cond) * sizeof(float));
    memset(ck->uncond.data, 0, checkpoint_floats_count(&ck->uncond) * sizeof(float));
    return ST_OK;
}

static enum status states_fill(struct checkpoint *ck, const float *rows, struct err *e)
{
    struct checkpoint_floats *state[] = {&ck->x, &ck->x_last, &ck->m0, &ck->m1};
    int64_t dims[4] = {size.channels, size.frames, size.height, size.width};

    for (int i = 0; i < 4; i++) {
        TRY(checkpoint_floats_size(state[i], dims, e));
        memcpy(state[i]->data, rows, checkpoint_floats_count(state[i]) * sizeof(float));
    }
    return ST_OK;
}

/* What the thread does to them, as engine/pipeline/keep.c. */
static enum status states_order(struct checkpoint *ck, struct err *e)
{
    struct checkpoint_floats *state[] = {&ck->x, &ck->x_last, &ck->m0, &ck->m1};
    struct span all = {0, size.frames * (size.height / 2) * (size.width / 2)};
    float *latent = malloc(ck->x.room * sizeof(float));

    if (!latent)
        return err_set(e, ST_RESOURCE, "out of memory");
    for (int i = 0; i < 4; i++) {
        float *rows = state[i]->data;

        latent_from_patch(latent, rows, &size, all);
        state[i]->data = latent;
        latent = rows;
    }
    free(latent);
    return ST_OK;
}

static enum status save_one(struct checkpoint_writer *w, const float *rows, int row,
                            struct err *e)
{
    struct checkpoint *ck = checkpoint_writer_begin(w);
    struct checkpoint_news news;
    double start;

    TRY(constant_fill(ck, row, e));
    start = clock_seconds();
    TRY(states_fill(ck, rows, e));
    start = clock_seconds() - start;
    checkpoint_writer_submit(w, true);
    TRY(checkpoint_writer_wait(w, &news, e));
    printf("%4d  hold %6.1f ms   save %7.1f ms (build %.1f, write %.1f, verify %.1f, "
           "sync %.1f)   %.1f MiB\n",
           row, 1e3 * start, 1e3 * news.seconds, 1e3 * news.last.build_seconds,
           1e3 * news.last.write_seconds, 1e3 * news.last.verify_seconds,
           1e3 * news.last.sync_seconds, (double)news.last.bytes / (1 << 20));
    return ST_OK;
}

static void room_reserve(struct checkpoint_writer *w, size_t n)
{
    struct checkpoint_room room = {
        .state = n, .cond = TEXT_ROWS * TEXT_WIDTH, .uncond = TEXT_ROWS * TEXT_WIDTH};

    checkpoint_writer_reserve(w, &room);
    sleep(1);
}

static enum status saves_run(const char *folder, long saves, struct err *e)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    size_t n = (size_t)(size.channels * size.frames * size.height * size.width);
    float *rows = malloc(n * sizeof(float));
    struct checkpoint_writer *w = NULL;
    struct checkpoint_store *s;
    enum status st;

    if (!rows)
        return err_set(e, ST_RESOURCE, "out of memory");
    for (size_t i = 0; i < n; i++)
        rows[i] = (float)(i % 4093) * 0.001f - 2.0f;
    st = checkpoint_store_open(folder, true, &o, &s, e);
    if (st == ST_OK) {
        st = checkpoint_claim(s, e);
        if (st == ST_OK)
            st = checkpoint_writer_open(s, states_order, &w, e);
        if (st == ST_OK)
            room_reserve(w, n);
        for (int row = 1; row <= saves && st == ST_OK; row++)
            st = save_one(w, rows, row, e);
        checkpoint_writer_close(w);
        checkpoint_clear(s);
        checkpoint_store_close(s);
        remove(folder);
    }
    free(rows);
    return st;
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    if (saves_run(argc > 1 ? argv[1] : "bench-checkpoints",
                  argc > 2 ? strtol(argv[2], NULL, 10) : 5, &e) != ST_OK)
        fprintf(stderr, "%s\n", e.text);
    return status_exit_code(e.status);
}
