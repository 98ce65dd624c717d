/* cmd_bench.c - framefleet bench: how fast a model of a published size runs here */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/bench_report.h"
#include "launcher/command.h"

/* What the flags fill. */
struct bench_settings {
    struct bench_options o;
    char *parts, *json, *scratch, *tune_file;
    bool help;
};

#define AT(member) offsetof(struct bench_settings, o.member)
#define TEXT(name, where, value, help)                       \
    {                                                        \
        name, NULL, OPT_TEXT, where, 0, 0, NULL, value, help \
    }
#define INTEGER(name, also, where, lo, hi, help)            \
    {                                                       \
        name, also, OPT_INT, where, lo, hi, NULL, "N", help \
    }
#define CHOICE(name, where, choices, help)                         \
    {                                                              \
        name, NULL, OPT_CHOICE, where, 0, 0, choices, "NAME", help \
    }
#define FLAG(name, where, help)                             \
    {                                                       \
        name, NULL, OPT_FLAG, where, 0, 0, NULL, NULL, help \
    }

static const struct option table[] = {
    CHOICE("shape", AT(shape), "14b 1.3b tiny", "whose sizes: Wan 14B, Wan 1.3B"),
    {"size", NULL, OPT_SIZE, AT(size), 0, 0, NULL, "WxH", "pixels, 960x544"},
    INTEGER("num_frames", "frame_num video_frames", AT(num_frames), 1, 1000001,
            "frames, 4k + 1; 97"),
    INTEGER("inference_steps", "num_inference_steps steps", AT(steps), 1, STEPS_MAX,
            "solver steps of the whole video; 30"),
    FLAG("guidance", AT(guided), "two forwards per step; --no-guidance: one"),
    TEXT("backend", AT(engine.backend), "NAME", "cpu, ref or cuda"),
    CHOICE("precision", AT(engine.precision), PRECISION_NAMES,
           "what the transformer blocks compute in; fp8_fast: fp8 with shorter sums, "
           "where a gpu has them"),
    INTEGER("threads", NULL, AT(engine.threads), 0, 4096,
            "worker threads, 0: all cores"),
    TEXT("mesh", AT(engine.mesh), "gNuNrN", "ranks, started by mpirun or srun"),
    TEXT("parts", offsetof(struct bench_settings, parts), "LIST",
         "of forward,vae,text,load,accuracy; the first three when not given"),
    INTEGER("repeats", NULL, AT(repeats), 1, BENCH_REPEATS_MAX, "timed passes; 3"),
    FLAG("ops", AT(ceilings), "list every op beside what the machine can do"),
    FLAG("tune", AT(tune),
         "time the algorithms of products, and use the fastest that is proven"),
    TEXT("tune_file", offsetof(struct bench_settings, tune_file), "FILE",
         "with tune: write what was found, for --algorithms"),
    TEXT("algorithms", AT(engine.algorithms), "FILE", "use what was found before"),
    FLAG("end_to_end", AT(end_to_end), "run all steps instead of adding them up"),
    INTEGER("layers", NULL, AT(layers), 1, 1024,
            "transformer blocks, other than the shape's"),
    FLAG("share_blocks", AT(share_blocks), "one block's weights for all of them"),
    INTEGER("text_rows", NULL, AT(text_rows), 1, 512, "tokens of a prompt; 512"),
    INTEGER("vae_chunk", NULL, AT(engine.vae_chunk), 1, 64,
            "latent frames decoded at once"),
    TEXT("vae_ranks", AT(engine.vae_ranks), "N",
         "ranks that decode together; auto: all"),
    INTEGER("load_blocks", NULL, AT(load_blocks), 1, 1024,
            "blocks in the file that 'load' reads; 1"),
    CHOICE("read_weights", AT(engine.read_weights), "auto each node once",
           "which ranks read it; auto in host memory: each"),
    CHOICE("convert_weights", AT(engine.convert_weights), "auto host device",
           "where weights get their final form while they are read"),
    TEXT("scratch", offsetof(struct bench_settings, scratch), "DIR",
         "where that file is made; $TMPDIR or /tmp"),
    INTEGER("seed", NULL, AT(seed), 0, 9007199254740991.0, "of weights and inputs"),
    TEXT("json", offsetof(struct bench_settings, json), "FILE", "write the results"),
    FLAG("help", offsetof(struct bench_settings, help), "print this"),
};
enum { N_OPTIONS = sizeof(table) / sizeof(table[0]), ARGUMENTS_MAX = 256 };

/* ---- settings -------------------------------------------------------------------- */

static const struct bench_settings defaults = {
    .o = {.size = {960, 544},
          .num_frames = 97,
          .steps = 30,
          .text_rows = 512,
          .repeats = 3,
          .seed = 1,
          .load_blocks = 1,
          .guided = true,
          .engine = {.vae_chunk = 1}},
};

static enum status part_take(struct bench_options *o, const char *name, size_t len,
                             struct err *e)
{
    for (int i = 0; i < BENCH_PARTS; i++) {
        const char *known = bench_part_name((enum bench_part)i);

        if (strlen(known) == len && strncmp(known, name, len) == 0) {
            o->part[i] = true;
            return ST_OK;
        }
    }
    return err_set(e, ST_USAGE,
                   "unknown part '%.*s': known are forward, vae, text, load and "
                   "accuracy",
                   (int)(len < 40 ? len : 40), name);
}

static enum status parts_read(struct bench_settings *s, struct err *e)
{
    const char *at = s->parts ? s->parts : "forward,vae,text";

    while (*at) {
        size_t len = strcspn(at, ",");

        TRY(part_take(&s->o, at, len, e));
        at += len + (at[len] == ',');
    }
    return ST_OK;
}

static enum status settings_read(struct bench_settings *s, struct option_set *set,
                                 int argc, const char *const *argv, struct err *e)
{
    const char *rest[ARGUMENTS_MAX];
    const char *temporary = getenv("TMPDIR");
    int n;

    TRY(option_parse_few(set, argc, argv, ARGUMENTS_MAX, rest, &n, e));
    if (n > 0)
        return err_set(e, ST_USAGE, "unexpected argument '%s': flags start with --",
                       rest[0]);
    if (!s->o.engine.backend)
        TRY(option_assign_named(set, "backend", "cpu", SOURCE_DEFAULT, e));
    s->o.scratch = s->scratch                       ? s->scratch
                   : temporary && temporary[0] != 0 ? temporary
                                                    : "/tmp";
    if (s->tune_file && !s->o.tune)
        return err_set(e, ST_USAGE, "tune_file needs --tune");
    return parts_read(s, e);
}

/* ---- results --------------------------------------------------------------------- */

/* `text` to a file; `mode` as of fopen. */
static enum status text_write(const struct buf *text, const char *path,
                              const char *mode, struct err *e)
{
    FILE *f;

    if (text->failed)
        return err_set(e, ST_RESOURCE, "out of memory: results of a benchmark");
    f = fopen(path, mode);
    if (!f)
        return err_set(e, ST_RESOURCE, "cannot write '%s': %s", path, strerror(errno));
    fputs(buf_text(text), f);
    if (fclose(f) != 0)
        return err_set(e, ST_RESOURCE, "cannot write '%s': %s", path, strerror(errno));
    return ST_OK;
}

/* Later rows of a table take precedence, so what was tuned is added to the file. */
static enum status files_write(const struct bench_settings *s,
                               const struct bench_result *r, struct err *e)
{
    struct buf json = BUF_INIT, rows = BUF_INIT;
    enum status st = ST_OK;

    if (s->json) {
        bench_json(&s->o, r, &json);
        st = text_write(&json, s->json, "w", e);
    }
    if (st == ST_OK && s->tune_file) {
        bench_tune_rows(r, &rows);
        st = text_write(&rows, s->tune_file, "a", e);
    }
    buf_release(&json);
    buf_release(&rows);
    return st;
}

static enum status bench_do(struct bench_settings *s, struct world *w, struct err *e)
{
    struct bench_result *r;
    enum status st = ST_OK;

    s->o.engine.world = w;
    TRY(bench_run(&s->o, &r, e));
    if (world_facts(w)->rank == 0) {
        bench_print(&s->o, r);
        st = files_write(s, r, e);
    }
    bench_destroy(r);
    return st;
}

enum status command_bench(struct world *w, int argc, const char *const *argv,
                          struct err *e)
{
    struct bench_settings settings = defaults;
    struct option_set set;
    enum status st;

    TRY(option_set_init(&set, table, N_OPTIONS, &settings, e));
    st = settings_read(&settings, &set, argc, argv, e);
    if (st == ST_OK && settings.help) {
        if (world_facts(w)->rank == 0) {
            printf("usage: framefleet bench [flags]\n");
            option_help(table, N_OPTIONS, stdout);
        }
    } else if (st == ST_OK) {
        st = bench_do(&settings, w, e);
    }
    option_set_release(&set);
    return st;
}
