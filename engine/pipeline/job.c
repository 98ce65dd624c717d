/* job.c - what is impossible about a job, said before anything is loaded */
#include "engine/pipeline/job.h"

#include <string.h>

#include "engine/checkpoint/identity.h"
#include "engine/sample/matrix.h"
#include "engine/text/clean.h"

/* The VAE halves three times and the transformer's patches once more. */
enum { SIZE_STEP = 16 };
static const int64_t CELLS_MAX = (int64_t)1 << 28; /* of a timestep matrix: 1 GiB */

static enum status side_check(const char *name, int64_t side, struct err *e)
{
    int64_t low = side / SIZE_STEP * SIZE_STEP;

    if (side % SIZE_STEP == 0)
        return ST_OK;
    return err_set(e, ST_USAGE,
                   "impossible %s %lld: it must be a multiple of %d, such as %lld or "
                   "%lld",
                   name, (long long)side, SIZE_STEP,
                   (long long)(low > 0 ? low : low + SIZE_STEP),
                   (long long)(low + (low > 0 ? SIZE_STEP : 2 * SIZE_STEP)));
}

/* What only models trained with a noise level per frame can do. */
static enum status forcing_check(const struct job *job, struct err *e)
{
    struct {
        const char *name;
        bool asked;
    } wants[] = {
        {"ar_step", job->ar_step > 0},
        {"overlap_history", job->overlap_history > 0},
        {"addnoise_condition", job->addnoise_condition > 0},
    };

    for (int i = 0; i < 3; i++) {
        if (wants[i].asked)
            return err_set(e, ST_USAGE,
                           "impossible %s: the model is not a diffusion forcing one; "
                           "say --model_kind df if it is",
                           wants[i].name);
    }
    return ST_OK;
}

bool job_replaces(const struct job *job)
{
    return job->force || job->resumed;
}

bool job_encodes(const struct job *job)
{
    return !job->embeds && !job->resumed;
}

bool job_guided(const struct job *job)
{
    return job->guidance_scale > 1.0;
}

enum status job_segments(const struct job *job, struct segments *out, struct err *e)
{
    struct segments_args a = {
        .num_frames = (int)job->num_frames,
        .base_num_frames = (int)job->base_num_frames,
        .overlap_history = (int)job->overlap_history,
        .causal_block_size = (int)job->causal_block_size,
    };

    return segments_init(out, &a, e);
}

static enum status matrix_fits(const struct schedule *s, const struct matrix_args *a,
                               struct err *e)
{
    int64_t rows = matrix_rows(s->n, a);

    if (rows * a->frames <= CELLS_MAX)
        return ST_OK;
    return err_set(
        e, ST_RESOURCE,
        "impossible num_frames: a window of %d latent frames takes %lld rows "
        "of sampling; --overlap_history cuts a long video into windows",
        a->frames, (long long)rows);
}

/* Every segment's matrix must exist; made once here, so that nothing fails later. */
static enum status matrices_check(const struct job *job, struct err *e)
{
    struct schedule schedule;
    struct segments segments;
    enum status st = ST_OK;

    TRY(schedule_init(&schedule, (enum solver)job->solver, (int)job->inference_steps,
                      job->shift, e));
    TRY(job_segments(job, &segments, e));
    for (int i = 0; i < segments.count && st == ST_OK; i++) {
        const struct segment *g = &segments.segment[i];
        struct matrix_args a = {g->frames, g->frames, (int)job->ar_step, g->prefix,
                                (int)job->causal_block_size};
        struct matrix m;

        st = matrix_fits(&schedule, &a, e);
        if (st == ST_OK)
            st = matrix_init(&m, &schedule, &a, e);
        if (st == ST_OK)
            matrix_release(&m);
    }
    segments_release(&segments);
    return st;
}

static enum status text_check(const char *name, const char *text, struct err *e)
{
    if (!text || strlen(text) <= PROMPT_MAX_BYTES)
        return ST_OK;
    return err_set(e, ST_USAGE, "impossible %s: %zu bytes, %d at most", name,
                   strlen(text), PROMPT_MAX_BYTES);
}

enum status job_check(const struct job *job, const struct dit_config *dit,
                      struct err *e)
{
    if (!job->prompt && !job->embeds)
        return err_set(e, ST_USAGE,
                       "missing prompt: give --prompt, --prompt_file or --embeds");
    TRY(text_check("prompt", job->prompt, e));
    TRY(text_check("negative_prompt", job->negative_prompt, e));
    TRY(side_check("width", job->size.width, e));
    TRY(side_check("height", job->size.height, e));
    TRY(identity_accept_check(job->accept_change, e));
    if (!dit->diffusion_forcing)
        TRY(forcing_check(job, e));
    return matrices_check(job, e);
}
