/* err.c - formats the text of an error and keeps terminals safe from it */
#include "kernels/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Copy `raw` to `out`, showing control characters and DEL as \xNN. */
static void text_escape(char *out, size_t out_bytes, const char *raw)
{
    size_t used = 0;

    for (; *raw && used + 5 < out_bytes; raw++) {
        unsigned char c = (unsigned char)*raw;

        if (c < 0x20 || c == 0x7f) {
            snprintf(out + used, out_bytes - used, "\\x%02x", c);
            used += 4;
        } else {
            out[used++] = (char)c;
        }
    }
    out[used] = '\0';
}

void err_record(struct err *e, enum status st, const char *fmt, ...)
{
    char raw[ERR_TEXT_BYTES];
    va_list ap;

    if (!e)
        return;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof(raw), fmt, ap);
    va_end(ap);
    e->status = st;
    text_escape(e->text, sizeof(e->text), raw);
}

enum status err_prefix(struct err *e, const char *fmt, ...)
{
    char head[ERR_TEXT_BYTES];
    char whole[2 * ERR_TEXT_BYTES + 4];
    va_list ap;

    if (!e)
        return ST_OK;
    va_start(ap, fmt);
    vsnprintf(head, sizeof(head), fmt, ap);
    va_end(ap);
    snprintf(whole, sizeof(whole), "%s: %s", head, e->text);
    text_escape(e->text, sizeof(e->text), whole);
    return e->status;
}

int status_exit_code(enum status st)
{
    static const int codes[] = {
        [ST_OK] = 0,       [ST_USAGE] = 2,  [ST_UNBUILT] = 2,  [ST_INPUT] = 3,
        [ST_RESOURCE] = 4, [ST_DEVICE] = 5, [ST_STOPPED] = 75,
    };

    return codes[st];
}
