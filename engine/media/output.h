/* output.h - files and folders that get their name only when they are complete
 *
 *     TRY(output_open(path, force, &o, e));    no name, or path.PID.part, O_EXCL
 *     TRY_GOTO(st, output_write(o, p, n, e), err_discard);
 *     return output_commit(o, e);              fsync, rename, fsync of the folder
 * err_discard:
 *     output_discard(o);
 *
 * The folder is opened once and everything is done relative to it, so that nobody can
 * swap it in between. Without `force` the final rename refuses to replace anything that
 * appeared meanwhile. A folder output works the same way, with files inside.
 *
 * Failures: ST_USAGE when the output exists and force is not set, ST_RESOURCE when disk
 * or quota is full, ST_INPUT for everything else that the system says no to. */
#ifndef ENGINE_MEDIA_OUTPUT_H
#define ENGINE_MEDIA_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base/err.h"

struct output;

/* The status that belongs to a value of errno, and the text
 * "cannot WHAT 'PATH': reason" in *e. */
enum status output_errno(int code, const char *what, const char *path, struct err *e);

/* Would output_open succeed? Creates nothing. */
enum status output_check(const char *path, bool force, struct err *e);

enum status output_open(const char *path, bool force, struct output **out,
                        struct err *e);
enum status output_write(struct output *o, const void *data, size_t bytes,
                         struct err *e);
/* The open descriptor and the path, borrowed. */
int output_fd(const struct output *o);
const char *output_path(const struct output *o);
/* `o` is gone afterwards; on failure so is the temporary file. */
enum status output_commit(struct output *o, struct err *e);
void output_discard(struct output *o);

struct output_folder;

enum status output_folder_check(const char *path, bool force, struct err *e);
enum status output_folder_open(const char *path, bool force, struct output_folder **out,
                               struct err *e);
/* Write one complete, synced file; all names are to begin with `frame_`. */
enum status output_folder_put(struct output_folder *f, const char *name,
                              const void *data, size_t bytes, struct err *e);
enum status output_folder_commit(struct output_folder *f, struct err *e);
void output_folder_discard(struct output_folder *f);

#endif
