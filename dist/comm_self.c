/* comm_self.c - the transport of a rank that is alone: nothing ever travels */
#include <assert.h>
#include <stdlib.h>

#include "dist/comm_transport.h"

static enum status self_open(struct comm **out, struct err *e)
{
    struct comm *c = calloc(1, sizeof(*c));

    if (!c)
        return err_set(e, ST_RESOURCE, "out of host memory for a communicator");
    *c = (struct comm){.transport = &comm_self, .size = 1};
    *out = c;
    return ST_OK;
}

static void self_close(struct comm *c)
{
    free(c);
}

static enum status self_split(struct comm *c, int color, int key, struct comm **out,
                              struct err *e)
{
    (void)c;
    (void)key;
    if (color >= 0)
        return self_open(out, e);
    *out = NULL;
    return ST_OK;
}

static enum status self_split_node(struct comm *c, struct comm **out, struct err *e)
{
    (void)c;
    return self_open(out, e);
}

static enum status self_flight_create(struct comm *c, struct comm_flight **out,
                                      struct err *e)
{
    struct comm_flight *f = calloc(1, sizeof(*f));

    (void)c;
    if (!f)
        return err_set(e, ST_RESOURCE, "out of host memory for a communicator");
    *out = f;
    return ST_OK;
}

static void self_flight_destroy(struct comm_flight *f)
{
    free(f);
}

static enum status self_message(struct comm_flight *f, int peer, struct comm_piece p,
                                struct err *e)
{
    (void)f;
    (void)peer;
    (void)p;
    (void)e;
    assert(!"a rank that is alone has no peer");
    return ST_OK;
}

static enum status self_sum(struct comm_flight *f, int64_t *values, int64_t n,
                            struct err *e)
{
    (void)f;
    (void)values;
    (void)n;
    (void)e;
    return ST_OK;
}

static enum status self_least(struct comm_flight *f, int *word, struct err *e)
{
    (void)f;
    (void)word;
    (void)e;
    return ST_OK;
}

static enum status self_barrier(struct comm_flight *f, struct err *e)
{
    (void)f;
    (void)e;
    return ST_OK;
}

static enum status self_test(struct comm_flight *f, bool *done, struct err *e)
{
    (void)f;
    (void)e;
    *done = true;
    return ST_OK;
}

const struct comm_transport comm_self = {
    .name = "self",
    .open = self_open,
    .close = self_close,
    .split = self_split,
    .split_node = self_split_node,
    .flight_create = self_flight_create,
    .flight_destroy = self_flight_destroy,
    .send = self_message,
    .receive = self_message,
    .broadcast = self_message,
    .sum = self_sum,
    .least = self_least,
    .barrier = self_barrier,
    .test = self_test,
};
