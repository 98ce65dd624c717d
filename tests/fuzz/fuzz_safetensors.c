/* fuzz_safetensors.c - headers: every range that comes out lies in the file */
#include <stdlib.h>

#include "engine/weights/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const struct file *f = fuzz_file(data, bytes);
    struct stored_list list = STORED_LIST_INIT;
    struct err e = ERR_INIT;
    enum status st = safetensors_list(f, 0, &list, &e);
    int64_t sum = 0;

    fuzz_check(st, &e);
    for (int i = 0; st == ST_OK && i < list.n; i++) {
        const struct stored *t = &list.items[i];

        if (t->offset < 9 || t->bytes < 0 || t->offset > f->bytes - t->bytes ||
            stored_elements(t) * (int64_t)dtype_bytes(t->dtype) != t->bytes)
            abort();
        sum += t->bytes;
    }
    if (sum > f->bytes)
        abort();
    stored_release(&list);
    return 0;
}
