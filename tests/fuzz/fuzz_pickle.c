/* fuzz_pickle.c - the pickle interpreter alone, without a zip around it */
#include <stdlib.h>
#include <string.h>

#include "engine/weights/pickle.h"
#include "tests/fuzz/fuzz.h"

static enum status visit(void *self, const struct pickle_tensor *t, struct err *e)
{
    int64_t n = t->item_bytes;

    (void)self;
    (void)e;
    for (int i = 0; i < t->rank; i++)
        n *= t->dims[i];
    if (!t->name[0] || strlen(t->name) > STORED_NAME_BYTES || t->dtype < 0 ||
        n != t->bytes || t->offset_bytes < 0 ||
        t->bytes > t->storage_bytes - t->offset_bytes)
        abort();
    return ST_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct err e = ERR_INIT;

    fuzz_check(pickle_run("input", data, bytes, visit, NULL, &e), &e);
    return 0;
}
