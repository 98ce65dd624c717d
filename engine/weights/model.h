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
 *     struct model_options opt = {.need = MODEL_ALL};
 *     TRY(model_open(path, &opt, &m, e));
 *     puts(m->description);                   "Wan2.1 T2V 1.3B (original layout, bf16)"
 *     TRY(weights_open(&m->transformer, &policy, &w, e));
 *     …
 *     model_close(m);                         after the weights are loaded
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

enum {
    MODEL_TRANSFORMER = 1,
    MODEL_TEXT = 2,
    MODEL_VAE = 4,
    MODEL_TOKENIZER = 8,
    MODEL_ALL = 15
};

enum model_kind { MODEL_KIND_AUTO, MODEL_KIND_PLAIN, MODEL_KIND_FORCING };

struct model_options {
    unsigned need;     /* parts that must be there */
    unsigned optional; /* parts that are opened when they are there */
    enum model_kind kind;
    bool allow_unbuilt; /* open image-to-video and other models too, to look at them */
};

enum model_layout { MODEL_ORIGINAL, MODEL_DIFFUSERS };

/* What scheduler/scheduler_config.json says; hints only, since the flow_shift of the
 * published SkyReels-V2 folders is not the one to use. */
struct scheduler_hints {
    bool there;
    char class_name[64];
    double flow_shift; /* 0: not given */
};

struct model {
    char *path;
    enum model_layout layout;
    char description[160];
    const char *unbuilt; /* NULL, or what it is that cannot be run */
    struct component transformer, text_encoder, vae; /* source NULL: not opened */
    struct dit_config dit;   /* valid when the transformer is open and built */
    struct text_config text; /* valid when the text encoder is open */
    struct vae_config vae_config;
    char *tokenizer; /* path of spiece.model, or NULL */
    struct scheduler_hints scheduler;
};

/* Open a folder. ST_INPUT: a part that is needed is missing (with the file names that
 * were tried) or wrong. ST_UNBUILT: image-to-video, first-and-last-frame, VACE and
 * Wan2.2 models, and checkpoints that are quantised already. */
enum status model_open(const char *path, const struct model_options *options,
                       struct model **out, struct err *e);

/* model_close(NULL) is fine. */
void model_close(struct model *m);

#endif
