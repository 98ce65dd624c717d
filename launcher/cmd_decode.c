/* cmd_decode.c - framefleet decode: finished latents to a video, without the model
 *
 *     framefleet decode video.mp4                       the newest checkpoint of an
 *     framefleet decode video.mp4.checkpoints           output whose denoising is done
 *     framefleet decode …/ck-0000-0030-i1.h5            one file
 *     framefleet decode latents.h5 --output a.mp4       what --save_latents wrote
 *
 * Only the autoencoder is loaded: --vae or --model says where it is on this machine,
 * and without them the model that the checkpoint was written with. What else decides
 * the frames comes with the latents, so the video is the one that the run would have
 * given. Checkpoints stay as they are.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/pipeline/decode.h"
#include "engine/pipeline/keep.h"
#include "engine/pipeline/latents.h"
#include "kernels/base/clock.h"
#include "launcher/command.h"
#include "launcher/interrupt.h"
#include "launcher/jobs.h"
#include "launcher/progress.h"
#include "launcher/subject.h"
#include "launcher/text.h"

enum { FPS_UNKNOWN = 24 };

struct decode_settings {
    char *model, *vae, *output, *backend, *vae_tile, *vae_ranks, *log_json;
    int64_t crf, fps, threads, vae_chunk;
    int precision;
    bool force, preview, help;
};

#define AT(member) offsetof(struct decode_settings, member)

static const struct option table[] = {
    {"vae", "vae_path", OPT_TEXT, AT(vae), 0, 0, NULL, "PATH",
     "the autoencoder: a file, its folder, or a model folder"},
    {"model", "model_id model_path ckpt_dir", OPT_TEXT, AT(model), 0, 0, NULL, "DIR",
     "model folder with the autoencoder; default: that of the checkpoint"},
    {"output", "save_file save_result_path", OPT_TEXT, AT(output), 0, 0, NULL, "PATH",
     ".mp4, .y4m, or a folder for PNG files; default: that of the checkpoint"},
    {"crf", NULL, OPT_INT, AT(crf), 0, 51, NULL, "N", "quality of .mp4, 0 is best"},
    {"fps", "target_fps", OPT_INT, AT(fps), 1, 240, NULL, "N",
     "frames per second; default: those of the job"},
    {"force", NULL, OPT_FLAG, AT(force), 0, 0, NULL, NULL,
     "replace an output that is there"},
    {"preview", NULL, OPT_FLAG, AT(preview), 0, 0, NULL, NULL,
     "decode a run in the middle: the newest prediction of every frame"},
    {"backend", NULL, OPT_TEXT, AT(backend), 0, 0, NULL, "NAME", "cpu, ref or cuda"},
    {"precision", NULL, OPT_CHOICE, AT(precision), 0, 0, PRECISION_NAMES, "NAME",
     "what the job computed in; default: as the job says"},
    {"threads", NULL, OPT_INT, AT(threads), 0, 4096, NULL, "N",
     "worker threads, 0: all cores"},
    {"vae_chunk", NULL, OPT_INT, AT(vae_chunk), 1, 64, NULL, "N",
     "latent frames decoded at once; more is faster and takes more memory"},
    {"vae_tile", "vae_tile_size", OPT_TEXT, AT(vae_tile), 0, 0, NULL, "WxH",
     "decode in tiles of so many pixels; auto: when memory is short, 0: never"},
    {"vae_ranks", NULL, OPT_TEXT, AT(vae_ranks), 0, 0, NULL, "N",
     "ranks that decode together, each a strip of the frames; auto: all"},
    {"log_json", NULL, OPT_TEXT, AT(log_json), 0, 0, NULL, "FILE",
     "append one JSON object per event"},
    {"help", NULL, OPT_FLAG, AT(help), 0, 0, NULL, NULL, "print this"},
};
enum { N_OPTIONS = sizeof(table) / sizeof(table[0]) };

/* What is decoded, and how. */
struct request {
    struct world *world;
    const struct option_set *flags;
    const struct decode_settings *s;
    const char *x;          /* as it was given */
    struct latents latents; /* of ranks other than 0: size and fps alone */
    char *output;           /* what the name of the checkpoint says; owned; or NULL */
    struct buf job_text;    /* "": the latents say nothing about themselves */
    struct jobs jobs;
    struct buf job_json;
    bool whole;
};

static bool leads(const struct request *r)
{
    return world_facts(r->world)->rank == 0;
}

/* ---- where the latents are ------------------------------------------------------- */

static bool is_hdf5(const char *path)
{
    static const char magic[] = "\x89HDF\r\n\x1a\n";
    char head[8] = "";
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    bool is = fd >= 0 && read(fd, head, sizeof(head)) == (ssize_t)sizeof(head) &&
              memcmp(head, magic, sizeof(head)) == 0;

    if (fd >= 0)
        close(fd);
    return is;
}

/* "video.mp4" for "video.mp4.checkpoints/ck-…", else NULL. */
static char *output_of(const char *checkpoint)
{
    const char *slash = strrchr(checkpoint, '/');
    size_t n = slash ? (size_t)(slash - checkpoint) : 0, m = strlen(KEEP_SUFFIX);

    while (n > 0 && checkpoint[n - 1] == '/')
        n--;
    if (n <= m || strncmp(checkpoint + n - m, KEEP_SUFFIX, m) != 0)
        return NULL;
    return strndup(checkpoint, n - m);
}

static enum status checkpoint_take(struct request *r, const struct subject *s,
                                   struct err *e)
{
    struct checkpoint ck = {0};
    enum status st;

    if (s->kind == SUBJECT_CHECKPOINT) {
        r->output = output_of(s->path);
        TRY(checkpoint_read(s->path, &ck, e));
    } else {
        r->output = strdup(s->output);
        TRY(subject_newest(s->output, &ck, e));
    }
    r->whole = ck.kind != CHECKPOINT_FINAL;
    st = latents_take(&ck, r->s->preview, &r->latents, e);
    checkpoint_release(&ck);
    if (st != ST_OK)
        err_prefix(e, "'%s'", r->x);
    return st;
}

static enum status latents_find(struct request *r, struct err *e)
{
    struct subject s;
    enum status st;

    if (is_hdf5(r->x))
        return latents_read(r->x, &r->latents, e);
    TRY(subject_init(&s, NULL, r->x, e));
    if (s.kind == SUBJECT_JOB)
        st = err_set(e, ST_USAGE, "cannot decode '%s': it is a job, give its output",
                     r->x);
    else
        st = checkpoint_take(r, &s, e);
    subject_release(&s);
    return st;
}

/* What rank 0 has found, to all that help. */
static enum status latents_tell(struct request *r, struct err *e)
{
    struct {
        struct latent_size size;
        int64_t fps, whole;
    } head = {r->latents.size, r->latents.fps, r->whole};

    if (leads(r) && r->latents.job)
        buf_adds(&r->job_text, r->latents.job);
    TRY(text_share(r->world, &r->job_text, e));
    TRY(world_bcast(r->world, &head, sizeof(head), e));
    r->latents.size = head.size;
    r->latents.fps = head.fps;
    r->whole = head.whole;
    return ST_OK;
}

/* ---- its job --------------------------------------------------------------------- */

/* Flags of ours that are flags of the job. */
static enum status flags_lay(struct request *r, struct settings_doc *d, struct err *e)
{
    static const char *const names[] = {"model",     "output",   "crf",       "fps",
                                        "force",     "backend",  "precision", "threads",
                                        "vae_chunk", "vae_tile", "vae_ranks"};
    char text[4096];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int k = option_find(r->flags, names[i]);

        if (r->flags->source[k] == SOURCE_UNSET)
            continue;
        if (option_format(r->flags, k, text, sizeof(text)) >= (int)sizeof(text))
            return err_set(e, ST_USAGE, "impossible %s: longer than %zu bytes",
                           names[i], sizeof(text) - 1);
        TRY(option_assign_named(&d->set, names[i], text, SOURCE_FLAG, e));
    }
    d->values.job.force = r->s->force; /* not for a file to say */
    return ST_OK;
}

/* Latents that say nothing about themselves. */
static enum status job_guess(struct request *r, struct settings_doc *d, struct err *e)
{
    char fps[32];

    snprintf(fps, sizeof(fps), "%lld",
             (long long)(r->latents.fps > 0 ? r->latents.fps : FPS_UNKNOWN));
    d->values.job.size = (struct option_size){8 * r->latents.size.width,
                                              8 * r->latents.size.height};
    r->whole = true;
    return option_assign_named(&d->set, "fps", fps, SOURCE_DEFAULT, e);
}

static enum status output_set(struct request *r, struct settings_doc *d, struct err *e)
{
    if (r->s->output || !leads(r))
        return ST_OK;
    if (r->output)
        return option_assign_named(&d->set, "output", r->output, SOURCE_FLAG, e);
    return err_set(e, ST_USAGE,
                   "missing output: give --output, a .mp4, .y4m or folder");
}

static enum status job_find(struct request *r, struct err *e)
{
    bool said = r->job_text.len > 0;
    struct buf text = BUF_INIT;
    struct settings_doc *d;
    struct json_out out;
    enum status st;

    buf_adds(&text, said ? buf_text(&r->job_text) : "{}");
    st = jobs_from_text(&r->jobs, 0, NULL, r->x, &text, e);
    buf_release(&text);
    if (st == ST_USAGE || st == ST_UNBUILT)
        return err_set(e, ST_INPUT, "'%s' holds a job that cannot be read", r->x);
    TRY(st);
    d = &r->jobs.doc[0];
    TRY(flags_lay(r, d, e));
    TRY(output_set(r, d, e));
    if (!said)
        return job_guess(r, d, e);
    json_out_init(&out, &r->job_json, JSON_COMPACT);
    settings_print(d, false, &out);
    return ST_OK;
}

/* ---- decoding -------------------------------------------------------------------- */

/* A signal to any rank ends all: those that cannot pass it on to rank 0 end by
 * themselves. */
static enum status stop_watch(const struct request *r, struct pipeline_events *events,
                              struct err *e)
{
    struct interrupt in;

    if (world_facts(r->world)->size == 1) {
        events->stop = interrupt_watch();
        return ST_OK;
    }
    TRY(interrupt_watch_all(r->world, &in, e));
    events->stop = leads(r) || in.far ? in.signal : NULL;
    return ST_OK;
}

static enum status request_run(struct request *r, struct progress *progress,
                               struct err *e)
{
    const struct settings *job = &r->jobs.doc[0].values;
    const char *vae = r->s->vae ? r->s->vae : job->engine.model;
    struct pipeline_events events = {
        .ctx = progress, .progress = progress_step, .note = progress_event};
    struct decode_args a = {
        .world = r->world,
        .vae = vae,
        .engine = &job->engine,
        .job = &job->job,
        .whole = r->whole,
        .name = r->x,
        .x = r->latents.x,
        .size = r->latents.size,
        .digest = r->latents.digest,
        .job_json = buf_text(&r->job_json),
    };
    double start = clock_seconds();
    char line[ERR_TEXT_BYTES];

    if (!vae)
        return err_set(e, ST_USAGE, "missing autoencoder: give --vae or --model");
    TRY(stop_watch(r, &events, e));
    if (r->whole && r->s->preview)
        progress_note(progress, "preview",
                      "the run is not finished: decoding its newest prediction");
    TRY(decode_run(&a, &events, e));
    snprintf(line, sizeof(line), "wrote %s in %.1f s", job->job.output,
             clock_seconds() - start);
    progress_note(progress, "done", line);
    return ST_OK;
}

static void request_release(struct request *r)
{
    latents_release(&r->latents);
    jobs_release(&r->jobs);
    buf_release(&r->job_text);
    buf_release(&r->job_json);
    free(r->output);
}

static enum status decode(struct world *w, const struct option_set *flags,
                          const struct decode_settings *s, const char *x, struct err *e)
{
    struct request r = {.world = w,
                        .flags = flags,
                        .s = s,
                        .x = x,
                        .job_text = BUF_INIT,
                        .job_json = BUF_INIT};
    struct progress progress;
    enum status st = leads(&r) ? latents_find(&r, e) : ST_OK;

    if (st == ST_OK)
        st = latents_tell(&r, e);
    if (st == ST_OK)
        st = job_find(&r, e);
    if (st == ST_OK)
        st = progress_open(&progress, leads(&r), s->log_json, e);
    if (st == ST_OK) {
        st = request_run(&r, &progress, e);
        progress_close(&progress);
    }
    request_release(&r);
    return st;
}

static enum status parse_and_decode(struct world *w, struct option_set *set,
                                    const struct decode_settings *s, int argc,
                                    const char *const *argv, const char **rest,
                                    struct err *e)
{
    int n;

    TRY(option_parse_args(set, argc, argv, rest, &n, e));
    if (s->help && world_facts(w)->rank > 0)
        return ST_OK;
    if (s->help) {
        printf("usage: framefleet decode OUTPUT|CHECKPOINT|LATENTS.h5 [flags]\n");
        option_help(table, N_OPTIONS, stdout);
        return ST_OK;
    }
    if (n != 1)
        return err_set(e, ST_USAGE,
                       "say what to decode: framefleet decode OUTPUT, CHECKPOINT or "
                       "LATENTS.h5");
    return decode(w, set, s, rest[0], e);
}

enum status command_decode(struct world *w, int argc, const char *const *argv,
                           struct err *e)
{
    struct decode_settings settings = {.model = NULL};
    const char **rest;
    struct option_set set;
    enum status st;

    TRY(option_set_init(&set, table, N_OPTIONS, &settings, e));
    rest = calloc((size_t)argc + 1, sizeof(*rest));
    if (!rest)
        st = err_set(e, ST_RESOURCE, "out of memory: %d arguments", argc);
    else
        st = parse_and_decode(w, &set, &settings, argc, argv, rest, e);
    option_set_release(&set);
    free(rest);
    return st;
}
