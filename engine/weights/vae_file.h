/* vae_file.h - the autoencoder of a model without the model
 *
 * What decoding needs on a machine that has nothing else: a file (Wan2.1_VAE.pth,
 * diffusion_pytorch_model.safetensors …), diffusers' folder of the part, with its
 * config.json, or a whole model folder, of which only the autoencoder is opened.
 */
#ifndef ENGINE_WEIGHTS_VAE_FILE_H
#define ENGINE_WEIGHTS_VAE_FILE_H

#include "engine/config.h"
#include "engine/weights/component.h"

/* On ST_OK the caller closes *out (component_close). ST_INPUT: not there, or not an
 * autoencoder of this family. */
enum status vae_file_open(const char *path, struct component *out,
                          struct vae_config *config, struct err *e);

#endif
