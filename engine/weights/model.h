/* model.h - a model folder: its parts found, named, checked and described
 *
 * Two layouts are read. The original one (Wan2.1, SkyReels-V2) is flat:
 *
 *     config.json
 *     diffusion_pytorch_model.safetensors | model.safetensors, or shards with an index
 *     models_t5_umt5-xxl-enc-bf16.pth, Wan2.1_VAE.pth      (or .safetensors)
 *     google/umt5-xxl/spiece.model
 *
 * that of diffusers has a folder for each part: transformer/, text_encoder/, vae/,
 * tokenizer/, scheduler/. Either may hold tensors under either family of names. What
 * the model is comes from shapes; config files add the number of heads and may not
 * contradict. Every part is strict both ways: a tensor that is missing, misshapen or
 * left over is ST_INPUT. Files are opened inside the folder and never through links.
 *
 *     TRY(model_open(path, &(struct model_options){0}, &m, e));
 *     puts(model_describe(m));        "Wan2.1 T2V 1.3B (original layout, bf16)"
 *     TRY(weights_open(model_component(m, MODEL_DIT), &policy, &w, e));
 *     …
 *     model_close(m);                 after the weights are loaded
 *
 * Whether a model was trained with diffusion forcing cannot be seen in its weights. It
 * is taken from the fps tensors (only such a model has them), from the class in
 * model_index.json, or from "-DF-" in the name of the folder; otherwise the model
 * counts as plain. `kind` overrides.
 */
#ifndef ENGINE_WEIGHTS_MODEL_H
#define ENGINE_WEIGHTS_MODEL_H

#include "engine/config.h"
#include "engine/weights/component.h"

enum model_part {
    MODEL_DIT,
    MODEL_TEXT,
    MODEL_VAE,
    MODEL_PARTS,                  /* how many have weights */
    MODEL_TOKENIZER = MODEL_PARTS /* which has none */
};

enum model_kind { MODEL_KIND_AUTO, MODEL_KIND_PLAIN, MODEL_KIND_FORCING };

struct model_options {
    enum model_kind kind;
    unsigned without; /* bits 1 << part: not wanted, not opened */
    bool look;        /* open what is there, image-to-video and other models too */
};

enum model_layout { MODEL_ORIGINAL, MODEL_DIFFUSERS };

/* What scheduler/scheduler_config.json says; hints only, since the flow_shift of the
 * published SkyReels-V2 folders is not the one to use. */
struct scheduler_hints {
    bool there;
    char class_name[64];
    double flow_shift; /* 0: not given */
};

struct model;

/* Open a folder. ST_INPUT: a part is missing (with the file names that were tried)
 * or wrong. ST_UNBUILT: image-to-video, first-and-last-frame, VACE and
 * Wan2.2 models, and checkpoints that are quantised already. */
enum status model_open(const char *path, const struct model_options *options,
                       struct model **out, struct err *e);

/* model_close(NULL) is fine. Everything below belongs to the model. */
void model_close(struct model *m);

/* One line that says what it is. */
const char *model_describe(const struct model *m);
const char *model_path(const struct model *m);
enum model_layout model_layout(const struct model *m);

/* NULL, or (after looking) what it is that cannot be run. */
const char *model_unbuilt(const struct model *m);

/* NULL when the part is not open. */
const struct component *model_component(const struct model *m, enum model_part part);
const struct dit_config *model_dit(const struct model *m);
const struct text_config *model_text(const struct model *m);
const struct vae_config *model_vae(const struct model *m);
const char *model_tokenizer(const struct model *m); /* path of spiece.model */
const struct scheduler_hints *model_scheduler(const struct model *m);

#endif
