/* halt.h - a thread that ends a run which cannot wait for its next row
 *
 * A run looks at its stop flag between rows and between steps of decoding, and then
 * ends in order. Rows take minutes, and who sends TERM waits a second: mpirun gives its
 * ranks one before it kills them. So a thread waits for the signal and, by what the run
 * is at, does what can be done without the run:
 *
 *                  USR1, USR2                 TERM, INT, HUP
 *     load         ends at once: text is not encoded, there is nothing to save
 *     rows         the next row ends         the newest snapshot is saved at once
 *                  the run
 *     decode       what was denoised is saved; half of the output goes
 *     closing      nothing: the run is ending by itself
 *
 * After saving it leaves the run HALT_PATIENCE_MS from the signal to end by itself,
 * and ends the process then. Only rank 0 can do all that. A rank that cannot tell rank
 * 0 of its signal (another machine: launcher/interrupt.h) watches too, and ends the
 * launch by itself after HALT_FAR_MS where rows do not.
 *
 *     TRY(halt_open(&w, &args, e));         in HALT_LOAD
 *     halt_stage(w, HALT_ROWS, writer);
 *     …
 *     halt_close(w);                        before the writer is closed
 */
#ifndef ENGINE_PIPELINE_HALT_H
#define ENGINE_PIPELINE_HALT_H

#include <signal.h>

#include "engine/checkpoint/writer.h"
#include "engine/pipeline/job.h"

enum { HALT_PATIENCE_MS = 500, HALT_FAR_MS = 2000 };

enum halt_stage { HALT_LOAD, HALT_ROWS, HALT_DECODE, HALT_CLOSING };

struct halt;

struct halt_args {
    const volatile sig_atomic_t *signal; /* the one that came, or 0 */
    int fd; /* an eventfd that counts them; its owner keeps it open */
    bool leads;
    const struct job *job; /* borrowed */
    /* Says `text` and ends all ranks with exit code 75; does not come back. Called from
     * the thread. NULL: there is no thread. */
    void (*end)(void *ctx, const char *text);
    void *ctx;
};

/* Not collective. */
enum status halt_open(struct halt **out, const struct halt_args *a, struct err *e);

/* The run is at another stage; `writer` may be NULL. A run that ends by itself says
 * HALT_CLOSING first, and is not disturbed from then on. `w` may be NULL. */
void halt_stage(struct halt *w, enum halt_stage stage,
                struct checkpoint_writer *writer);

/* NULL is fine. */
void halt_close(struct halt *w);

#endif
