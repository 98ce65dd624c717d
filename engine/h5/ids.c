/* ids.c - keeping and closing HDF5 identifiers */
#include "engine/h5/ids.h"

#include <assert.h>

hid_t h5_keep(struct h5_ids *ids, hid_t id)
{
    if (id >= 0) {
        assert(ids->n < H5_IDS_MAX);
        ids->id[ids->n++] = id;
    }
    return id;
}

bool h5_close(struct h5_ids *ids)
{
    bool fine = true;

    while (ids->n > 0)
        fine = H5Idec_ref(ids->id[--ids->n]) >= 0 && fine;
    return fine;
}
