/* fuzz_pth.c - whole .pth files: every tensor lies in the file, none on another */
#include <stdlib.h>

#include "engine/weights/pth.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const struct file *f = fuzz_file(data, bytes);
    struct stored_list list = STORED_LIST_INIT;
    struct err e = ERR_INIT;
    enum status st = pth_list(f, 0, &list, &e);
    int64_t sum = 0;

    fuzz_check(st, &e);
    for (int i = 0; st == ST_OK && i < list.n; i++) {
        const struct stored *t = &list.items[i];

        if (t->offset < 0 || t->bytes < 0 || t->offset > f->bytes - t->bytes ||
            stored_elements(t) * (int64_t)dtype_bytes(t->dtype) != t->bytes)
            abort();
        sum += t->bytes;
    }
    if (sum > f->bytes)
        abort();
    stored_release(&list);
    return 0;
}
