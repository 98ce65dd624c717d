/* h5.h - named arrays in HDF5 files: saved latents, text embeddings, noise
 *
 * The only users of HDF5 are the files of this folder. What we write, h5dump, h5py and
 * MATLAB read; what others write is read as if they were hostile.
 *
 * Layouts, all arrays row-major, little-endian f32:
 *
 *     latents      /latents/x                    [C, N, H, W]
 *     embeddings   /text/cond, /text/uncond      [length, width], attribute `length`
 *     noise        /initial/<segment>            [C, N, H, W]
 *                  /prefix/<segment>/<row>       [C, P, H, W], optional
 *                  attributes of /: seed, source, shift, steps
 *
 * Writing. Nothing is seen under `path` before it is whole: the data goes to a file
 * without a name in the same folder (where there are none, with a temporary one), which
 * is synced, named, and the folder synced. A process that is killed leaves nothing.
 *
 *     struct h5_writer *w;
 *     TRY(h5_create("x.h5", force, &w, e));
 *     TRY_GOTO(st, h5_put(w, "latents/x", 4, dims, x, e), err_abandon);
 *     TRY_GOTO(st, h5_put_int(w, "", "seed", 7, e), err_abandon);
 *     return h5_commit(w, e);
 * err_abandon:
 *     h5_abandon(w);
 *
 * Or the file is only built, in memory, for somebody who has a protocol of his own for
 * bringing bytes to the disk (engine/checkpoint):
 *
 *     TRY(h5_build("x.h5", 512, &w, e));
 *     …
 *     return h5_take(w, &bytes, &n_bytes, e);
 *
 * The format is HDF5 1.10's, with checksums on all metadata and fletcher32 on all data:
 * damage shows as an error, not as other numbers. Holes read as NaN.
 *
 * Reading. HDF5 parses a file in a child process of this same program (memory, time and
 * descriptors limited), and only values come back through a pipe. A library that
 * crashes or hangs on a file is then one line and ST_INPUT. So **main must begin with**
 *
 *     int code = h5_child_main(argc, argv);
 *
 *     if (code >= 0)
 *         return code;
 *
 * Accepted: hard links only, no external, virtual or variable-length storage, floats of
 * 2, 4 or 8 bytes (converted to f32) or integers, no filters but shuffle, fletcher32
 * and deflate, chunks up to 8 MiB, every chunk there, every value finite.
 *
 * Threads may write at the same time, each with a writer of its own: the library is not
 * thread safe, so a lock lets one of them in. Reading starts a process and may run
 * anywhere.
 */
#ifndef ENGINE_H5_H5_H
#define ENGINE_H5_H5_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/err.h"

enum {
    H5_RANK_MAX = 6,
    H5_NAME_MAX = 128, /* bytes of a path or an attribute's name, with the NUL */
    H5_TEXT_MAX = 65536
};

/* ---- writing --------------------------------------------------------------------- */

struct h5_writer;

/* Begin a file that will be `path`. When something is there already and `force` is not
 * set: ST_USAGE, now and again at the commit. On ST_OK the caller owns *out and ends it
 * with h5_commit or h5_abandon. A folder that is not there or not ours: ST_USAGE; no
 * space, in any call: ST_RESOURCE. */
enum status h5_create(const char *path, bool force, struct h5_writer **out,
                      struct err *e);

/* Begin a file in memory with `user_block` bytes of zeros in front (0, or a power of
 * two from 512); `name` is what errors call it. On ST_OK the caller owns *out and ends
 * it with h5_take or h5_abandon. */
enum status h5_build(const char *name, size_t user_block, struct h5_writer **out,
                     struct err *e);

/* Add dense `data` under `name` ("latents/x"; groups are made as needed). No dimension
 * may be zero. */
enum status h5_put(struct h5_writer *w, const char *name, int rank, const int64_t *dims,
                   const float *data, struct err *e);

enum status h5_put_ints(struct h5_writer *w, const char *name, int rank,
                        const int64_t *dims, const int64_t *data, struct err *e);

/* Make a group, for attributes; one that is there already is fine. */
enum status h5_group(struct h5_writer *w, const char *name, struct err *e);

/* Add an attribute to the object `name` ("": the root), which must be there. Texts are
 * stored with fixed length; more than H5_TEXT_MAX bytes are ST_USAGE. */
enum status h5_put_int(struct h5_writer *w, const char *name, const char *attr,
                       int64_t value, struct err *e);
enum status h5_put_real(struct h5_writer *w, const char *name, const char *attr,
                        double value, struct err *e);
enum status h5_put_text(struct h5_writer *w, const char *name, const char *attr,
                        const char *value, struct err *e);

/* Finish the file, sync it, give it its name. Frees `w` in every case; on failure
 * nothing is left behind and what was under the name before is untouched. */
enum status h5_commit(struct h5_writer *w, struct err *e);

/* Finish what h5_build began: *data is the whole file, the caller frees it. Frees `w`
 * in every case. */
enum status h5_take(struct h5_writer *w, void **data, size_t *bytes, struct err *e);

/* Drop the unfinished file. h5_abandon(NULL) is fine. */
void h5_abandon(struct h5_writer *w);

/* ---- reading --------------------------------------------------------------------- */

/* An array that is wanted. `path` is ours, never a stranger's. */
struct h5_array {
    const char *path;
    int rank;
    int64_t dims[H5_RANK_MAX]; /* wanted, -1: any; after the call what is there */
    int64_t max_count;         /* elements at most; what -1 may add up to */
    bool integers;             /* int64_t, not f32 */
    float *data;               /* NULL: only the shape is asked for; else room for all
                                * elements, and no dimension may be -1 */
    int64_t *ints;             /* the same for integers */
    bool optional;             /* not being there is fine */
    bool found;                /* result */
};

enum h5_attr_kind { H5_ATTR_INT, H5_ATTR_REAL, H5_ATTR_TEXT };

/* A scalar attribute that is wanted. */
struct h5_attr {
    const char *object; /* path of group or dataset, "": the root */
    const char *name;
    enum h5_attr_kind kind;
    bool optional;
    bool found;        /* result; the value is untouched when false */
    int64_t i;         /* result of H5_ATTR_INT */
    double f;          /* result of H5_ATTR_REAL, finite; integers are converted */
    char *text;        /* H5_ATTR_TEXT: room for text_bytes, result with NUL */
    size_t text_bytes; /* H5_TEXT_MAX + 1 at most */
};

/* Read what is wanted from the file `path` (a regular file, no symbolic link). Results
 * are set on ST_OK only, except that memory behind `data` and `text` may have been
 * written to. Anything about the file that is not as wanted: ST_INPUT with the name of
 * the file and of the dataset or attribute. */
enum status h5_read(const char *path, struct h5_array *arrays, int n_arrays,
                    struct h5_attr *attrs, int n_attrs, struct err *e);

/* The same from an open regular file, borrowed, which errors call `name`. */
enum status h5_read_fd(int fd, const char *name, struct h5_array *arrays, int n_arrays,
                       struct h5_attr *attrs, int n_attrs, struct err *e);

/* The child's side: returns -1 when these are not the arguments of a child that h5_read
 * started, else the exit code. */
int h5_child_main(int argc, char **argv);

#endif
