/* segments.h - how a long video is cut into windows that overlap
 *
 * All numbers are latent frames unless they say pixels. A video of F = 4(T - 1) + 1
 * frames has T latent frames. A window of the base length b overlaps the one before it
 * by o; the windows are chained in latents (the prefix is the last o latents of what is
 * there) or through pixels (the prefix is re-encoded from decoded frames, as
 * SkyReels-V2 does). Segment i of SkyworkAI/SkyReels-V2
 * pipelines/diffusion_forcing_pipeline.py has min(T - i(b - o), b) latent frames, and
 * there are 2 + floor((T - b - 1) / (b - o)).
 */
#ifndef ENGINE_SAMPLE_SEGMENTS_H
#define ENGINE_SAMPLE_SEGMENTS_H

#include "kernels/base/err.h"

enum { SEGMENTS_MAX = 4096 };

struct segments_args {
    int num_frames;      /* pixels, 4k + 1 */
    int base_num_frames; /* pixels, 4k + 1 */
    int overlap_history; /* pixels, 4k + 1; 0: one window however long */
    int causal_block_size;
};

struct segment {
    int first;  /* of the whole video, where this segment's latent frame 0 lies */
    int frames; /* latent frames of the window, prefix included */
    int prefix; /* given latent frames at its start */
};

struct segments {
    int count;
    int total; /* latent frames of the whole video */
    struct segment *segment;
};

/* Wrong counts are ST_USAGE with the nearest right ones; in particular every segment
 * must be a multiple of causal_block_size, and so must the overlap. */
enum status segments_init(struct segments *s, const struct segments_args *a,
                          struct err *e);
void segments_release(struct segments *s);

/* Latent frames of `frames` video frames, and back. */
int latent_frames(int frames);
int video_frames(int latents);

#endif
