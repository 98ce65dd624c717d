/* ids.h - HDF5 identifiers that are closed together, in reverse order
 *
 *     struct h5_ids ids = {{0}, 0};
 *     hid_t space = h5_keep(&ids, H5Dget_space(dset));
 *     …
 *     h5_close(&ids);
 *
 * Negative identifiers (failures) pass through unkept, so a chain of calls needs one
 * check at its end.
 */
#ifndef ENGINE_H5_IDS_H
#define ENGINE_H5_IDS_H

#include <hdf5.h>

enum { H5_IDS_MAX = 12 };

struct h5_ids {
    hid_t id[H5_IDS_MAX];
    int n;
};

hid_t h5_keep(struct h5_ids *ids, hid_t id);

/* Close all; false when closing one failed. */
bool h5_close(struct h5_ids *ids);

#endif
