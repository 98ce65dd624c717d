/* keep.c - asks, fills snapshots, and finds where to go on */
#include "engine/pipeline/keep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/media/media.h"
#include "engine/pipeline/keep_match.h"
#include "engine/pipeline/leftovers.h"
#include "kernels/base/buf.h"
#include "kernels/base/clock.h"

static const double due_seconds = 60.0;

static bool leads(const struct keep *k)
{
    return world_facts(k->world)->rank == 0;
}

static void note(void *ctx, const char *text)
{
    struct keep *k = ctx;

    if (k->events.note)
        k->events.note(k->events.ctx, "checkpoint", text);
}

enum status keep_folder(const char *output, char **out, struct err *e)
{
    size_t n = strlen(output);
    char *folder;

    while (n > 1 && output[n - 1] == '/')
        n--;
    folder = malloc(n + sizeof(KEEP_SUFFIX));
    if (!folder)
        return err_set(e, ST_RESOURCE, "out of memory: a name of %zu bytes", n);
    memcpy(folder, output, n);
    memcpy(folder + n, KEEP_SUFFIX, sizeof(KEEP_SUFFIX));
    *out = folder;
    return ST_OK;
}

/* What cannot be looked at is not missing. */
static bool is_there(const char *path)
{
    return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

enum status keep_look(const char *output, enum keep_outcome *out, struct err *e)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    struct checkpoint_store *store = NULL;
    bool begun = false;
    char *folder;
    enum status st = ST_OK;

    TRY(keep_folder(output, &folder, e));
    if (is_there(folder))
        st = checkpoint_store_open(folder, false, &o, &store, e);
    free(folder);
    if (st == ST_OK && store)
        st = checkpoint_any(store, &begun, e);
    checkpoint_store_close(store);
    TRY(st);
    *out = begun ? KEEP_BEGUN : media_there(output) ? KEEP_DONE : KEEP_NOTHING;
    return ST_OK;
}

/* ---- beginning ------------------------------------------------------------------- */

static enum status store_open(struct keep *k, bool make, struct err *e)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;

    if (k->store)
        return ST_OK;
    if (k->job->keep)
        o.keep = (int)k->job->keep;
    return checkpoint_store_open(k->folder, make, &o, &k->store, e);
}

/* Rows of tokens, as they were copied, to latents. All arrays or, without memory, none.
 */
static enum status states_order(struct checkpoint *ck, struct err *e)
{
    struct checkpoint_floats *state[] = {&ck->x, &ck->x_last, &ck->m0, &ck->m1};
    const int64_t *dims = ck->x.dims;
    struct latent_size size = {dims[0], dims[1], dims[2], dims[3]};
    struct span tokens = {0, size.frames * (size.height / 2) * (size.width / 2)};
    float *latent;

    if (!dims[0])
        return ST_OK;
    latent = malloc(ck->x.room * sizeof(float));
    if (!latent)
        return err_set(e, ST_RESOURCE, "out of memory: a latent of %zu bytes",
                       ck->x.room * sizeof(float));
    for (int i = 0; i < 4; i++) { /* all have the same room */
        float *rows = state[i]->data;

        latent_from_patch(latent, rows, &size, tokens);
        state[i]->data = latent;
        latent = rows;
    }
    free(latent);
    return ST_OK;
}

/* From now on we are the writer. */
static enum status store_begin(struct keep *k, struct err *e)
{
    if (k->writer)
        return ST_OK;
    TRY(store_open(k, true, e));
    if (!k->job->resumed)
        checkpoint_clear(k->store);
    TRY(checkpoint_claim(k->store, e));
    TRY(checkpoint_writer_open(k->store, states_order, &k->writer, e));
    checkpoint_writer_reserve(k->writer, &k->room);
    return ST_OK;
}

static enum status newest_read(struct keep *k, struct err *e)
{
    bool found;

    if (k->job->checkpoint) {
        snprintf(k->from_name, sizeof(k->from_name), "the given file");
        return checkpoint_read(k->job->checkpoint, &k->from, e);
    }
    TRY(store_open(k, false, e));
    TRY(checkpoint_newest(k->store, note, k, &k->from, k->from_name, &found, e));
    return found ? ST_OK : err_set(e, ST_INPUT, "no checkpoint in '%s'", k->folder);
}

/* Where this launch goes on, and which one of the run it is. */
static void from_tell(struct keep *k)
{
    char line[ERR_TEXT_BYTES];

    snprintf(line, sizeof(line),
             "going on from %s: row %lld of %lld, segment %lld of %lld, incarnation "
             "%lld",
             k->from_name, (long long)k->from.rows_done, (long long)k->from.rows_total,
             (long long)k->from.segment + 1, (long long)k->from.segments_total,
             (long long)checkpoint_incarnation(k->store));
    note(k, line);
}

/* A new run must not mix its checkpoints with those of another. */
static enum status others_refuse(struct keep *k, struct err *e)
{
    bool any;

    if (!is_there(k->folder) || k->job->force)
        return ST_OK;
    TRY(store_open(k, false, e));
    TRY(checkpoint_any(k->store, &any, e));
    if (!any) {
        checkpoint_store_close(k->store);
        k->store = NULL;
        return ST_OK;
    }
    return err_set(e, ST_USAGE,
                   "checkpoints of a run that has not ended are in '%s': framefleet "
                   "resume '%s' goes on, --force starts again",
                   k->folder, k->job->output);
}

static bool is_later(int64_t segment, int64_t row, const struct stuck *s)
{
    return segment != s->segment ? segment > s->segment : row > s->row;
}

/* Restarts that only end where the last ones ended are no way on. */
static enum status stuck_refuse(const struct keep *k, struct err *e)
{
    struct stuck s;

    if (!k->store)
        return ST_OK;
    stuck_read(k->store, &s);
    if (s.restarts < STUCK_RESTARTS_MAX ||
        is_later(k->from.segment, k->from.rows_done, &s))
        return ST_OK;
    return err_set(
        e, s.code == status_exit_code(ST_DEVICE) ? ST_DEVICE : ST_RESOURCE,
        "no progress: %lld restarts in a row ended at row %lld of segment %lld with "
        "code %lld (%s); remove '%s/" STUCK_FILE "' to try again",
        (long long)s.restarts, (long long)s.row, (long long)s.segment + 1,
        (long long)s.code, s.reason, k->folder);
}

enum status keep_check(const struct job *job, const char *config, struct err *e)
{
    struct keep k = {.job = job};
    enum status st;

    TRY(keep_folder(job->output, &k.folder, e));
    st = job->resumed ? newest_read(&k, e) : others_refuse(&k, e);
    if (st == ST_OK && job->resumed)
        st = identity_config(config, &k.config, k.identity.config_digest, e);
    k.identity.config = k.config;
    k.identity.accept = job->accept_change;
    if (st == ST_OK && job->resumed)
        st = identity_match(&k.from, k.folder, &k.identity, e);
    if (st == ST_OK && job->resumed)
        st = stuck_refuse(&k, e);
    keep_close(&k);
    return st;
}

static bool every_given(const struct keep *k)
{
    return k->job->checkpoint_every.rows || k->job->checkpoint_every.seconds > 0.0;
}

/* A job whose text a checkpoint cannot hold. */
static enum status too_long(struct keep *k, struct err *e)
{
    char line[ERR_TEXT_BYTES];

    if (k->job->resumed || every_given(k))
        return err_set(e, ST_USAGE,
                       "cannot write checkpoints: the job is longer than %d bytes",
                       CHECKPOINT_CONFIG_MAX);
    snprintf(line, sizeof(line),
             "warning: no checkpoints: the job is longer than %d bytes",
             CHECKPOINT_CONFIG_MAX);
    note(k, line);
    return ST_OK;
}

static enum status leader_open(struct keep *k, struct err *e)
{
    const char *config = k->events.config;

    TRY(keep_folder(k->job->output, &k->folder, e));
    k->on = config && strlen(config) <= CHECKPOINT_CONFIG_MAX;
    if (!k->on)
        return config ? too_long(k, e) : ST_OK;
    TRY(identity_config(config, &k->config, k->identity.config_digest, e));
    k->identity.config = k->config;
    k->identity.accept = k->job->accept_change;
    if (!k->job->resumed) {
        TRY(others_refuse(k, e));
    } else {
        TRY(newest_read(k, e));
        TRY(keep_match(k, e));
    }
    if (every_given(k) || k->job->resumed)
        TRY(store_begin(k, e));
    if (k->job->resumed) {
        stuck_read(k->store, &k->stuck);
        leftovers_remove(k->job);
        from_tell(k);
    }
    return ST_OK;
}

enum status keep_open(struct keep *k, struct world *world, const struct job *job,
                      const struct keep_events *events, struct err *e)
{
    int64_t place[3];

    k->world = world;
    k->job = job;
    k->events = *events;
    k->began = k->last = clock_seconds();
    k->words = calloc((size_t)world_facts(world)->size, sizeof(*k->words));
    if (!k->words)
        return err_set(e, ST_RESOURCE, "out of memory: %d ranks",
                       world_facts(world)->size);
    if (leads(k))
        TRY(leader_open(k, e));
    place[0] = k->from.segment;
    place[1] = k->from.rows_done;
    place[2] = k->from.kind == CHECKPOINT_FINAL;
    TRY(world_bcast(world, place, sizeof(place), e));
    k->segment = place[0];
    k->row = place[1];
    k->final = place[2];
    k->at_segment = k->segment;
    k->at_row = k->row;
    return ST_OK;
}

void keep_close(struct keep *k)
{
    checkpoint_writer_close(k->writer);
    checkpoint_store_close(k->store);
    checkpoint_release(&k->from);
    free(k->config);
    free(k->folder);
    free(k->words);
    memset(k, 0, sizeof(*k));
}

enum status keep_model(struct keep *k, const char *digest, const char *whole,
                       struct err *e)
{
    snprintf(k->whole_digest, sizeof(k->whole_digest), "%s",
             k->job->resumed ? k->from.whole_digest : whole);
    snprintf(k->identity.model_digest, sizeof(k->identity.model_digest), "%s", digest);
    return k->job->resumed ? identity_match(&k->from, k->folder, &k->identity, e)
                           : ST_OK;
}

void keep_room(struct keep *k, const struct checkpoint_room *room)
{
    k->room = *room;
    if (k->writer)
        checkpoint_writer_reserve(k->writer, room);
}

static enum status rows_take(const struct checkpoint_floats *f, struct embeds_rows *out,
                             struct err *e)
{
    size_t bytes = checkpoint_floats_count(f) * sizeof(float);

    if (!bytes)
        return ST_OK;
    out->n = f->dims[0];
    out->rows = malloc(bytes);
    if (!out->rows)
        return err_set(e, ST_RESOURCE, "out of memory: %lld text rows",
                       (long long)out->n);
    memcpy(out->rows, f->data, bytes);
    return ST_OK;
}

enum status keep_embeds(const struct keep *k, struct embeds *out, struct err *e)
{
    out->width = k->from.cond.dims[1];
    TRY(rows_take(&k->from.cond, &out->cond, e));
    return rows_take(&k->from.uncond, &out->uncond, e);
}

enum status keep_latents(const struct keep *k, float *latents, int64_t finished,
                         struct err *e)
{
    const struct checkpoint_floats *f = &k->from.finished;
    size_t plane = (size_t)(k->whole.height * k->whole.width);

    if (f->dims[1] != finished ||
        (finished && (f->dims[0] != k->whole.channels ||
                      f->dims[2] != k->whole.height || f->dims[3] != k->whole.width)))
        return err_set(e, ST_INPUT,
                       "the checkpoint in '%s' has other finished segments", k->folder);
    for (int64_t c = 0; c < f->dims[0]; c++)
        memcpy(latents + (size_t)(c * k->whole.frames) * plane,
               f->data + (size_t)(c * finished) * plane,
               (size_t)finished * plane * sizeof(float));
    return ST_OK;
}

bool keep_continues(const struct keep *k, int segment)
{
    return k->job->resumed && !k->final && segment == k->segment && k->row > 0;
}

/* ---- asking ---------------------------------------------------------------------- */

/* Of the run's time, checkpoints may cost no more than one part in so many. */
static const double stretch = 200.0;

/* Seconds between checkpoints; more than a minute where each holds the run up long. */
static double interval(const struct keep *k)
{
    double cost = k->shot_seconds;

    if (k->job->checkpoint_every.seconds > 0.0)
        return k->job->checkpoint_every.seconds;
    return stretch * cost > due_seconds ? stretch * cost : due_seconds;
}

static bool is_due(const struct keep *k)
{
    if (!k->on)
        return false;
    if (k->job->checkpoint_every.rows)
        return k->rows_since >= k->job->checkpoint_every.rows;
    return clock_seconds() - k->last >= interval(k);
}

/* A run is worth more than its checkpoints: where the folder cannot be made, it goes on
 * without. */
static bool begin_or_do_without(struct keep *k)
{
    char line[2 * ERR_TEXT_BYTES];
    struct err why = ERR_INIT;

    if (store_begin(k, &why) == ST_OK)
        return true;
    snprintf(line, sizeof(line), "warning: no checkpoints: %s", why.text);
    note(k, line);
    k->on = false;
    return false;
}

/* What this rank has been told; rank 0 has the clock too. */
static int why_stop(struct keep *k)
{
    if (k->events.stop && *k->events.stop)
        return *k->events.stop;
    if (leads(k))
        k->limit = limit_reached(k->events.limits, &k->times, clock_seconds());
    return k->limit ? KEEP_TIME : 0;
}

/* What rank 0 wants before row `row`. A save that is running comes first. */
static enum keep_what what_next(struct keep *k, int row)
{
    double now = clock_seconds();

    if (is_due(k) && begin_or_do_without(k) && !checkpoint_writer_busy(k->writer))
        return KEEP_SAVE;
    if (row > 0 && k->on && k->writer && now - k->shot >= stretch * k->shot_seconds)
        return KEEP_SNAPSHOT;
    return KEEP_NOTHING_NOW;
}

enum status keep_ask(struct keep *k, int row, enum keep_what *what, int *why,
                     struct err *e)
{
    struct keep_word mine = {why_stop(k), KEEP_NOTHING_NOW};
    int n = world_facts(k->world)->size;

    if (leads(k))
        mine.what = (int32_t)what_next(k, row);
    k->words[0] = mine;
    if (n > 1)
        TRY(world_gather(k->world, &mine, sizeof(mine), k->words, e));
    *why = 0;
    for (int i = 0; i < n && !*why; i++)
        *why = k->words[i].why;
    mine.what = k->words[0].what;
    if (*why) { /* only rank 0 knows whether checkpoints are kept */
        halt_stage(k->events.halt, HALT_CLOSING, k->writer);
        if (leads(k))
            mine.what = k->on && begin_or_do_without(k) ? KEEP_LAST : KEEP_NOTHING_NOW;
        TRY(world_bcast(k->world, &mine.what, sizeof(mine.what), e));
    }
    *what = (enum keep_what)mine.what;
    k->rows_since++;
    k->at_row = row;
    return ST_OK;
}

enum status keep_stopped(const struct keep *k, int row, int rows, struct err *e)
{
    if (k->limit)
        return limit_stop(k->limit, &k->times, clock_seconds(), row, rows, e);
    return err_set(e, ST_STOPPED, "stopped on request at row %d of %d", row, rows);
}

enum status keep_time(const struct keep *k, int rows, struct err *e)
{
    double now = clock_seconds();
    const struct limit *limit = limit_reached(k->events.limits, &k->times, now);

    if (!limit)
        return ST_OK;
    return limit_stop(limit, &k->times, now, (int)k->row, rows, e);
}

void keep_row(struct keep *k, double seconds)
{
    limit_row(&k->times, seconds);
}

/* ---- saving ---------------------------------------------------------------------- */

/* The run is past the row at which restarts have ended. */
static void stuck_pass(const struct keep *k, const struct checkpoint_saved *saved)
{
    const struct stuck *s = &k->stuck;

    if (s->restarts && is_later(saved->segment, saved->row, s))
        stuck_remove(k->store);
}

static enum status news_tell(struct keep *k, enum status st,
                             const struct checkpoint_news *news)
{
    char line[2 * ERR_TEXT_BYTES];

    if (news->saved) {
        limit_save(&k->times, news->seconds);
        stuck_pass(k, &news->last);
        snprintf(line, sizeof(line), "checkpoint %s: %.1f MiB in %.0f ms%s",
                 news->last.name, (double)news->last.bytes / (1 << 20),
                 1000.0 * news->seconds,
                 news->last.tight ? ", little room is left" : "");
        note(k, line);
    }
    if (news->failed && st == ST_OK) {
        snprintf(line, sizeof(line), "warning: %s", news->why.text);
        note(k, line);
    }
    return st;
}

static enum status floats_put(struct checkpoint_floats *f, const float *data,
                              const int64_t dims[4], struct err *e)
{
    TRY(checkpoint_floats_size(f, dims, e));
    if (data)
        memcpy(f->data, data, checkpoint_floats_count(f) * sizeof(float));
    return ST_OK;
}

static enum status rows_put(struct checkpoint_floats *f, const struct embeds_rows *rows,
                            int64_t width, struct err *e)
{
    return floats_put(f, rows->rows,
                      rows->rows ? (int64_t[]){rows->n, width, 1, 1} : NULL, e);
}

/* The first `finished` latent frames of the video, which do not change any more. */
static enum status finished_put(const struct keep *k, struct checkpoint *ck,
                                int finished, struct err *e)
{
    size_t plane = (size_t)(k->whole.height * k->whole.width);
    int64_t dims[4] = {k->whole.channels, finished, k->whole.height, k->whole.width};

    if (ck->finished_frames == finished)
        return ST_OK;
    TRY(checkpoint_floats_size(&ck->finished, finished ? dims : NULL, e));
    ck->finished_frames = finished;
    for (int64_t c = 0; c < k->whole.channels && finished; c++)
        memcpy(ck->finished.data + (size_t)(c * finished) * plane,
               k->latents + (size_t)(c * k->whole.frames) * plane,
               (size_t)finished * plane * sizeof(float));
    return ST_OK;
}

static void created_put(struct checkpoint *ck)
{
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(ck->created, sizeof(ck->created), "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* What never changes: put into each snapshot when it is used for the first time. */
static enum status constants_put(struct keep *k, struct checkpoint *ck, struct err *e)
{
    char *hex = k->identity.conditioning_digest;

    TRY(rows_put(&ck->cond, &k->embeds->cond, k->embeds->width, e));
    TRY(rows_put(&ck->uncond, &k->embeds->uncond, k->embeds->width, e));
    if (!hex[0])
        TRY(identity_conditioning(&ck->cond, &ck->uncond, hex, e));
    return checkpoint_config(ck, k->config, k->events.launch, e);
}

static enum status facts_put(struct keep *k, struct checkpoint *ck, struct err *e)
{
    if (!ck->config)
        TRY(constants_put(k, ck, e));
    memcpy(ck->config_digest, k->identity.config_digest, DIGEST_HEX);
    memcpy(ck->model_digest, k->identity.model_digest, DIGEST_HEX);
    memcpy(ck->whole_digest, k->whole_digest, DIGEST_HEX);
    snprintf(ck->precision, sizeof(ck->precision), "%s", k->precision);
    keep_backend(k, ck->backend);
    snprintf(ck->mesh, sizeof(ck->mesh), "%s", k->mesh);
    keep_program(ck->program);
    created_put(ck);
    ck->seconds = k->from.seconds + clock_seconds() - k->began;
    ck->restarts = k->from.restarts + (k->job->resumed ? 1 : 0);
    ck->segments_total = k->segments;
    memcpy(ck->conditioning_digest, k->identity.conditioning_digest, DIGEST_HEX);
    return ST_OK;
}

/* Solver steps that each frame has done before row p->row. */
static enum status counter_put(struct checkpoint *ck, const struct keep_place *p,
                               struct err *e)
{
    TRY(checkpoint_ints_size(&ck->counter, p->row ? p->size.frames : 0, e));
    for (int64_t f = 0; f < ck->counter.n; f++) {
        ck->counter.data[f] = 0;
        for (int r = 0; r < p->row; r++)
            ck->counter.data[f] += p->matrix->step[r * p->matrix->frames + f] >= 0;
    }
    return ST_OK;
}

static enum status state_put(struct checkpoint *ck, const struct keep_place *p,
                             struct err *e)
{
    struct checkpoint_floats *state[] = {&ck->x, &ck->x_last, &ck->m0, &ck->m1};
    int64_t dims[4] = {p->size.channels, p->size.frames, p->size.height, p->size.width};

    ck->schedule_digest[0] = '\0';
    for (int i = 0; i < 4; i++)
        TRY(checkpoint_floats_size(state[i], p->row ? dims : NULL, e));
    TRY(counter_put(ck, p, e));
    return p->row ? identity_schedule(p->schedule, p->matrix, ck->schedule_digest, e)
                  : ST_OK;
}

enum status keep_begin(struct keep *k, const struct keep_place *p,
                       struct checkpoint **out, struct err *e)
{
    struct checkpoint *ck;

    TRY(store_begin(k, e));
    ck = checkpoint_writer_begin(k->writer);
    ck->kind = p->row ? CHECKPOINT_RUNNING
                      : (p->segment ? CHECKPOINT_SEGMENT : CHECKPOINT_ENCODED);
    ck->segment = p->segment;
    ck->rows_done = p->row;
    ck->rows_total = p->rows;
    ck->prefix_frames = p->row ? p->prefix : 0;
    TRY(facts_put(k, ck, e));
    TRY(finished_put(k, ck, p->finished, e));
    TRY(state_put(ck, p, e));
    *out = ck;
    return ST_OK;
}

enum status keep_end(struct keep *k, double seconds, enum keep_what what, struct err *e)
{
    struct checkpoint_news news;
    enum status st;

    k->held_seconds += seconds;
    k->shot = clock_seconds();
    k->shot_seconds = seconds;
    if (what != KEEP_SNAPSHOT) {
        k->snapshots++;
        k->last = k->shot;
        k->rows_since = 0;
    }
    checkpoint_writer_submit(k->writer, what != KEEP_SNAPSHOT);
    st = what == KEEP_LAST ? checkpoint_writer_wait(k->writer, &news, e)
                           : checkpoint_writer_poll(k->writer, &news, e);
    return news_tell(k, st, &news);
}

/* What is between rows: it has no state of the solver. */
static enum status between_keep(struct keep *k, const struct keep_place *p, bool last,
                                struct err *e)
{
    double start = clock_seconds();
    struct checkpoint *ck;

    if (!k->on || !begin_or_do_without(k))
        return ST_OK;
    TRY(keep_begin(k, p, &ck, e));
    if (last) {
        ck->kind = CHECKPOINT_FINAL;
        ck->rows_done = p->rows;
    }
    TRY(keep_end(k, clock_seconds() - start, KEEP_SAVE, e));
    k->shot = k->shot_seconds = 0.0; /* says nothing about what a row's costs */
    return ST_OK;
}

enum status keep_encoded(struct keep *k, int rows, struct err *e)
{
    struct keep_place p = {.rows = rows};

    return k->job->resumed ? ST_OK : between_keep(k, &p, false, e);
}

enum status keep_finished(struct keep *k, int segment, int finished, int rows,
                          struct err *e)
{
    bool last = segment == k->segments;
    int place = last ? segment - 1 : segment;
    struct keep_place p = {.segment = place, .rows = rows, .finished = finished};

    k->at_segment = place;
    k->at_row = last ? rows : 0;
    return between_keep(k, &p, last, e);
}

enum status keep_wait(struct keep *k, struct err *e)
{
    struct checkpoint_news news;

    if (!k->writer)
        return ST_OK;
    return news_tell(k, checkpoint_writer_wait(k->writer, &news, e), &news);
}

void keep_failed(struct keep *k, enum status st, const struct err *e)
{
    if (!k->writer || !k->job->resumed || (st != ST_RESOURCE && st != ST_DEVICE) ||
        (k->events.stop && *k->events.stop))
        return;
    stuck_add(k->store, k->at_segment, k->at_row, status_exit_code(st), e->text, NULL);
}

/* ---- the end --------------------------------------------------------------------- */

void keep_settle(struct keep *k)
{
    struct checkpoint_news news;
    char line[ERR_TEXT_BYTES];

    if (!k->writer || !k->snapshots)
        return;
    checkpoint_writer_wait(k->writer, &news, NULL);
    news_tell(k, ST_OK, &news);
    snprintf(line, sizeof(line), "%d checkpoints held the run up for %.0f ms",
             k->snapshots, 1000.0 * k->held_seconds);
    note(k, line);
}

void keep_done(struct keep *k)
{
    if (access(k->folder, F_OK) < 0 || !k->on)
        return;
    if (!k->store && store_open(k, false, NULL) != ST_OK)
        return;
    checkpoint_clear(k->store);
    rmdir(k->folder);
}
