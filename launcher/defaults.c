/* defaults.c - what a model family starts from, and the settings that stand for others
 *
 * Figures of the families: SkyworkAI/SkyReels-V2 generate_video.py,
 * generate_video_df.py and README.md; Wan-Video/Wan2.1 generate.py and wan/configs.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/settings.h"
#include "launcher/text.h"

enum { SMALL_MODEL_DIM = 1536, PROMPT_BYTES_MAX = 1 << 20 };

static const char negative_chinese[] =
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，"
    "最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，"
    "画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走";

static const char negative_english[] =
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, "
    "paintings, images, static, overall gray, worst quality, low quality, JPEG "
    "compression residue, ugly, incomplete, extra fingers, poorly drawn hands, poorly "
    "drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, "
    "messy background, three legs, many people in the background, walking backwards";

struct family_defaults {
    const char *size, *num_frames, *fps, *steps, *shift, *guidance, *negative;
};

static const struct family_defaults *defaults_of(const struct dit_config *dit)
{
    static const struct family_defaults sky_df = {
        "960x544", "97", "24", "30", "8", "6", negative_chinese};
    static const struct family_defaults sky_plain = {
        "960x544", "97", "24", "30", "8", "6", negative_english};
    static const struct family_defaults wan_small = {
        "832x480", "81", "16", "50", "5", "5", negative_chinese};
    static const struct family_defaults wan = {
        "1280x720", "81", "16", "50", "5", "5", negative_chinese};

    if (dit->family == FAMILY_SKYREELS)
        return dit->diffusion_forcing ? &sky_df : &sky_plain;
    return dit->dim <= SMALL_MODEL_DIM ? &wan_small : &wan;
}

static enum status model_defaults(struct settings_doc *d, const struct dit_config *dit,
                                  struct err *e)
{
    const struct family_defaults *f = defaults_of(dit);

    TRY(option_assign_named(&d->set, "size", f->size, SOURCE_MODEL, e));
    TRY(option_assign_named(&d->set, "num_frames", f->num_frames, SOURCE_MODEL, e));
    TRY(option_assign_named(&d->set, "fps", f->fps, SOURCE_MODEL, e));
    TRY(option_assign_named(&d->set, "inference_steps", f->steps, SOURCE_MODEL, e));
    TRY(option_assign_named(&d->set, "shift", f->shift, SOURCE_MODEL, e));
    TRY(option_assign_named(&d->set, "guidance_scale", f->guidance, SOURCE_MODEL, e));
    return option_assign_named(&d->set, "negative_prompt", f->negative, SOURCE_MODEL,
                               e);
}

/* width + height, or resolution, into size, when they come from a source that may. */
static enum status size_fold(struct settings_doc *d, struct err *e)
{
    static const char *const usual[] = {NULL, "832x480", "960x544", "1280x720"};
    enum option_source w = d->set.source[option_find(&d->set, "width")];
    enum option_source h = d->set.source[option_find(&d->set, "height")];
    enum option_source r = d->set.source[option_find(&d->set, "resolution")];
    char text[48];

    if ((w == SOURCE_UNSET) != (h == SOURCE_UNSET))
        return err_set(e, ST_USAGE, "missing %s: width and height go together",
                       w == SOURCE_UNSET ? "width" : "height");
    if (d->values.resolution)
        TRY(option_assign_named(&d->set, "size", usual[d->values.resolution], r, e));
    if (w == SOURCE_UNSET)
        return ST_OK;
    snprintf(text, sizeof(text), "%lldx%lld", (long long)d->values.width,
             (long long)d->values.height);
    return option_assign_named(&d->set, "size", text, w < h ? w : h, e);
}

/* A whole text file without NUL bytes; a final newline is not part of it. */
static enum status prompt_check(struct buf *text, const char *path, struct err *e)
{
    if (text->len > PROMPT_BYTES_MAX)
        return err_set(e, ST_INPUT, "prompt '%s' is longer than %d bytes", path,
                       PROMPT_BYTES_MAX);
    if (memchr(text->data, 0, text->len))
        return err_set(e, ST_INPUT, "prompt '%s' has a NUL byte in it", path);
    if (text->len && text->data[text->len - 1] == '\n')
        text->len--;
    text->data[text->len] = '\0';
    return ST_OK;
}

static enum status prompt_read(const char *path, struct buf *text, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;
    int failure;

    if (fd < 0)
        return err_set(e, ST_INPUT, "cannot open prompt '%s': %s", path,
                       strerror(errno));
    if (buf_reserve(text, PROMPT_BYTES_MAX + 2))
        while ((got = read(fd, text->data + text->len,
                           PROMPT_BYTES_MAX + 1 - text->len)) > 0)
            text->len += (size_t)got;
    failure = errno;
    close(fd);
    if (text->failed)
        return err_set(e, ST_RESOURCE, "out of memory: prompt '%s'", path);
    if (got < 0)
        return err_set(e, ST_INPUT, "cannot read prompt '%s': %s", path,
                       strerror(failure));
    return prompt_check(text, path, e);
}

static enum status prompt_from_file(struct settings_doc *d, struct world *w,
                                    struct err *e)
{
    const char *path = d->values.prompt_file;
    enum option_source source = d->set.source[option_find(&d->set, "prompt_file")];
    struct buf text = BUF_INIT;
    enum status st = ST_OK;

    if (!path)
        return ST_OK;
    if (world_facts(w)->rank == 0)
        st = prompt_read(path, &text, e);
    if (st == ST_OK)
        st = text_share(w, &text, e);
    if (st == ST_OK)
        st = option_assign_named(&d->set, "prompt", buf_text(&text), source, e);
    buf_release(&text);
    return st;
}

/* enable_cfg: false is a guidance scale of 1, unless a flag says another. */
static enum status cfg_fold(struct settings_doc *d, struct err *e)
{
    enum option_source source = d->set.source[option_find(&d->set, "enable_cfg")];

    if (source == SOURCE_UNSET || d->values.enable_cfg)
        return ST_OK;
    return option_assign_named(&d->set, "guidance_scale", "1", source, e);
}

enum status settings_fold(struct settings_doc *d, struct err *e)
{
    TRY(size_fold(d, e));
    return cfg_fold(d, e);
}

enum status settings_finish(struct settings_doc *d, struct world *w,
                            const struct dit_config *dit, struct err *e)
{
    TRY(settings_fold(d, e));
    TRY(model_defaults(d, dit, e));
    return prompt_from_file(d, w, e);
}
