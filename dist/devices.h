/* devices.h - which GPU a rank works on, and what is refused before it goes wrong
 *
 * The rules of cluster-and-recovery 1.3. With V GPUs visible to each of n ranks of a
 * machine:
 *
 *     V >= n             GPU = the rank's number among those of the machine
 *     V == 1 and n > 1   GPU 0, which must be another one for every rank ("hidden
 *                        peers": exchanges between them may be slow)
 *     otherwise          refused
 *
 * No two ranks of a launch may have the same GPU: NCCL would hang. All must choose
 * between ways of a product alike: bytes would depend on which rank has a row.
 *
 *     TRY(devices_open(w, "cuda", &options, &ops, &hidden, e));
 */
#ifndef DIST_DEVICES_H
#define DIST_DEVICES_H

#include "dist/world.h"
#include "kernels/ops.h"

enum { DEVICE_NAME_BYTES = 64 };

/* Open the backend for this rank, on a device of its own where it has devices, whatever
 * device `opt` says. *hidden:
 * do ranks of a machine see one GPU each? What is refused is ST_USAGE on all ranks; the
 * caller closes *out, also after a failure, when it is not NULL. Collective. */
enum status devices_open(struct world *w, const char *backend,
                         const struct ops_options *opt, struct ops **out, bool *hidden,
                         struct err *e);

/* `visible` 0: the backend works on the host, device 0. ST_USAGE with both numbers when
 * there are too few. Not collective. */
enum status device_choose(int visible, const struct world_facts *f, int *device,
                          struct err *e);

/* What a rank works on. */
struct device_claim {
    char host[WORLD_HOST_BYTES];
    char device[DEVICE_NAME_BYTES]; /* empty: the host */
    int visible;
    char chooses[DEVICE_NAME_BYTES]; /* ops_facts; empty: there is one way */
};

/* ST_USAGE with the first two ranks that claim the same. Not collective. */
enum status devices_distinct(const struct device_claim *all, int n, struct err *e);

/* ST_USAGE with the first rank that chooses otherwise than rank 0. Not collective. */
enum status devices_alike(const struct device_claim *all, int n, struct err *e);

/* Both for the ranks of a launch, by `device` and `chooses` of the facts. Collective.
 */
enum status devices_check(struct world *w, const struct ops_facts *facts, int visible,
                          struct err *e);

#endif
