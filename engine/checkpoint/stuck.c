/* stuck.c - reads with suspicion, writes as the owner file is written */
#include "engine/checkpoint/stuck.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint/folder.h"
#include "kernels/base/json.h"

enum { NUMBER_MAX = 999999999 };

/* Printable, one line, cut where it is too long. */
static void reason_clean(const char *text, char out[STUCK_REASON_BYTES])
{
    size_t n = 0;

    for (; text[n] && n < STUCK_REASON_BYTES - 1; n++)
        out[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    out[n] = '\0';
}

static enum status members_read(struct json_value root, struct stuck *out)
{
    struct json_value reason;
    const char *text;

    TRY(json_get_int(root, "segment", 0, NUMBER_MAX, &out->segment, NULL));
    TRY(json_get_int(root, "row", 0, NUMBER_MAX, &out->row, NULL));
    TRY(json_get_int(root, "code", 1, 255, &out->code, NULL));
    TRY(json_get_int(root, "restarts", 1, NUMBER_MAX, &out->restarts, NULL));
    TRY(json_get(root, "reason", JSON_STRING, &reason, NULL));
    TRY(json_string(reason, &text, NULL));
    reason_clean(text, out->reason);
    return ST_OK;
}

void stuck_read(const struct checkpoint_store *s, struct stuck *out)
{
    static const struct stuck none;
    char text[OWNER_BYTES];
    struct stuck got = none;
    struct json *doc;

    *out = none;
    if (folder_get(s, STUCK_FILE, text, NULL) != ST_OK ||
        json_parse(STUCK_FILE, text, strlen(text), &JSON_LIMITS_CONFIG, &doc, NULL) !=
            ST_OK)
        return;
    if (members_read(json_root(doc), &got) == ST_OK)
        *out = got;
    json_close(doc);
}

enum status stuck_add(const struct checkpoint_store *s, int64_t segment, int64_t row,
                      int64_t code, const char *reason, struct err *e)
{
    char clean[STUCK_REASON_BYTES];
    struct buf text = BUF_INIT;
    struct json_out out;
    struct stuck last;
    bool same;
    enum status st;

    TRY(owner_check(s, e));
    stuck_read(s, &last);
    same = last.segment == segment && last.row == row && last.code == code;
    reason_clean(reason, clean);
    json_out_init(&out, &text, JSON_COMPACT);
    json_out_object(&out, NULL);
    json_out_int(&out, "segment", segment);
    json_out_int(&out, "row", row);
    json_out_int(&out, "code", code);
    json_out_int(&out, "restarts",
                 same && last.restarts < NUMBER_MAX ? last.restarts + 1 : 1);
    json_out_string(&out, "reason", clean);
    json_out_end(&out);
    st = text.failed ? err_set(e, ST_RESOURCE, "no memory to write '%s'", STUCK_FILE)
                     : folder_put(s, STUCK_FILE, buf_text(&text), e);
    buf_release(&text);
    return st;
}

void stuck_remove(const struct checkpoint_store *s)
{
    unlinkat(s->fd, STUCK_FILE, 0);
}
