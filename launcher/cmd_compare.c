/* cmd_compare.c - framefleet compare: how far apart two results are
 *
 * What comes out is text for people or, with --json, one object. Being apart is no
 * failure; with a limit (--exact, --max_l2, --min_psnr) it is: exit code 3, as for an
 * input that is not what it should be.
 */
#include <math.h>
#include <stdio.h>

#include "engine/compare/compare.h"
#include "kernels/base/json.h"
#include "kernels/base/option.h"
#include "launcher/command.h"

struct compare_settings {
    bool json, exact, help;
    double max_l2, min_psnr;
};

static const struct option table[] = {
    {"json", NULL, OPT_FLAG, offsetof(struct compare_settings, json), 0, 0, NULL, NULL,
     "print JSON; null is infinite"},
    {"exact", NULL, OPT_FLAG, offsetof(struct compare_settings, exact), 0, 0, NULL,
     NULL, "exit code 3 unless all is the same to the bit"},
    {"max_l2", NULL, OPT_REAL, offsetof(struct compare_settings, max_l2), 0, 1e9, NULL,
     "X", "exit code 3 when the relative L2 distance is more"},
    {"min_psnr", NULL, OPT_REAL, offsetof(struct compare_settings, min_psnr), 0, 1e9,
     NULL, "DB", "exit code 3 when the PSNR, of videos that of any frame, is less"},
    {"help", NULL, OPT_FLAG, offsetof(struct compare_settings, help), 0, 0, NULL, NULL,
     "print this"},
};
enum { N_OPTIONS = sizeof(table) / sizeof(table[0]), PATHS_MAX = 16 };

static void help_print(void)
{
    printf("usage: framefleet compare A B [flags]\n\n"
           "A and B are two latents (--save_latents) or checkpoints, or two videos\n"
           "(.y4m, .mp4, folders of PNG). A is the measure of B.\n\n");
    option_help(table, N_OPTIONS, stdout);
}

/* ---- text ------------------------------------------------------------------------ */

/* Names of files are made printable. */
static void thing_print(const char *path, const char *what)
{
    struct err line = ERR_INIT;

    err_set(&line, ST_INPUT, "%s: %s", path, what);
    printf("%s\n", line.text);
}

static void first_print(const struct comparison *c)
{
    const char *const *axes = comparison_axes(c->kind);

    printf("first difference: ");
    for (int i = 0; i < 4; i++)
        printf("%s %lld, ", axes[i], (long long)c->first[i]);
    printf("%.9g against %.9g\n", c->a, c->b);
}

static void text_print(const char *const path[2], const struct comparison *c)
{
    const char *const *axes = comparison_axes(c->kind);

    for (int i = 0; i < 2; i++)
        thing_print(path[i], c->what[i]);
    printf("shape: ");
    for (int i = 0; i < 4; i++)
        printf("%lld %ss%s", (long long)c->dims[i], axes[i], i < 3 ? ", " : "\n");
    if (c->differing)
        printf("differing: %lld of %lld values\n", (long long)c->differing,
               (long long)c->values);
    else
        printf("differing: nothing%s\n", c->others[0] ? " of these values" : "");
    if (c->differing)
        first_print(c);
    if (c->others[0])
        printf("also differing: %s\n", c->others);
    printf("relative L2: %.6g\n", c->relative_l2);
    printf("cosine: %.12g\n", c->cosine);
    printf("largest difference: %.6g\n", c->largest);
    printf("PSNR: %.2f dB over a range of %.6g\n", c->psnr, c->range);
    printf("worst frame: %lld with %.2f dB\n", (long long)c->worst_frame,
           c->worst_psnr);
}

/* ---- JSON ------------------------------------------------------------------------ */

static void ints_print(struct json_out *out, const char *key, const int64_t *v)
{
    json_out_array(out, key);
    for (int i = 0; i < 4; i++)
        json_out_int(out, NULL, v[i]);
    json_out_end(out);
}

static void json_first_print(struct json_out *out, const struct comparison *c)
{
    if (!c->differing) {
        json_out_null(out, "first");
        return;
    }
    json_out_object(out, "first");
    ints_print(out, "at", c->first);
    json_out_double(out, "a", c->a);
    json_out_double(out, "b", c->b);
    json_out_end(out);
}

static void json_fill(struct json_out *out, const char *const path[2],
                      const struct comparison *c)
{
    const char *const *axes = comparison_axes(c->kind);

    json_out_object(out, NULL);
    json_out_string(out, "a", path[0]);
    json_out_string(out, "b", path[1]);
    json_out_string(out, "kind", c->kind == COMPARE_VIDEO ? "video" : "latents");
    json_out_string(out, "what_a", c->what[0]);
    json_out_string(out, "what_b", c->what[1]);
    json_out_array(out, "axes");
    for (int i = 0; i < 4; i++)
        json_out_string(out, NULL, axes[i]);
    json_out_end(out);
    ints_print(out, "shape", c->dims);
    json_out_bool(out, "same", c->same);
    json_out_int(out, "values", c->values);
    json_out_int(out, "differing", c->differing);
    json_first_print(out, c);
    json_out_string(out, "also_differing", c->others);
    json_out_double(out, "relative_l2", c->relative_l2);
    json_out_double(out, "cosine", c->cosine);
    json_out_double(out, "largest", c->largest);
    json_out_double(out, "range", c->range);
    json_out_double(out, "psnr", c->psnr);
    json_out_double(out, "worst_psnr", c->worst_psnr);
    json_out_int(out, "worst_frame", c->worst_frame);
    json_out_end(out);
}

static enum status json_print(const char *const path[2], const struct comparison *c,
                              struct err *e)
{
    struct buf text = BUF_INIT;
    struct json_out out;
    enum status st = ST_OK;

    json_out_init(&out, &text, JSON_INDENTED);
    json_fill(&out, path, c);
    if (text.failed)
        st = err_set(e, ST_RESOURCE, "out of memory: a comparison");
    else
        printf("%s\n", buf_text(&text));
    buf_release(&text);
    return st;
}

/* ---- limits ---------------------------------------------------------------------- */

static bool is_set(const struct option_set *set, const char *name)
{
    return set->source[option_find(set, name)] != SOURCE_UNSET;
}

static enum status limits_check(const struct option_set *set, const char *const path[2],
                                const struct comparison *c, struct err *e)
{
    const struct compare_settings *s = set->settings;
    double psnr = c->kind == COMPARE_VIDEO ? c->worst_psnr : c->psnr;

    if (s->exact && !c->same)
        return err_set(e, ST_INPUT, "'%s' and '%s' are not the same", path[0], path[1]);
    if (is_set(set, "max_l2") && !(c->relative_l2 <= s->max_l2))
        return err_set(e, ST_INPUT,
                       "'%s' and '%s' are too far apart: relative L2 %.4g, %.4g at "
                       "most",
                       path[0], path[1], c->relative_l2, s->max_l2);
    if (is_set(set, "min_psnr") && !(psnr >= s->min_psnr))
        return err_set(e, ST_INPUT,
                       "'%s' and '%s' are too far apart: PSNR %.2f dB, %.2f at least",
                       path[0], path[1], psnr, s->min_psnr);
    return ST_OK;
}

/* ---- the command ----------------------------------------------------------------- */

static enum status pair_compare(struct option_set *set, int argc,
                                const char *const *argv, struct err *e)
{
    const struct compare_settings *s = set->settings;
    const char *path[PATHS_MAX];
    struct comparison c;
    int n;

    TRY(option_parse_few(set, argc, argv, PATHS_MAX, path, &n, e));
    if (s->help) {
        help_print();
        return ST_OK;
    }
    if (n != 2)
        return err_set(e, ST_USAGE,
                       "say what to compare: framefleet compare A B, two latents, "
                       "checkpoints or videos");
    TRY(compare_paths(path[0], path[1], &c, e));
    if (s->json)
        TRY(json_print(path, &c, e));
    else
        text_print(path, &c);
    return limits_check(set, path, &c, e);
}

enum status command_compare(struct world *w, int argc, const char *const *argv,
                            struct err *e)
{
    struct compare_settings settings = {.json = false};
    struct option_set set;
    enum status st;

    if (world_facts(w)->rank > 0)
        return ST_OK;
    TRY(option_set_init(&set, table, N_OPTIONS, &settings, e));
    st = pair_compare(&set, argc, argv, e);
    option_set_release(&set);
    return st;
}
