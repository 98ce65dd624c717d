/* progress.c - draws the bar, prints the lines, appends the log */
#include "launcher/progress.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kernels/base/json.h"

enum { BAR_CELLS = 24 };

static const char *stage_name(enum pipeline_stage stage)
{
    static const char *const names[] = {"load", "encode", "denoise", "decode"};

    return names[stage];
}

enum status progress_open(struct progress *p, bool speaking, const char *log_path,
                          struct err *e)
{
    memset(p, 0, sizeof(*p));
    if (!speaking)
        return ST_OK;
    p->out = stderr;
    p->terminal = isatty(STDERR_FILENO);
    if (!log_path)
        return ST_OK;
    p->log = fopen(log_path, "ae");
    if (!p->log)
        return err_set(e, ST_USAGE, "cannot open log '%s': %s", log_path,
                       strerror(errno));
    return ST_OK;
}

/* Seconds as 1:02:03, or 2:03 below an hour. */
static void time_format(double seconds, char *out, size_t bytes)
{
    long s = (long)(seconds + 0.5);

    if (s >= 3600)
        snprintf(out, bytes, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, bytes, "%ld:%02ld", s / 60, s % 60);
}

static void bar_draw(struct progress *p, const struct pipeline_progress *at)
{
    int full = at->steps ? BAR_CELLS * at->step / at->steps : BAR_CELLS;
    double left = at->step ? p->stage_seconds / at->step * (at->steps - at->step) : 0;
    char bar[BAR_CELLS + 1];
    char time[32];

    memset(bar, '.', BAR_CELLS);
    memset(bar, '#', (size_t)full);
    bar[BAR_CELLS] = '\0';
    time_format(left, time, sizeof(time));
    fprintf(p->out, "\r%-8s [%s] %d/%d, %s left \x1b[K", stage_name(at->stage), bar,
            at->step, at->steps, time);
    p->open_line = at->step < at->steps;
    if (!p->open_line)
        fputc('\n', p->out);
    fflush(p->out);
}

static void line_print(struct progress *p, const struct pipeline_progress *at)
{
    fprintf(p->out, "%s %d/%d", stage_name(at->stage), at->step, at->steps);
    if (at->segments > 1)
        fprintf(p->out, ", segment %d/%d", at->segment + 1, at->segments);
    fprintf(p->out, ", %.2f s\n", at->step_seconds);
}

static void log_write(struct progress *p, struct buf *line)
{
    if (!line->failed) {
        fprintf(p->log, "%s\n", buf_text(line));
        fflush(p->log);
    }
    buf_release(line);
}

static void step_log(struct progress *p, const struct pipeline_progress *at)
{
    struct buf line = BUF_INIT;
    struct json_out out;

    json_out_init(&out, &line, JSON_COMPACT);
    json_out_object(&out, NULL);
    json_out_string(&out, "event", "step");
    json_out_string(&out, "stage", stage_name(at->stage));
    json_out_int(&out, "segment", at->segment);
    json_out_int(&out, "segments", at->segments);
    json_out_int(&out, "step", at->step);
    json_out_int(&out, "steps", at->steps);
    json_out_double(&out, "seconds", at->step_seconds);
    json_out_end(&out);
    log_write(p, &line);
}

void progress_step(void *ctx, const struct pipeline_progress *at)
{
    struct progress *p = ctx;

    if (!p->out)
        return;
    if (at->stage != p->stage || at->step <= 1)
        p->stage_seconds = 0;
    p->stage = at->stage;
    p->stage_seconds += at->step_seconds;
    flockfile(p->out); /* what ends a run speaks from another thread */
    if (p->terminal)
        bar_draw(p, at);
    else
        line_print(p, at);
    funlockfile(p->out);
    if (p->log)
        step_log(p, at);
}

void progress_traffic(void *ctx, const struct spread_traffic *ranks, int n)
{
    struct progress *p = ctx;

    for (int i = 0; i < n && p->log; i++) {
        struct buf line = BUF_INIT;
        struct json_out out;

        json_out_init(&out, &line, JSON_COMPACT);
        json_out_object(&out, NULL);
        json_out_string(&out, "event", "traffic");
        json_out_int(&out, "rank", i);
        json_out_int(&out, "sent_bytes", ranks[i].sent_bytes);
        json_out_int(&out, "received_bytes", ranks[i].received_bytes);
        json_out_int(&out, "messages", ranks[i].messages);
        json_out_double(&out, "seconds", ranks[i].wait_seconds);
        json_out_end(&out);
        log_write(p, &line);
    }
}

void progress_note(struct progress *p, const char *event, const char *text)
{
    struct err shown = ERR_INIT; /* the text without control characters */
    struct buf line = BUF_INIT;
    struct json_out out;

    if (!p->out)
        return;
    err_record(&shown, ST_OK, "%s", text);
    flockfile(p->out);
    fprintf(p->out, "%s%s\n", p->open_line ? "\n" : "", shown.text);
    p->open_line = 0;
    funlockfile(p->out);
    if (!p->log)
        return;
    json_out_init(&out, &line, JSON_COMPACT);
    json_out_object(&out, NULL);
    json_out_string(&out, "event", event);
    json_out_string(&out, "text", text);
    json_out_end(&out);
    log_write(p, &line);
}

void progress_event(void *ctx, const char *event, const char *text)
{
    progress_note(ctx, event, text);
}

void progress_close(struct progress *p)
{
    if (p->open_line)
        fputc('\n', p->out);
    if (p->log)
        fclose(p->log);
    memset(p, 0, sizeof(*p));
}
