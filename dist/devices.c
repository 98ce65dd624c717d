/* devices.c - one GPU per rank, by number and by name */
#include "dist/devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status device_choose(int visible, const struct world_facts *f, int *device,
                          struct err *e)
{
    if (visible > 1 && visible < f->node_size)
        return err_set(e, ST_USAGE,
                       "cannot place %d ranks on the %d gpus of '%s': start one rank "
                       "per gpu",
                       f->node_size, visible, f->host);
    *device = visible > 1 ? f->node_rank : 0;
    return ST_OK;
}

static enum status refuse(const struct device_claim *claim, int a, int b, struct err *e)
{
    if (claim->visible == 1)
        return err_set(
            e, ST_USAGE,
            "cannot place ranks %d and %d of '%s' on one gpu, %s: one gpu is "
            "visible to each, its peers are hidden; make all visible to all",
            a, b, claim->host, claim->device);
    return err_set(e, ST_USAGE, "cannot place ranks %d and %d of '%s' on one gpu, %s",
                   a, b, claim->host, claim->device);
}

enum status devices_distinct(const struct device_claim *all, int n, struct err *e)
{
    for (int i = 0; i < n; i++) {
        for (int k = i + 1; k < n && all[i].device[0]; k++) {
            if (strcmp(all[i].device, all[k].device) == 0)
                return refuse(&all[i], i, k, e);
        }
    }
    return ST_OK;
}

enum status devices_alike(const struct device_claim *all, int n, struct err *e)
{
    for (int i = 1; i < n; i++) {
        if (strcmp(all[i].chooses, all[0].chooses) != 0)
            return err_set(e, ST_USAGE,
                           "cannot work out products alike: rank %d of '%s' has %s, "
                           "rank 0 of '%s' %s; give all ranks one cuBLAS and one file "
                           "of algorithms",
                           i, all[i].host, all[i].chooses, all[0].host, all[0].chooses);
    }
    return ST_OK;
}

enum status devices_check(struct world *w, const struct ops_facts *facts, int visible,
                          struct err *e)
{
    const struct world_facts *f = world_facts(w);
    struct device_claim mine = {.visible = visible};
    struct device_claim *all = calloc((size_t)f->size, sizeof(*all));
    enum status st;

    if (!all)
        return err_set(e, ST_RESOURCE, "out of memory: %d ranks", f->size);
    snprintf(mine.host, sizeof(mine.host), "%s", f->host);
    snprintf(mine.device, sizeof(mine.device), "%s",
             facts->device ? facts->device : "");
    snprintf(mine.chooses, sizeof(mine.chooses), "%s",
             facts->chooses ? facts->chooses : "");
    st = world_gather(w, &mine, sizeof(mine), all, e);
    if (st == ST_OK)
        st = devices_distinct(all, f->size, e);
    if (st == ST_OK)
        st = devices_alike(all, f->size, e);
    free(all);
    return st;
}

enum status devices_open(struct world *w, const char *backend,
                         const struct ops_options *opt, struct ops **out, bool *hidden,
                         struct err *e)
{
    struct ops_options mine = *opt;
    int visible;

    TRY(ops_devices(backend, &visible, e));
    TRY(device_choose(visible, world_facts(w), &mine.device, e));
    TRY(ops_open(backend, &mine, out, e));
    *hidden = visible == 1 && world_facts(w)->node_size > 1;
    return devices_check(w, ops_facts(*out), visible, e);
}
