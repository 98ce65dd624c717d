/* progress.h - how far a run is: a bar on a terminal, lines elsewhere, JSON for
 * machines
 *
 * On a terminal one line is drawn over and over, with the time left; elsewhere every
 * step is a line of its own. With a log file each event is one JSON object on a line:
 *
 *     {"event":"step","stage":"denoise","segment":0,"step":3,"steps":30,"seconds":1.25}
 */
#ifndef LAUNCHER_PROGRESS_H
#define LAUNCHER_PROGRESS_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/pipeline/pipeline.h"
#include "engine/pipeline/spread.h"

struct progress {
    FILE *out; /* the bar or the lines; NULL: silence */
    FILE *log; /* JSON lines, or NULL */
    int terminal;
    int open_line; /* a bar is drawn and the line is not ended */
    double stage_seconds;
    enum pipeline_stage stage;
};

/* Write to stderr, and to `log_path` (appended; NULL: none); or, when not `speaking`,
 * nowhere. */
enum status progress_open(struct progress *p, bool speaking, const char *log_path,
                          struct err *e);

/* A pipeline_events.progress callback; ctx is the struct progress. */
void progress_step(void *ctx, const struct pipeline_progress *at);

/* A pipeline_events.traffic callback: one event per row and rank.
 *
 *     {"event":"traffic","rank":2,"sent_bytes":81920,"received_bytes":81920,
 *      "messages":12,"seconds":0.004}
 */
void progress_traffic(void *ctx, const struct spread_traffic *ranks, int n);

/* A line of its own for a person, and an event for the log. */
void progress_note(struct progress *p, const char *event, const char *text);

/* The same as a pipeline_events.note callback. */
void progress_event(void *ctx, const char *event, const char *text);

void progress_close(struct progress *p);

#endif
