/* bench_report.c - prints the results of a benchmark as a table and as JSON */
#include "launcher/bench_report.h"

#include <stdio.h>

static const double gib = 1024.0 * 1024.0 * 1024.0;

/* Work per second as what a person reads: "812 TFLOP/s". */
static void rate_print(double flop_per_second)
{
    if (flop_per_second >= 1e12)
        printf(" %8.0f TFLOP/s", flop_per_second * 1e-12);
    else
        printf(" %8.1f GFLOP/s", flop_per_second * 1e-9);
}

/* ---- table ----------------------------------------------------------------------- */

static void head_print(const struct bench_options *o, const struct bench_result *r)
{
    printf("%s; made-up weights%s, seed %lld\n", r->describe,
           o->share_blocks ? " of one block" : "", (long long)o->seed);
    printf(
        "%lldx%lld, %lld frames: %lld latent frames, %lld tokens; %lld rows of text\n",
        (long long)o->size.width, (long long)o->size.height, (long long)o->num_frames,
        (long long)r->latent_frames, (long long)r->tokens, (long long)o->text_rows);
    printf("%d rank%s%s%s\n", r->ranks, r->ranks > 1 ? "s" : "",
           r->mesh[0] ? ", mesh " : "", r->mesh);
    if (r->settle_seconds > 0.0)
        printf("products proven in %.4f s%s%s\n", r->settle_seconds,
               r->settle_note[0] ? "; " : "", r->settle_note);
    if (o->ceilings)
        printf("ceilings: copy %.1f GB/s, product %.2f TFLOP/s\n", r->copy_rate * 1e-9,
               r->product_rate * 1e-12);
}

static void part_head_print(const struct bench_part_result *p, enum bench_part part)
{
    printf("%-16s %9.4f s  (%.4f to %.4f, %d runs)", bench_part_name(part),
           p->seconds.median, p->seconds.min, p->seconds.max, p->seconds.n);
    if (p->flop > 0.0)
        rate_print(p->flop / p->seconds.median);
    printf("   weights %.2f GiB, peak %.2f GiB\n", (double)p->weight_bytes / gib,
           (double)p->peak_bytes / gib);
}

static double flop_of(const struct watch *w, enum watch_group group)
{
    double sum = 0.0;

    for (int i = 0; i < w->n; i++) {
        const struct watch_row *row = &w->row[i];

        if (row->cost.group == group)
            sum += row->cost.flop * (double)row->calls;
    }
    return sum;
}

/* Seconds of each group of ops, from the watched pass. */
static void groups_print(const struct watch *w)
{
    for (int i = 0; i < WATCH_GROUPS; i++) {
        double seconds = bench_watch_seconds(w, (enum watch_group)i);
        double flop = flop_of(w, (enum watch_group)i);

        if (seconds <= 0.0)
            continue;
        printf("    %-20s %9.4f s", bench_watch_group_name((enum watch_group)i),
               seconds);
        if (flop > 0.0)
            rate_print(flop / seconds);
        printf("\n");
    }
}

/* Share of the ceiling that an op is nearest to. */
static double share_of(const struct bench_result *r, const struct watch_row *row)
{
    double calls = (double)row->calls;
    double work = row->cost.flop * calls / row->seconds / r->product_rate;
    double bytes = row->cost.bytes * calls / row->seconds / r->copy_rate;

    return work > bytes ? work : bytes;
}

static void ops_print(const struct bench_result *r, const struct watch *w)
{
    printf("    %-48s %7s %11s %9s %9s %9s\n", "op", "calls", "us a call", "TFLOP/s",
           "GB/s", "ceiling");
    for (int i = 0; i < w->n; i++) {
        const struct watch_row *row = &w->row[i];
        double each = row->seconds / (double)row->calls;

        printf("    %-48s %7lld %11.1f %9.2f %9.1f %7.0f %%\n", row->cost.name,
               (long long)row->calls, each * 1e6, row->cost.flop / each * 1e-12,
               row->cost.bytes / each * 1e-9, 100.0 * share_of(r, row));
    }
}

static void ranks_print(const struct bench_result *r)
{
    for (int i = 0; i < r->ranks && r->part[BENCH_FORWARD].ran; i++) {
        const struct bench_rank *k = &r->rank[i];

        printf("    rank %-3d peak %.2f GiB, %.1f MiB sent per forward, %.4f s waited "
               "for others\n",
               i, (double)k->peak_bytes / gib,
               (double)k->sent_bytes / (1024.0 * 1024.0), k->waited_seconds);
        if (k->device_bytes > 0)
            printf("             %.2f GiB less on its gpu, all buffers of libraries "
                   "included\n",
                   (double)k->device_bytes / gib);
    }
}

static void load_print(const struct bench_result *r)
{
    double seconds = r->part[BENCH_LOAD].seconds.median;

    printf("    %.2f GiB of bf16 files on %d rank%s at %.2f GB/s; the whole model's "
           "%.2f GiB at this rate (estimated): %.2f s\n",
           r->load_file_bytes / gib, r->ranks, r->ranks > 1 ? "s" : "",
           r->load_file_bytes / seconds * 1e-9, r->load_model_bytes / gib,
           seconds * r->load_model_bytes / r->load_file_bytes);
    printf("    beside it, on each rank: memory to where weights lie %.2f GB/s, the "
           "file into memory %.2f GB/s by one thread\n",
           r->load_send_rate * 1e-9, r->load_read_rate * 1e-9);
}

static void distance_print(const char *what, const struct bench_distance *d)
{
    printf("    %-24s relative L2 %.3e, cosine %.6f\n", what, d->relative_l2,
           d->cosine);
}

static void accuracy_print(const struct bench_options *o, const struct bench_result *r)
{
    const struct bench_accuracy *a = &r->accuracy;
    char worst[40];

    printf("%-16s beside %s, rows of at most %d tokens\n",
           bench_part_name(BENCH_ACCURACY), a->measure, BENCH_SAMPLE_ROWS);
    distance_print("velocity", &a->velocity);
    snprintf(worst, sizeof(worst), "worst block, %lld", (long long)a->worst);
    distance_print(worst, &a->block[a->worst].own);
    for (int64_t i = 0; i < a->layers && o->ceilings; i++) {
        const struct bench_block_accuracy *k = &a->block[i];

        printf("    block %-4lld adds %.3e, %.6f; stream behind it %.3e, %.6f\n",
               (long long)i, k->own.relative_l2, k->own.cosine, k->so_far.relative_l2,
               k->so_far.cosine);
    }
}

static void whole_print(const struct bench_options *o, const struct bench_result *r)
{
    if (r->whole == BENCH_UNKNOWN)
        return;
    printf("whole video, %lld %s steps, without loading and writing: %.2f s (%s)\n",
           (long long)o->steps, o->guided ? "guided" : "unguided", r->whole_seconds,
           r->whole == BENCH_MEASURED
               ? "measured: text, all steps and decoding, one after another"
               : "estimated: one forward times all, plus text and decoding");
}

static double tuned_rate(const struct bench_tuned *t, int i)
{
    return 2.0 * (double)t->rows * (double)t->d * (double)t->k / t->way[i].seconds;
}

static const char *proof_of(const struct bench_way *w)
{
    return w->differ == 0  ? "proven"
           : w->differ > 0 ? "rows depend on their number"
                           : "";
}

/* Every way, fastest first. */
static void tuned_print(const struct bench_tuned *t)
{
    printf("product %lldx%lldx%lld\n", (long long)t->rows, (long long)t->d,
           (long long)t->k);
    for (int i = 0; i < t->n; i++) {
        const struct bench_way *w = &t->way[i];

        printf("  %c %9.1f us %9.2f TFLOP/s  %s%s  %s\n", i == t->taken ? '*' : ' ',
               w->seconds * 1e6, tuned_rate(t, i) * 1e-12, w->way.about,
               w->first ? " (the backend's own)" : "", proof_of(w));
    }
}

void bench_tune_rows(const struct bench_result *r, struct buf *text)
{
    for (int i = 0; i < BENCH_TUNED; i++) {
        const struct bench_tuned *t = &r->tuned[i];

        buf_addf(text, "# %lldx%lldx%lld: %.1f us, %.2f TFLOP/s, %s\n%s\n",
                 (long long)t->rows, (long long)t->d, (long long)t->k,
                 t->way[t->taken].seconds * 1e6, tuned_rate(t, t->taken) * 1e-12,
                 t->way[t->taken].way.about, t->way[t->taken].way.text);
    }
}

static void way_json(const struct bench_way *w, struct json_out *out)
{
    json_out_object(out, NULL);
    json_out_string(out, "row", w->way.text);
    json_out_string(out, "about", w->way.about);
    json_out_double(out, "seconds", w->seconds);
    json_out_bool(out, "first", w->first);
    if (w->differ >= 0)
        json_out_int(out, "values_that_depend_on_rows", w->differ);
    json_out_end(out);
}

static void tuned_json(const struct bench_tuned *t, struct json_out *out)
{
    json_out_object(out, NULL);
    json_out_int(out, "rows", t->rows);
    json_out_int(out, "n", t->d);
    json_out_int(out, "k", t->k);
    json_out_int(out, "taken", t->taken);
    json_out_array(out, "ways");
    for (int i = 0; i < t->n; i++)
        way_json(&t->way[i], out);
    json_out_end(out);
    json_out_end(out);
}

void bench_print(const struct bench_options *o, const struct bench_result *r)
{
    head_print(o, r);
    for (int i = 0; i < BENCH_TUNED && r->tuned; i++)
        tuned_print(&r->tuned[i]);
    for (int i = 0; i < BENCH_PARTS; i++) {
        const struct bench_part_result *p = &r->part[i];

        if (!p->ran)
            continue;
        if (i == BENCH_ACCURACY) {
            accuracy_print(o, r);
            continue;
        }
        part_head_print(p, (enum bench_part)i);
        groups_print(&p->watch);
        if (o->ceilings && p->watch.n > 0)
            ops_print(r, &p->watch);
        if (i == BENCH_FORWARD)
            ranks_print(r);
        if (i == BENCH_LOAD)
            load_print(r);
    }
    whole_print(o, r);
}

/* ---- JSON ------------------------------------------------------------------------ */

static void options_json(const struct bench_options *o, const struct bench_result *r,
                         struct json_out *out)
{
    json_out_string(out, "describe", r->describe);
    json_out_int(out, "width", o->size.width);
    json_out_int(out, "height", o->size.height);
    json_out_int(out, "num_frames", o->num_frames);
    json_out_int(out, "latent_frames", r->latent_frames);
    json_out_int(out, "tokens", r->tokens);
    json_out_int(out, "text_rows", o->text_rows);
    json_out_int(out, "steps", o->steps);
    json_out_bool(out, "guidance", o->guided);
    json_out_bool(out, "share_blocks", o->share_blocks);
    json_out_int(out, "seed", o->seed);
    json_out_int(out, "ranks", r->ranks);
    json_out_string(out, "mesh", r->mesh);
}

static void ops_json(const struct watch *w, struct json_out *out)
{
    json_out_array(out, "ops");
    for (int i = 0; i < w->n; i++) {
        const struct watch_row *row = &w->row[i];

        json_out_object(out, NULL);
        json_out_string(out, "name", row->cost.name);
        json_out_string(out, "group", bench_watch_group_name(row->cost.group));
        json_out_int(out, "calls", row->calls);
        json_out_double(out, "seconds", row->seconds);
        json_out_double(out, "flop_per_call", row->cost.flop);
        json_out_double(out, "bytes_per_call", row->cost.bytes);
        json_out_end(out);
    }
    json_out_end(out);
}

static void part_json(const struct bench_part_result *p, enum bench_part part,
                      struct json_out *out)
{
    json_out_object(out, bench_part_name(part));
    json_out_int(out, "repeats", p->seconds.n);
    json_out_double(out, "median_seconds", p->seconds.median);
    json_out_double(out, "min_seconds", p->seconds.min);
    json_out_double(out, "max_seconds", p->seconds.max);
    json_out_double(out, "flop", p->flop);
    json_out_double(out, "flop_per_second", p->flop / p->seconds.median);
    json_out_int(out, "weight_bytes", (int64_t)p->weight_bytes);
    json_out_int(out, "peak_bytes", (int64_t)p->peak_bytes);
    json_out_object(out, "split_seconds");
    for (int i = 0; i < WATCH_GROUPS; i++)
        json_out_double(out, bench_watch_group_name((enum watch_group)i),
                        bench_watch_seconds(&p->watch, (enum watch_group)i));
    json_out_end(out);
    ops_json(&p->watch, out);
    json_out_end(out);
}

static void distance_json(const char *name, const struct bench_distance *d,
                          struct json_out *out)
{
    json_out_object(out, name);
    json_out_double(out, "relative_l2", d->relative_l2);
    json_out_double(out, "cosine", d->cosine);
    json_out_end(out);
}

static void accuracy_json(const struct bench_accuracy *a, struct json_out *out)
{
    json_out_object(out, bench_part_name(BENCH_ACCURACY));
    json_out_string(out, "measure", a->measure);
    distance_json("velocity", &a->velocity, out);
    json_out_int(out, "worst_block", a->worst);
    distance_json("worst", &a->block[a->worst].own, out);
    json_out_array(out, "blocks");
    for (int64_t i = 0; i < a->layers; i++) {
        json_out_object(out, NULL);
        distance_json("own", &a->block[i].own, out);
        distance_json("so_far", &a->block[i].so_far, out);
        json_out_end(out);
    }
    json_out_end(out);
    json_out_end(out);
}

static void ranks_json(const struct bench_result *r, struct json_out *out)
{
    json_out_array(out, "rank");
    for (int i = 0; i < r->ranks; i++) {
        json_out_object(out, NULL);
        json_out_int(out, "peak_bytes", r->rank[i].peak_bytes);
        if (r->rank[i].device_bytes > 0)
            json_out_int(out, "device_bytes", r->rank[i].device_bytes);
        json_out_int(out, "sent_bytes_per_forward", r->rank[i].sent_bytes);
        json_out_double(out, "exposed_communication_seconds",
                        r->rank[i].waited_seconds);
        json_out_end(out);
    }
    json_out_end(out);
}

static void whole_json(const struct bench_result *r, struct json_out *out)
{
    static const char *const how[] = {NULL, "estimated", "measured"};

    if (r->part[BENCH_LOAD].ran) {
        json_out_double(out, "load_file_bytes", r->load_file_bytes);
        json_out_double(out, "load_model_bytes", r->load_model_bytes);
        json_out_double(out, "load_bytes_per_second",
                        r->load_file_bytes / r->part[BENCH_LOAD].seconds.median);
        json_out_double(out, "load_send_bytes_per_second", r->load_send_rate);
        json_out_double(out, "load_read_bytes_per_second", r->load_read_rate);
    }
    if (r->copy_rate > 0.0) {
        json_out_double(out, "ceiling_bytes_per_second", r->copy_rate);
        json_out_double(out, "ceiling_flop_per_second", r->product_rate);
    }
    if (r->whole == BENCH_UNKNOWN)
        return;
    json_out_object(out, "end_to_end");
    json_out_string(out, "how", how[r->whole]);
    json_out_double(out, "seconds", r->whole_seconds);
    json_out_end(out);
}

void bench_json(const struct bench_options *o, const struct bench_result *r,
                struct buf *text)
{
    struct json_out out;

    json_out_init(&out, text, JSON_INDENTED);
    json_out_object(&out, NULL);
    options_json(o, r, &out);
    for (int i = 0; i < BENCH_PARTS; i++) {
        if (r->part[i].ran && i != BENCH_ACCURACY)
            part_json(&r->part[i], (enum bench_part)i, &out);
    }
    if (r->part[BENCH_ACCURACY].ran)
        accuracy_json(&r->accuracy, &out);
    if (r->settle_seconds > 0.0)
        json_out_double(&out, "settle_seconds", r->settle_seconds);
    if (r->tuned) {
        json_out_array(&out, "tuned");
        for (int i = 0; i < BENCH_TUNED; i++)
            tuned_json(&r->tuned[i], &out);
        json_out_end(&out);
    }
    ranks_json(r, &out);
    whole_json(r, &out);
    json_out_end(&out);
    buf_adds(text, "\n");
}
