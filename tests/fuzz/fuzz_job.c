/* fuzz_job.c - JSON job files: settings taken from them print as JSON that they take */
#include <stdlib.h>
#include <string.h>

#include "launcher/settings.h"
#include "tests/fuzz/fuzz.h"

/* The settings as --print-job shows them. */
static void print(const struct settings_doc *d, struct buf *out)
{
    struct json_out o;

    json_out_init(&o, out, JSON_COMPACT);
    settings_print(d, true, &o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct settings_doc d;
    struct buf text = BUF_INIT;
    struct json *job, *printed;
    struct err e = ERR_INIT;
    enum status st = json_parse("job", (const char *)data, bytes, &JSON_LIMITS_CONFIG,
                                &job, &e);

    fuzz_check(st, &e);
    if (st != ST_OK)
        return 0;
    if (settings_init(&d, &e) != ST_OK)
        abort();
    st = settings_from_json(&d, json_root(job), &e);
    fuzz_check(st, &e);
    print(&d, &text);
    if (text.len <= JSON_LIMITS_CONFIG.text_bytes) {
        if (json_parse("printed", buf_text(&text), text.len, &JSON_LIMITS_CONFIG,
                       &printed, &e) != ST_OK)
            abort();
        json_close(printed);
    }
    buf_release(&text);
    settings_release(&d);
    json_close(job);
    return 0;
}
