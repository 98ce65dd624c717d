/* cmd_plan.c - framefleet plan: memory and work of a job, from headers alone */
#include <stdio.h>
#include <stdlib.h>

#include "engine/pipeline/pipeline.h"
#include "launcher/command.h"
#include "launcher/jobs.h"

static const double gib = 1024.0 * 1024.0 * 1024.0;

struct line {
    const char *name;
    size_t bytes;
};

static void decoding_print(const struct pipeline_plan *plan)
{
    if (plan->tiles == 1)
        return;
    printf("decoding in %s pixels", plan->cut);
    if (plan->decode_ranks > 1)
        printf(" on %d ranks", plan->decode_ranks);
    if (plan->decode_share > 0.0)
        printf(", the busiest does %.1f %% of the work", 100.0 * plan->decode_share);
    printf("\n");
}

static void table_print(const struct pipeline_plan *plan, const char *model,
                        const struct job *job)
{
    const struct line lines[] = {
        {"weights, transformer", plan->weight_bytes[0]},
        {"weights, text encoder", plan->weight_bytes[1]},
        {"weights, vae", plan->weight_bytes[2]},
        {"encode", plan->encode_bytes},
        {"denoise", plan->denoise_bytes},
        {"decode", plan->decode_bytes},
        {"checkpoints", plan->checkpoint_bytes},
        {"kept through phases", plan->kept_bytes},
        {"peak of encoding text", plan->text_bytes},
        {"peak from then on", plan->run_bytes},
        {"peak of everything", plan->peak_bytes},
    };

    printf("%s\n", model);
    printf(
        "%lldx%lld, %lld frames: %lld latent frames of %lldx%lld, %lld tokens in the "
        "longest of %d segments\n",
        (long long)job->size.width, (long long)job->size.height,
        (long long)job->num_frames, (long long)plan->latent_frames,
        (long long)plan->latent_width, (long long)plan->latent_height,
        (long long)plan->tokens, plan->segments);
    printf("%d rows, %d forwards of %.3f TFLOP; decoding %.3f TFLOP\n", plan->rows,
           plan->forwards, plan->forward_flop * 1e-12, plan->decode_flop * 1e-12);
    decoding_print(plan);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        printf("  %-24s %10.3f GiB\n", lines[i].name, (double)lines[i].bytes / gib);
    if (plan->text_stays)
        printf("the text encoder stays: with so many jobs it is not dropped\n");
}

/* What the gpu of each rank holds. */
static enum status devices_print(struct pipeline *p, const struct pipeline_plan *plan,
                                 const struct job *job, struct err *e)
{
    struct pipeline_rank_plan r;

    for (int i = 0; i < plan->ranks; i++) {
        TRY(pipeline_plan_rank(p, job, i, &r, e));
        if (r.device_bytes == 0)
            return ST_OK;
        printf("  gpu of rank %-3d %18.3f GiB: weights %.3f, activations %.3f, "
               "exchanges %.3f (estimated)",
               i, (double)r.device_bytes / gib, (double)r.weight_bytes / gib,
               (double)r.activation_bytes / gib, (double)r.exchange_bytes / gib);
        if (r.text_bytes > 0)
            printf("; before them %.3f to encode text", (double)r.text_bytes / gib);
        printf("\n");
    }
    return ST_OK;
}

static enum status ranks_print(struct pipeline *p, const struct pipeline_plan *plan,
                               const struct job *job, struct err *e)
{
    struct pipeline_rank_plan r;

    TRY(devices_print(p, plan, job, e));
    if (plan->ranks == 1)
        return ST_OK;
    printf(
        "mesh %s\n  rank   tokens  heads  activations  of them decode  sent per row  "
        "messages\n",
        plan->mesh);
    for (int i = 0; i < plan->ranks; i++) {
        TRY(pipeline_plan_rank(p, job, i, &r, e));
        printf("  %4d %8lld %6lld %8.3f GiB %11.3f GiB %9.3f MiB %9lld\n", i,
               (long long)r.tokens, (long long)r.heads,
               (double)r.activation_bytes / gib, (double)r.decode_bytes / gib,
               (double)r.sent_bytes * 1024.0 / gib, (long long)r.messages);
    }
    return ST_OK;
}

static enum status ranks_json(struct pipeline *p, const struct pipeline_plan *plan,
                              const struct job *job, struct json_out *out,
                              struct err *e)
{
    struct pipeline_rank_plan r;

    json_out_array(out, "ranks");
    for (int i = 0; i < plan->ranks; i++) {
        TRY(pipeline_plan_rank(p, job, i, &r, e));
        json_out_object(out, NULL);
        json_out_int(out, "rank", i);
        json_out_int(out, "tokens", r.tokens);
        json_out_int(out, "heads", r.heads);
        json_out_int(out, "activation_bytes", (int64_t)r.activation_bytes);
        if (r.device_bytes > 0) {
            json_out_int(out, "weight_bytes", (int64_t)r.weight_bytes);
            json_out_int(out, "text_bytes", (int64_t)r.text_bytes);
            json_out_int(out, "exchange_bytes_estimated", (int64_t)r.exchange_bytes);
            json_out_int(out, "device_bytes", (int64_t)r.device_bytes);
        }
        json_out_int(out, "decode_bytes", (int64_t)r.decode_bytes);
        json_out_int(out, "sent_bytes_per_row", (int64_t)r.sent_bytes);
        json_out_int(out, "messages_per_row", r.messages);
        json_out_end(out);
    }
    json_out_end(out);
    return ST_OK;
}

/* The members of the plan's object. */
static void json_print(const struct pipeline_plan *plan, struct json_out *out)
{
    json_out_int(out, "latent_frames", plan->latent_frames);
    json_out_int(out, "latent_height", plan->latent_height);
    json_out_int(out, "latent_width", plan->latent_width);
    json_out_int(out, "tokens", plan->tokens);
    json_out_int(out, "segments", plan->segments);
    json_out_int(out, "rows", plan->rows);
    json_out_int(out, "forwards", plan->forwards);
    json_out_double(out, "forward_flop", plan->forward_flop);
    json_out_double(out, "decode_flop", plan->decode_flop);
    json_out_int(out, "dit_weight_bytes", (int64_t)plan->weight_bytes[0]);
    json_out_int(out, "text_weight_bytes", (int64_t)plan->weight_bytes[1]);
    json_out_int(out, "vae_weight_bytes", (int64_t)plan->weight_bytes[2]);
    json_out_int(out, "encode_bytes", (int64_t)plan->encode_bytes);
    json_out_int(out, "denoise_bytes", (int64_t)plan->denoise_bytes);
    json_out_int(out, "decode_bytes", (int64_t)plan->decode_bytes);
    json_out_int(out, "decode_tiles", plan->tiles);
    json_out_int(out, "decode_tile_width", plan->tile_width);
    json_out_int(out, "decode_tile_height", plan->tile_height);
    json_out_int(out, "decode_ranks", plan->decode_ranks);
    if (plan->decode_share > 0.0)
        json_out_double(out, "decode_share", plan->decode_share);
    json_out_int(out, "checkpoint_bytes", (int64_t)plan->checkpoint_bytes);
    json_out_int(out, "kept_bytes", (int64_t)plan->kept_bytes);
    json_out_bool(out, "text_stays", plan->text_stays);
    json_out_int(out, "text_peak_bytes", (int64_t)plan->text_bytes);
    json_out_int(out, "run_peak_bytes", (int64_t)plan->run_bytes);
    json_out_int(out, "peak_bytes", (int64_t)plan->peak_bytes);
    json_out_string(out, "mesh", plan->mesh);
}

static enum status plan_print(const struct settings *s, struct pipeline *p,
                              struct err *e)
{
    struct pipeline_plan plan;
    struct buf text = BUF_INIT;
    struct json_out out;
    enum status st;

    TRY(pipeline_plan(p, &s->job, &plan, e));
    if (!s->json) {
        table_print(&plan, pipeline_describe(p), &s->job);
        return ranks_print(p, &plan, &s->job, e);
    }
    json_out_init(&out, &text, JSON_INDENTED);
    json_out_object(&out, NULL);
    json_print(&plan, &out);
    st = ranks_json(p, &plan, &s->job, &out, e);
    json_out_end(&out);
    if (st == ST_OK)
        printf("%s\n", buf_text(&text));
    buf_release(&text);
    return st;
}

/* A plan needs no prompt; an empty one stands in for it. */
static enum status job_plan(const struct jobs *jobs, int i, struct world *w,
                            struct err *e)
{
    struct settings_doc *d = &jobs->doc[i];
    const struct job **list;
    struct pipeline *p;
    enum status st;
    int n;

    settings_ranks(d, w);
    TRY(jobs_list(jobs, &list, &n, e));
    TRY_GOTO(st, pipeline_open(&d->values.engine, &p, e), err_free);
    st = option_assign_named(&d->set, "prompt", "", SOURCE_DEFAULT, e);
    if (st == ST_OK)
        st = settings_finish(d, w, pipeline_dit(p), e);
    if (st == ST_OK)
        st = job_check(&d->values.job, pipeline_dit(p), e);
    pipeline_expect(p, list, n);
    if (st == ST_OK && world_facts(w)->rank == 0)
        st = plan_print(&d->values, p, e);
    if (st == ST_OK)
        st = pipeline_check_memory(p, &d->values.job, e);
    pipeline_close(p);
err_free:
    free(list);
    return st;
}

static void help_print(const struct world *w)
{
    if (world_facts(w)->rank > 0)
        return;
    printf("usage: framefleet plan --model DIR [flags of generate] [--json]\n");
    settings_help(stdout);
}

enum status command_plan(struct world *w, int argc, const char *const *argv,
                         struct err *e)
{
    struct jobs jobs;
    enum status st = ST_OK;

    TRY(jobs_read(&jobs, w, argc, argv, e));
    if (jobs.doc[0].values.help) {
        help_print(w);
    } else if (jobs.n_rest > 0) {
        st = err_set(e, ST_USAGE, "unexpected argument '%s': flags start with --",
                     jobs.rest[0]);
    } else if (!jobs.doc[0].values.engine.model) {
        st = err_set(e, ST_USAGE, "missing model: give --model DIR");
    } else {
        for (int i = 0; i < jobs.n && st == ST_OK; i++)
            st = job_plan(&jobs, i, w, e);
    }
    jobs_release(&jobs);
    return st;
}
