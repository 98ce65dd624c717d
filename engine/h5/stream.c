/* stream.c - takes frames off the pipe and checks order, lengths, shapes and values */
#include "engine/h5/stream.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "kernels/base/utf8.h"

struct stream {
    int fd;
    int silence_ms;
};

static bool bytes_read(const struct stream *s, void *out, size_t n)
{
    char *at = out;

    while (n > 0) {
        struct pollfd p = {s->fd, POLLIN, 0};
        int ready = poll(&p, 1, s->silence_ms);
        ssize_t got;

        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        got = read(s->fd, at, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

/* The head of the next frame. An error frame is taken whole and ends the stream. */
static enum stream_end head_read(const struct stream *s, struct wire_head *head,
                                 struct err *e)
{
    char text[ERR_TEXT_BYTES];

    if (!bytes_read(s, head, sizeof(*head)))
        return STREAM_BROKEN;
    if (head->tag != WIRE_ERROR)
        return STREAM_WHOLE;
    if (head->bytes >= sizeof(text) || !bytes_read(s, text, head->bytes))
        return STREAM_BROKEN;
    text[head->bytes] = '\0';
    err_set(e, ST_INPUT, "%s", text);
    return STREAM_REFUSED;
}

static bool shape_accept(struct h5_array *a, const int64_t *dims, int64_t *count)
{
    *count = 1;
    for (int k = 0; k < a->rank; k++) {
        if (dims[k] < 1 || dims[k] > a->max_count / *count ||
            (a->dims[k] >= 0 && a->dims[k] != dims[k]))
            return false;
        *count *= dims[k];
    }
    memcpy(a->dims, dims, (size_t)a->rank * sizeof(dims[0]));
    return true;
}

static enum stream_end finite_check(const struct h5_array *a, int64_t begin, int64_t n,
                                    struct err *e)
{
    for (int64_t i = begin; i < begin + n && !a->integers; i++) {
        if (!isfinite(a->data[i])) {
            err_set(e, ST_INPUT, "dataset '%s' is not finite at element %lld", a->path,
                    (long long)i);
            return STREAM_REFUSED;
        }
    }
    return STREAM_WHOLE;
}

/* Pieces until `count` values are there; the first one that is not finite ends it. */
static enum stream_end values_read(const struct stream *s, const struct h5_array *a,
                                   int64_t count, struct err *e)
{
    char *to = a->integers ? (char *)a->ints : (char *)a->data;
    size_t item = wire_item_bytes(a);
    int64_t done = 0;

    while (done < count) {
        struct wire_head head;
        enum stream_end end = head_read(s, &head, e);
        int64_t n;

        if (end != STREAM_WHOLE)
            return end;
        n = (int64_t)(head.bytes / item);
        if (head.tag != WIRE_DATA || head.bytes % item || n == 0 || n > count - done ||
            !bytes_read(s, to + (size_t)done * item, head.bytes))
            return STREAM_BROKEN;
        end = finite_check(a, done, n, e);
        if (end != STREAM_WHOLE)
            return end;
        done += n;
    }
    return STREAM_WHOLE;
}

static enum stream_end array_read(const struct stream *s, struct h5_array *a,
                                  struct err *e)
{
    int64_t dims[H5_RANK_MAX];
    struct wire_head head;
    enum stream_end end = head_read(s, &head, e);
    int64_t count;

    if (end != STREAM_WHOLE)
        return end;
    a->found = head.tag == WIRE_SHAPE;
    if (head.tag == WIRE_ABSENT && head.bytes == 0) {
        if (a->optional)
            return STREAM_WHOLE;
        err_set(e, ST_INPUT, "no dataset '%s'", a->path);
        return STREAM_REFUSED;
    }
    if (!a->found || head.bytes != (size_t)a->rank * sizeof(dims[0]) ||
        !bytes_read(s, dims, head.bytes) || !shape_accept(a, dims, &count))
        return STREAM_BROKEN;
    return wire_values_wanted(a) ? values_read(s, a, count, e) : STREAM_WHOLE;
}

static enum stream_end text_accept(const struct stream *s, struct h5_attr *t, size_t n,
                                   struct err *e)
{
    if (n >= t->text_bytes || !bytes_read(s, t->text, n))
        return STREAM_BROKEN;
    t->text[n] = '\0';
    if (memchr(t->text, '\0', n) || utf8_valid_bytes(t->text, n) != n) {
        err_set(e, ST_INPUT, "attribute '%s' is not UTF-8", t->name);
        return STREAM_REFUSED;
    }
    return STREAM_WHOLE;
}

static enum stream_end value_read(const struct stream *s, struct h5_attr *t,
                                  size_t bytes, struct err *e)
{
    if (t->kind == H5_ATTR_TEXT)
        return text_accept(s, t, bytes, e);
    if (bytes != 8)
        return STREAM_BROKEN;
    if (t->kind == H5_ATTR_INT)
        return bytes_read(s, &t->i, 8) ? STREAM_WHOLE : STREAM_BROKEN;
    if (!bytes_read(s, &t->f, 8))
        return STREAM_BROKEN;
    if (!isfinite(t->f)) {
        err_set(e, ST_INPUT, "attribute '%s' is not finite", t->name);
        return STREAM_REFUSED;
    }
    return STREAM_WHOLE;
}

static enum stream_end attr_read(const struct stream *s, struct h5_attr *t,
                                 struct err *e)
{
    struct wire_head head;
    enum stream_end end = head_read(s, &head, e);

    if (end != STREAM_WHOLE)
        return end;
    t->found = head.tag == WIRE_VALUE;
    if (t->found)
        return value_read(s, t, head.bytes, e);
    if (head.tag != WIRE_ABSENT || head.bytes != 0)
        return STREAM_BROKEN;
    if (t->optional)
        return STREAM_WHOLE;
    err_set(e, ST_INPUT, "no attribute '%s' at '/%s'", t->name, t->object);
    return STREAM_REFUSED;
}

enum stream_end stream_read(int fd, int silence_ms, struct h5_array *arrays,
                            int n_arrays, struct h5_attr *attrs, int n_attrs,
                            struct err *e)
{
    const struct stream s = {fd, silence_ms};
    enum stream_end end = STREAM_WHOLE;
    struct wire_head head;

    for (int i = 0; i < n_arrays && end == STREAM_WHOLE; i++)
        end = array_read(&s, &arrays[i], e);
    for (int i = 0; i < n_attrs && end == STREAM_WHOLE; i++)
        end = attr_read(&s, &attrs[i], e);
    if (end == STREAM_WHOLE)
        end = head_read(&s, &head, e);
    if (end == STREAM_WHOLE && (head.tag != WIRE_END || head.bytes != 0))
        end = STREAM_BROKEN;
    return end;
}
