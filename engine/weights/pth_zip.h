/* pth_zip.h - the directory of a zip file of stored entries
 *
 * Private to the .pth reader; the only user of libzip.
 */
#ifndef ENGINE_WEIGHTS_PTH_ZIP_H
#define ENGINE_WEIGHTS_PTH_ZIP_H

#include "engine/weights/file.h"

struct zip_item {
    char *name;
    int64_t offset, bytes; /* of the payload in the file */
};

struct zip_list {
    struct zip_item *items; /* sorted by name */
    int n;
};

/* List the entries of `f`. Compressed, encrypted, duplicate, overlapping or oddly named
 * entries are refused. The caller releases *out. */
enum status zip_list_read(const struct file *f, struct zip_list *out, struct err *e);
const struct zip_item *zip_list_find(const struct zip_list *z, const char *name);
void zip_list_release(struct zip_list *z);

#endif
