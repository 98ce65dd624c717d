/* settings.c - the option table, its defaults, and the way from JSON into it */
#include "launcher/settings.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint/identity.h"

#define JOB(member) offsetof(struct settings, job.member)
#define ENGINE(member) offsetof(struct settings, engine.member)
#define RUN(member) offsetof(struct settings, member)
#define SECTION(title)                                    \
    {                                                     \
        "", NULL, OPT_UNBUILT, 0, 0, 0, NULL, NULL, title \
    }
#define TEXT(name, also, where, value, help)                 \
    {                                                        \
        name, also, OPT_TEXT, where, 0, 0, NULL, value, help \
    }
#define INTEGER(name, also, where, lo, hi, help)            \
    {                                                       \
        name, also, OPT_INT, where, lo, hi, NULL, "N", help \
    }
#define REAL(name, also, where, lo, hi, help)                \
    {                                                        \
        name, also, OPT_REAL, where, lo, hi, NULL, "X", help \
    }
#define CHOICE(name, also, where, choices, help)                   \
    {                                                              \
        name, also, OPT_CHOICE, where, 0, 0, choices, "NAME", help \
    }
#define EVERY(name, also, where, hi, help)                   \
    {                                                        \
        name, also, OPT_EVERY, where, 0, hi, NULL, "N", help \
    }
#define FLAG(name, also, where, help)                       \
    {                                                       \
        name, also, OPT_FLAG, where, 0, 0, NULL, NULL, help \
    }
#define UNBUILT(name, also)                              \
    {                                                    \
        name, also, OPT_UNBUILT, 0, 0, 0, NULL, NULL, "" \
    }

static const struct option table[] = {
    SECTION("Model and machine"),
    TEXT("model", "model_id model_path ckpt_dir", ENGINE(model), "DIR",
         "model folder, original or diffusers layout"),
    CHOICE("model_kind", NULL, ENGINE(model_kind), "auto plain df",
           "is the model a diffusion forcing one"),
    TEXT("backend", NULL, ENGINE(backend), "NAME", "cpu, ref or cuda"),
    CHOICE("precision", "dit_quant_scheme", ENGINE(precision), PRECISION_NAMES,
           "what the transformer blocks compute in; fp8_fast: fp8 with shorter sums, "
           "where a gpu has them"),
    TEXT("algorithms", NULL, ENGINE(algorithms), "FILE",
         "how a gpu works out products: what bench --tune found"),
    INTEGER("threads", NULL, ENGINE(threads), 0, 4096, "worker threads, 0: all cores"),
    CHOICE("read_weights", NULL, ENGINE(read_weights), "auto each node once",
           "which ranks read the transformer's files: one per node, or one per launch"),
    CHOICE("convert_weights", NULL, ENGINE(convert_weights), "auto host device",
           "where weights get their final form while they are read"),
    INTEGER("vae_chunk", NULL, ENGINE(vae_chunk), 1, 64,
            "latent frames decoded at once; more is faster and takes more memory"),

    TEXT("vae_tile", "vae_tile_size", ENGINE(vae_tile), "WxH",
         "decode in tiles of so many pixels, to the same bytes; auto: when memory is "
         "short, 0: never"),
    REAL("memory_limit", NULL, ENGINE(memory_limit), 0, 1e6,
         "GiB that a job may take of the memory it works in, of a gpu or of the host; "
         "0: what is free"),
    TEXT("vae_ranks", NULL, ENGINE(vae_ranks), "N",
         "ranks that decode together, each a strip of the frames, to the same bytes; "
         "auto: all"),
    FLAG("use_parallel_vae", "vae_parallel", RUN(use_parallel_vae),
         "no effect: --vae_ranks decides"),
    FLAG("use_tiling_vae", "vae_tiling", RUN(use_tiling_vae),
         "no effect: --vae_tile decides"),

    SECTION("Ranks (started by mpirun or srun --mpi=pmix)"),
    TEXT("mesh", NULL, ENGINE(mesh), "gNuNrN",
         "guidance, Ulysses and ring ranks; parts left out are chosen"),
    INTEGER("ulysses_degree", "ulysses_size", ENGINE(ulysses_degree), 1, 65536,
            "ranks that swap tokens for heads; keeps the bytes"),
    INTEGER("ring_degree", "ring_size", ENGINE(ring_degree), 1, 65536,
            "ranks round which keys travel; rounds otherwise than one rank"),
    INTEGER("guidance_degree", "cfg_p_size", ENGINE(guidance_degree), 1, 2,
            "2: both guidance branches at once"),
    INTEGER("ranks", NULL, ENGINE(plan_ranks), 1, 4096,
            "plan for so many ranks instead of those that run (plan)"),
    FLAG("use_cfg_parallel", NULL, RUN(use_cfg_parallel), "same as guidance_degree 2"),
    FLAG("use_usp", NULL, RUN(use_usp), "share the sequence: what ranks do anyway"),

    SECTION("What to make"),
    TEXT("prompt", NULL, JOB(prompt), "TEXT", "what the video shows"),
    TEXT("prompt_file", NULL, RUN(prompt_file), "FILE", "the prompt, read from a file"),
    TEXT("negative_prompt", NULL, JOB(negative_prompt), "TEXT",
         "what it should not show"),
    {"size", "target_shape", OPT_SIZE, JOB(size), 0, 0, NULL, "WxH", "pixels"},
    INTEGER("width", "target_width", RUN(width), 16, 16384, "pixels, with height"),
    INTEGER("height", "target_height", RUN(height), 16, 16384, "pixels, with width"),
    CHOICE("resolution", NULL, RUN(resolution), "none 480P 540P 720P",
           "a usual size: 832x480, 960x544 or 1280x720"),
    INTEGER("num_frames", "frame_num video_frames target_video_length", JOB(num_frames),
            1, 1000001, "frames, 4k + 1"),
    INTEGER("fps", "target_fps", JOB(fps), 1, 240, "frames per second of the output"),

    SECTION("Sampling"),
    INTEGER("inference_steps", "num_inference_steps infer_steps sample_steps steps",
            JOB(inference_steps), 1, STEPS_MAX, "solver steps"),
    CHOICE("sampler", "sample_solver scheduler sampling_method", JOB(solver),
           "unipc dpm++ euler", "solver"),
    REAL("guidance_scale", "sample_guide_scale cfg_scale", JOB(guidance_scale), 0, 100,
         "weight of the prompt; 1 and below: one evaluation per step"),
    REAL("shift", "flow_shift sample_shift", JOB(shift), 0.01, 100, "flow shift"),
    INTEGER("seed", "base_seed", JOB(seed), 0, 9007199254740991.0, "of the noise"),
    CHOICE("rng", NULL, JOB(rng), "philox torch_cpu",
           "noise by element index, or as PyTorch's CPU generator draws it"),

    SECTION("Diffusion forcing and long videos"),
    INTEGER("ar_step", NULL, JOB(ar_step), 0, STEPS_MAX,
            "lag of a block behind the one before it, in steps; 0: none"),
    INTEGER("causal_block_size", NULL, JOB(causal_block_size), 1, 4096,
            "latent frames of a block"),
    INTEGER("base_num_frames", NULL, JOB(base_num_frames), 1, 1000001,
            "frames of one window of a long video"),
    INTEGER("overlap_history", NULL, JOB(overlap_history), 0, 1000001,
            "frames that windows share, 17 or 37; 0: one window"),
    INTEGER("addnoise_condition", NULL, JOB(addnoise_condition), 0, 999,
            "noise level of the shared frames as the network sees them, 20"),
    CHOICE("chain", NULL, JOB(chain), "latents pixels",
           "keep shared frames as latents, or decode and encode them again"),

    SECTION("Output"),
    TEXT("output", "save_file save_result_path", JOB(output), "PATH",
         ".mp4, .y4m, or a folder for PNG files"),
    INTEGER("crf", NULL, JOB(crf), 0, 51, "quality of .mp4, 0 is best"),
    FLAG("force", NULL, JOB(force), "replace outputs that are there"),
    TEXT("save_latents", NULL, JOB(save_latents), "FILE", "write the latents (HDF5)"),
    TEXT("save_embeds", NULL, JOB(save_embeds), "FILE", "write text embeddings (HDF5)"),
    TEXT("embeds", NULL, JOB(embeds), "FILE", "read them instead of encoding"),
    TEXT("save_noise", NULL, JOB(save_noise), "FILE", "write the noise drawn (HDF5)"),
    TEXT("noise", NULL, JOB(noise), "FILE", "read the noise instead of drawing it"),
    TEXT("log_json", NULL, RUN(log_json), "FILE", "append one JSON object per event"),

    SECTION("Checkpoints (in OUTPUT.checkpoints while a run lasts)"),
    EVERY("checkpoint_every", NULL, JOB(checkpoint_every), 1000000,
          "rows between them, or seconds (90s); 0: a row or a minute, the longer one"),
    REAL("max_minutes", NULL, RUN(max_minutes), 0, 1e6,
         "stop with a checkpoint before so many have passed; 0: no limit"),
    INTEGER("keep", NULL, JOB(keep), 1, 64, "checkpoints that are kept"),
    TEXT("accept_change", NULL, JOB(accept_change), "KEY,KEY",
         "go on though these differ: " IDENTITY_ACCEPTABLE " (resume)"),
    FLAG("or_start", NULL, RUN(or_start), "start what has not been begun (resume)"),
    CHOICE("on_existing", NULL, RUN(on_existing), "refuse restart",
           "checkpoints are there and none is valid: what then (resume)"),

    SECTION("Job files"),
    TEXT(
        "job", "config_json", RUN(job_file), "FILE",
        "JSON object with these names as keys, or one object per line; prompts of up to "
        "32 jobs are encoded before the first"),
    FLAG("enable_cfg", NULL, RUN(enable_cfg), "false: --guidance_scale 1"),
    CHOICE("task", NULL, RUN(task), "t2v", "what is made"),
    INTEGER("text_len", NULL, RUN(text_len), 1, 4096, "no effect: the model knows"),
    TEXT("model_cls", NULL, RUN(model_cls), "NAME", "no effect: the model knows"),
    TEXT("self_attn_1_type", NULL, RUN(self_attn), "NAME",
         "no effect: --precision decides"),
    TEXT("cross_attn_1_type", NULL, RUN(cross_attn[0]), "NAME", "no effect"),
    TEXT("cross_attn_2_type", NULL, RUN(cross_attn[1]), "NAME", "no effect"),
    FLAG("print_job", NULL, RUN(print_job), "print the job and every value's source"),
    FLAG("json", NULL, RUN(json), "print JSON (plan)"),
    FLAG("help", NULL, RUN(help), "print this"),

    UNBUILT("image", "image_path init_img first_frame"),
    UNBUILT("end_image", "last_frame last_frame_path end_img"),
    UNBUILT("video_path", "src_video src_mask src_ref_images"),
    UNBUILT("tensor_p_size", "seq_p_size parallel"),
    UNBUILT("offload", "offload_model cpu_offload t5_cpu t5_cpu_offload"),
    UNBUILT("teacache", "teacache_thresh use_ret_steps feature_caching"),
    UNBUILT("prompt_enhancer", "use_prompt_extend use_prompt_enhancer"),
    UNBUILT("causal_attention", NULL),
    UNBUILT("lora_configs", "lora_dir lora_path lora_model_dir"),
    UNBUILT("use_fp8", "fp8_backend dit_quantized t5_quantized"),
};

enum { N_OPTIONS = sizeof(table) / sizeof(table[0]) };

static const struct {
    const char *name, *value;
} program_defaults[] = {
    {"backend", "cpu"},
    {"vae_chunk", "1"},
    {"vae_tile", "auto"},
    {"memory_limit", "0"},
    {"vae_ranks", "auto"},
    {"seed", "42"},
    {"causal_block_size", "1"},
    {"base_num_frames", "97"},
    {"crf", "10"},
    {"overlap_history", "0"},
    {"addnoise_condition", "0"},
    {"ar_step", "0"},
    {"output", "video.mp4"},
    {"threads", "0"},
    {"read_weights", "auto"},
    {"convert_weights", "auto"},
    {"checkpoint_every", "0"},
    {"on_existing", "refuse"},
    {"keep", "2"},
    {"max_minutes", "0"},
    {"precision", "auto"},
    {"model_kind", "auto"},
    {"sampler", "unipc"},
    {"rng", "philox"},
    {"chain", "latents"},
};

enum status settings_init(struct settings_doc *d, struct err *e)
{
    memset(d, 0, sizeof(*d));
    TRY(option_set_init(&d->set, table, N_OPTIONS, &d->values, e));
    for (size_t i = 0; i < sizeof(program_defaults) / sizeof(program_defaults[0]); i++)
        TRY(option_assign_named(&d->set, program_defaults[i].name,
                                program_defaults[i].value, SOURCE_DEFAULT, e));
    return ST_OK;
}

void settings_ranks(struct settings_doc *d, struct world *w)
{
    enum option_source asked = d->set.source[option_find(&d->set, "use_cfg_parallel")];

    d->values.engine.world = w;
    if (asked != SOURCE_UNSET && !d->values.engine.guidance_degree)
        d->values.engine.guidance_degree = d->values.use_cfg_parallel ? 2 : 1;
}

void settings_release(struct settings_doc *d)
{
    option_set_release(&d->set);
}

/* ---- from JSON ------------------------------------------------------------------- */

/* A number, boolean or string as the text that option_assign reads. */
static enum status json_as_text(struct json_value v, char *number, size_t bytes,
                                const char **out, struct err *e)
{
    double d;
    bool flag;

    switch (json_kind(v)) {
    case JSON_STRING:
        return json_string(v, out, e);
    case JSON_BOOL:
        TRY(json_bool(v, &flag, e));
        *out = flag ? "true" : "false";
        return ST_OK;
    case JSON_NUMBER:
        TRY(json_double(v, -1e300, 1e300, &d, e));
        snprintf(number, bytes, "%.17g", d);
        *out = number;
        return ST_OK;
    default:
        return json_refuse(v, e, "must be a string, a number or a boolean");
    }
}

/* What is not built may be switched off. */
static bool json_is_off(struct json_value v)
{
    const char *text = "";
    double d = 1;
    bool flag = true;

    switch (json_kind(v)) {
    case JSON_BOOL:
        return json_bool(v, &flag, NULL) == ST_OK && !flag;
    case JSON_NUMBER:
        return json_double(v, 0, 1, &d, NULL) == ST_OK && d == 0;
    case JSON_STRING:
        return json_string(v, &text, NULL) == ST_OK && !text[0];
    default:
        return false;
    }
}

static bool is_words(enum option_type type)
{
    return type == OPT_TEXT || type == OPT_CHOICE || type == OPT_SIZE;
}

static enum status member_take(struct settings_doc *d, struct json_value v,
                               struct err *e)
{
    const char *text;
    char number[40];
    int i = option_find(&d->set, json_key(v));

    if (i < 0)
        return option_unknown(&d->set, "key", json_key(v), e);
    if (json_kind(v) == JSON_NULL)
        return ST_OK;
    if (table[i].type == OPT_UNBUILT && json_is_off(v))
        return ST_OK;
    if (d->set.source[i] == SOURCE_FILE)
        return err_set(e, ST_USAGE, "'%s' says '%s' a second time", json_key(v),
                       table[i].name);
    if (is_words(table[i].type) && json_kind(v) != JSON_STRING)
        return json_refuse(v, e, "must be a string");
    TRY(json_as_text(v, number, sizeof(number), &text, e));
    return option_assign(&d->set, i, text, SOURCE_FILE, e);
}

enum status settings_from_json(struct settings_doc *d, struct json_value object,
                               struct err *e)
{
    enum status st;

    if (json_kind(object) != JSON_OBJECT)
        return json_refuse(object, e, "a job must be an object");
    for (struct json_value v = json_first(object); json_exists(v); v = json_next(v)) {
        st = member_take(d, v, e);
        if (st == ST_USAGE || st == ST_UNBUILT)
            err_prefix(e, "'%s'", json_name(object.doc));
        TRY(st);
    }
    return ST_OK;
}

/* ---- printing -------------------------------------------------------------------- */

/* Names whose value belongs to the launch, not to what is generated. */
static bool is_run_only(const char *name)
{
    static const char *const names[] = {"job",
                                        "print_job",
                                        "json",
                                        "help",
                                        "checkpoint_every",
                                        "keep",
                                        "accept_change",
                                        "or_start",
                                        "on_existing",
                                        "max_minutes",
                                        "force",
                                        "log_json",
                                        "mesh",
                                        "use_usp",
                                        "ulysses_degree",
                                        "ring_degree",
                                        "guidance_degree",
                                        "ranks",
                                        "use_cfg_parallel",
                                        "prompt_file",
                                        "width",
                                        "height",
                                        "output",
                                        "resolution",
                                        "threads",
                                        "read_weights",
                                        "convert_weights",
                                        "vae_tile",
                                        "memory_limit",
                                        "algorithms",
                                        "vae_ranks",
                                        "use_parallel_vae",
                                        "use_tiling_vae",
                                        "save_noise",
                                        "save_embeds",
                                        "model",
                                        "save_latents",
                                        "enable_cfg",
                                        "task",
                                        "text_len",
                                        "model_cls",
                                        "self_attn_1_type",
                                        "cross_attn_1_type",
                                        "cross_attn_2_type"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static void value_print(const struct settings_doc *d, int i, const char *key,
                        struct json_out *out)
{
    const void *m = (const char *)&d->values + table[i].offset;
    struct buf text = BUF_INIT;
    int bytes;

    switch (table[i].type) {
    case OPT_FLAG:
        json_out_bool(out, key, *(const bool *)m);
        break;
    case OPT_INT:
        json_out_int(out, key, *(const int64_t *)m);
        break;
    case OPT_REAL:
        json_out_double(out, key, *(const double *)m);
        break;
    default:
        bytes = option_format(&d->set, i, NULL, 0);
        if (buf_reserve(&text, (size_t)bytes + 1))
            option_format(&d->set, i, text.data, (size_t)bytes + 1);
        json_out_string(out, key, text.data ? text.data : "");
        buf_release(&text);
        break;
    }
}

/* Names whose value makes no sense in another launch. */
static bool is_once(const char *name)
{
    static const char *const names[] = {
        "job",         "print_job",   "json",         "help",       "force",
        "prompt_file", "width",       "height",       "resolution", "ranks",
        "or_start",    "on_existing", "accept_change"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

enum status settings_launch_check(const struct settings_doc *d, struct err *e)
{
    for (int i = 0; i < N_OPTIONS; i++) {
        if (d->set.source[i] == SOURCE_FILE && is_once(table[i].name))
            return err_set(e, ST_INPUT,
                           "a checkpoint says '%s', which only a user can say",
                           table[i].name);
    }
    return ST_OK;
}

void settings_print_launch(const struct settings_doc *d, struct json_out *out)
{
    json_out_object(out, NULL);
    for (int i = 0; i < N_OPTIONS; i++) {
        if (table[i].type != OPT_UNBUILT && d->set.source[i] != SOURCE_UNSET &&
            !is_once(table[i].name))
            value_print(d, i, table[i].name, out);
    }
    json_out_end(out);
}

void settings_print(const struct settings_doc *d, bool sources, struct json_out *out)
{
    json_out_object(out, NULL);
    for (int i = 0; i < N_OPTIONS; i++) {
        const char *name = table[i].name;

        if (table[i].type == OPT_UNBUILT || d->set.source[i] == SOURCE_UNSET)
            continue;
        if (!sources && is_run_only(name))
            continue;
        if (!sources) {
            value_print(d, i, name, out);
            continue;
        }
        json_out_object(out, name);
        value_print(d, i, "value", out);
        json_out_string(out, "source", option_source_name(d->set.source[i]));
        json_out_end(out);
    }
    json_out_end(out);
}

void settings_print_said(const struct settings_doc *d, struct json_out *out)
{
    json_out_object(out, NULL);
    for (int i = 0; i < N_OPTIONS; i++) {
        if (table[i].type != OPT_UNBUILT && d->set.source[i] >= SOURCE_FILE &&
            !is_run_only(table[i].name))
            value_print(d, i, table[i].name, out);
    }
    json_out_end(out);
}

void settings_help(FILE *out)
{
    option_help(table, N_OPTIONS, out);
}
