/* keep_match.c - digests, mesh, precision, build and machine of two runs, compared */
#include "engine/pipeline/keep_match.h"

#include <stdio.h>
#include <string.h>

static void warn(struct keep *k, const struct err *line)
{
    if (k->events.note)
        k->events.note(k->events.ctx, "checkpoint", line->text);
}

/* Ring ranks round otherwise than one rank: another degree is another result. */
static bool ring_differs(const struct keep *k)
{
    const char *then = strrchr(k->from.mesh, 'r'), *now = strrchr(k->mesh, 'r');

    return then && now && strcmp(then, now) != 0;
}

static enum status ring_check(const struct keep *k, struct err *e)
{
    if (!ring_differs(k) || identity_accepts(k->job->accept_change, "ring"))
        return ST_OK;
    return err_set(e, ST_INPUT,
                   "the checkpoint was written on the mesh %s, this one is %s: another "
                   "ring degree gives other bytes, --accept_change ring lets them "
                   "differ",
                   k->from.mesh, k->mesh);
}

/* What 'auto' has become. */
static enum status precision_check(const struct keep *k, struct err *e)
{
    if (strcmp(k->from.precision, k->precision) == 0 ||
        identity_accepts(k->job->accept_change, "precision"))
        return ST_OK;
    return err_set(e, ST_INPUT,
                   "the checkpoint was computed in %s, this run computes in %s: "
                   "--accept_change precision lets the bytes differ",
                   k->from.precision, k->precision);
}

void keep_backend(const struct keep *k, char out[CHECKPOINT_NOTE_BYTES])
{
    bool more = k->machine && k->machine[0];

    snprintf(out, CHECKPOINT_NOTE_BYTES, "%s%s%s%s", k->backend, more ? " (" : "",
             more ? k->machine : "", more ? ")" : "");
}

void keep_program(char out[CHECKPOINT_NOTE_BYTES])
{
    snprintf(out, CHECKPOINT_NOTE_BYTES, "framefleet %s", FF_VERSION);
}

/* What strangers wrote is made printable. */
static void line_warn(struct keep *k, const char *what, const char *then,
                      const char *now, const char *so)
{
    struct err line = ERR_INIT;

    err_set(&line, ST_INPUT, "warning: the checkpoint was %s '%s', this is '%s': %s",
            what, then, now, so);
    warn(k, &line);
}

static void other_warn(struct keep *k, const char *then, const char *now)
{
    if (strcmp(then, now) != 0)
        line_warn(k, "written by", then, now, "equal within rounding, not to the byte");
}

/* What is allowed, and not without a word. */
static enum status changes_warn(struct keep *k, struct err *e)
{
    static const char accepted[] = "accepted, the bytes may differ";
    char now[CHECKPOINT_NOTE_BYTES];
    struct buf text = BUF_INIT;
    enum status st = identity_accepted(&k->from, &k->identity, &text, e);

    if (st == ST_OK && text.len) {
        struct err line = ERR_INIT;

        err_set(&line, ST_INPUT, "warning: %s: %s", accepted, buf_text(&text));
        warn(k, &line);
    }
    buf_release(&text);
    if (ring_differs(k))
        line_warn(k, "written on the mesh", k->from.mesh, k->mesh, accepted);
    if (strcmp(k->from.precision, k->precision) != 0)
        line_warn(k, "computed in", k->from.precision, k->precision, accepted);
    keep_program(now);
    other_warn(k, k->from.program, now);
    keep_backend(k, now);
    other_warn(k, k->from.backend, now);
    return st;
}

enum status keep_match(struct keep *k, struct err *e)
{
    TRY(identity_match(&k->from, k->folder, &k->identity, e));
    TRY(ring_check(k, e));
    TRY(precision_check(k, e));
    return changes_warn(k, e);
}
