/* read_config.h - component configurations, read off tensor shapes and config files
 *
 * Private to the model reader, but for the lists of tensors. Shapes say what a model
 * is; a config file adds what shapes cannot say (number of heads, eps, latent
 * statistics) and may not contradict them. Every function also checks that exactly the
 * tensors of that configuration are there. `config` may be an absent value.
 */
#ifndef ENGINE_WEIGHTS_READ_CONFIG_H
#define ENGINE_WEIGHTS_READ_CONFIG_H

#include "engine/config.h"
#include "engine/weights/component.h"
#include "kernels/base/json.h"

/* What kind of transformer this is, before the strict check. `unbuilt` is NULL, or
 * names what it is that cannot be run yet: "Wan2.1 I2V (image to video)" … */
struct dit_kind {
    const char *unbuilt;
    bool has_fps;
    int64_t in_channels, dim, layers;
};

enum status read_dit_kind(const struct component *c, struct json_value config,
                          struct dit_kind *out, struct err *e);

/* Family and diffusion_forcing are left as they are. */
enum status read_dit(const struct component *c, struct json_value config,
                     struct dit_config *out, struct err *e);
enum status read_text(const struct component *c, struct json_value config,
                      struct text_config *out, struct err *e);
enum status read_vae(const struct component *c, struct json_value config,
                     struct vae_config *out, struct err *e);

/* The tensors that a model of this configuration has, appended to `l`. */
void expect_dit(struct expect_list *l, const struct dit_config *config);
void expect_text(struct expect_list *l, const struct text_config *config);
void expect_vae(struct expect_list *l, const struct vae_config *config);

/* A member that, if there, must be this integer: "'config.json': 'dim' is 1536, the
 * tensors say 80". */
enum status config_agrees(struct json_value config, const char *key, int64_t value,
                          struct err *e);

/* A member that, if there, must be this constant of the architecture. */
enum status config_is_true(struct json_value config, const char *key, struct err *e);
enum status config_is_text(struct json_value config, const char *key, const char *value,
                           struct err *e);
enum status config_is_list(struct json_value config, const char *key, int n,
                           const int64_t *value, struct err *e);

/* Sizes that every dimension must keep to, so that products of a few fit 64 bits. */
enum { DIM_MAX = 1 << 20, LAYERS_MAX = 1024 };
enum status config_dim(const struct component *c, const char *what, int64_t value,
                       int64_t max, struct err *e);

#endif
