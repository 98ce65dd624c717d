/* keep_match.h - what a run must have in common with the checkpoint it goes on from
 *
 * The configuration, but for accepted keys; the ring degree and the precision that was
 * chosen, unless accepted. Another build or another machine is allowed: rounding may
 * differ. All that is allowed but may change bytes is said in a note.
 */
#ifndef ENGINE_PIPELINE_KEEP_MATCH_H
#define ENGINE_PIPELINE_KEEP_MATCH_H

#include "engine/pipeline/keep.h"

/* Rank 0, with k->from read: ST_INPUT names what differs. */
enum status keep_match(struct keep *k, struct err *e);

/* "cuda (NVIDIA H200, cublasLt 130002)": what computes. */
void keep_backend(const struct keep *k, char out[CHECKPOINT_NOTE_BYTES]);

/* "framefleet 0.1.0": the build. */
void keep_program(char out[CHECKPOINT_NOTE_BYTES]);

#endif
