/* finished.c - reads the tag of a video */
#include "launcher/finished.h"

#include "engine/checkpoint/identity.h"
#include "engine/media/media.h"

static enum status tag_check(struct settings_doc *d, const char *tag, struct err *e)
{
    struct buf said = BUF_INIT, text = BUF_INIT;
    struct json_out out;
    enum status st;

    TRY(settings_fold(d, e));
    json_out_init(&out, &said, JSON_COMPACT);
    settings_print_said(d, &out);
    st = identity_contradiction(tag, buf_text(&said), d->values.job.accept_change,
                                &text, NULL);
    if (st == ST_OK && text.len)
        st = err_set(e, ST_INPUT, "the finished video '%s' is of another job: %s",
                     d->values.job.output, buf_text(&text));
    else
        st = ST_OK; /* somebody else's tag */
    buf_release(&said);
    buf_release(&text);
    return st;
}

enum status finished_check(struct settings_doc *d, struct err *e)
{
    struct media_reader *reader;
    const char *tag;
    enum status st = ST_OK;

    if (media_read_open(d->values.job.output, &reader, NULL) != ST_OK)
        return ST_OK;
    tag = media_read_tag(reader, "comment");
    if (tag)
        st = tag_check(d, tag, e);
    media_read_close(reader);
    return st;
}
