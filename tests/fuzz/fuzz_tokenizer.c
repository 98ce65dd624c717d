/* fuzz_tokenizer.c - tokenizer files: what opens encodes, with ids inside the
 * vocabulary
 *
 * The library that finally parses the file is not ours; spm_file.c stands before it and
 * must refuse what would hurt it. */
#include <stdlib.h>
#include <string.h>

#include "engine/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

static void encode(const struct tokenizer *t, const char *text)
{
    int32_t ids[64];
    struct err e = ERR_INIT;
    int n = 0;
    enum status st = tokenizer_encode(t, text, strlen(text), ids, 64, &n, &e);

    fuzz_check(st, &e);
    if (st != ST_OK)
        return;
    if (n < 1 || n > 64)
        abort();
    for (int i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= tokenizer_vocab(t))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const enum tokenizer_mode modes[] = {TOKENIZER_HF, TOKENIZER_SPM};

    for (int i = 0; i < 2; i++) {
        struct tokenizer_options opt = {modes[i], 10};
        struct tokenizer *t;
        struct err e = ERR_INIT;
        enum status st = tokenizer_open_bytes(data, bytes, "input", &opt, &t, &e);

        fuzz_check(st, &e);
        if (st != ST_OK)
            continue;
        encode(
            t,
            "A cat's caf\xc3\xa9 </s> <extra_id_3>\xf0\x9f\x98\x80 \xef\xac\x81 1/2");
        encode(t, "");
        tokenizer_close(t);
    }
    return 0;
}
