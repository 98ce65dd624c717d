/* bench_report.h - what a benchmark has found, for people and for programs */
#ifndef LAUNCHER_BENCH_REPORT_H
#define LAUNCHER_BENCH_REPORT_H

#include "engine/bench/bench.h"
#include "kernels/base/json.h"

/* A table on standard output. */
void bench_print(const struct bench_options *o, const struct bench_result *r);

/* One JSON object; seconds, bytes and FLOP are plain numbers. */
void bench_json(const struct bench_options *o, const struct bench_result *r,
                struct buf *text);

/* Rows of the table of algorithms, for what was tuned; to be appended to a file. */
void bench_tune_rows(const struct bench_result *r, struct buf *text);

#endif
