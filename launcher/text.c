/* text.c - length first, then bytes */
#include "launcher/text.h"

enum status text_share(struct world *w, struct buf *text, struct err *e)
{
    size_t bytes = text->len;
    enum status st = ST_OK;

    TRY(world_bcast(w, &bytes, sizeof(bytes), e));
    if (world_facts(w)->rank > 0 && buf_reserve(text, bytes + 1)) {
        text->len = bytes;
        text->data[bytes] = '\0';
    }
    if (text->failed)
        st = err_set(e, ST_RESOURCE, "out of memory: %zu bytes of text", bytes);
    TRY(world_agree(w, st, e));
    return bytes ? world_bcast(w, text->data, bytes, e) : ST_OK;
}
