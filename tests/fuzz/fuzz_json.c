/* fuzz_json.c - job files and configurations: what parses survives canonical form */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/json.h"
#include "tests/fuzz/fuzz.h"

static void ask(struct json_value v)
{
    struct err e = ERR_INIT;
    int64_t n, list[4];
    double d, pair[2];
    const char *s;
    bool b;
    int count;

    fuzz_check(json_int(v, -10, 1000, &n, &e), &e);
    fuzz_check(json_double(v, -1e30, 1e30, &d, &e), &e);
    fuzz_check(json_string(v, &s, &e), &e);
    fuzz_check(json_bool(v, &b, &e), &e);
    fuzz_check(json_ints(v, 0, 1 << 20, 4, list, &count, &e), &e);
    fuzz_check(json_doubles(v, 0, 1, 2, pair, &e), &e);
    fuzz_check(json_opt_int(v, "a", 0, 9, &n, &e), &e);
    fuzz_check(json_get_string(v, "a", &s, &e), &e);
    for (v = json_first(v); json_exists(v); v = json_next(v))
        ask(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct buf one = BUF_INIT, two = BUF_INIT;
    struct err e = ERR_INIT;
    struct json *d, *again;
    enum status st = json_parse("input", (const char *)data, bytes, &JSON_LIMITS_CONFIG,
                                &d, &e);

    fuzz_check(st, &e);
    if (st != ST_OK)
        return 0;
    ask(json_root(d));
    json_canonical(json_root(d), &one);
    if (one.len <= JSON_LIMITS_CONFIG.text_bytes) {
        if (json_parse("again", buf_text(&one), one.len, &JSON_LIMITS_CONFIG, &again,
                       &e) != ST_OK)
            abort();
        json_canonical(json_root(again), &two);
        if (strcmp(buf_text(&one), buf_text(&two)) != 0)
            abort();
        json_close(again);
    }
    json_close(d);
    buf_release(&one);
    buf_release(&two);
    return 0;
}
