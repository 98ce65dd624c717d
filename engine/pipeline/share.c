/* share.c - a window of the world as the memory of a store */
#include "engine/pipeline/share.h"

static enum status share_open(void *self, size_t bytes, void **memory, bool *reads,
                              struct err *e)
{
    struct share *s = self;

    TRY(world_window_open(s->world, bytes, &s->window, e));
    *memory = world_window_data(s->window);
    *reads = world_facts(s->world)->node_rank == 0;
    return ST_OK;
}

static enum status share_settle(void *self, enum status st, void *data, size_t bytes,
                                struct err *e)
{
    struct share *s = self;

    TRY(world_agree(s->world, st, e));
    return world_node_bcast(s->world, data, bytes, e);
}

static void share_close(void *self, void *memory)
{
    struct share *s = self;

    (void)memory;
    world_window_close(s->window);
    s->window = NULL;
}

void share_init(struct share *s, struct world *world)
{
    *s = (struct share){
        .calls = {s, share_open, share_settle, share_close},
        .world = world,
    };
}
