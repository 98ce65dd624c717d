/* file.h - regular files of strangers, opened once and read at offsets
 *
 * Data is read with pread and never mapped: a file that shrinks while we read it is an
 * error and not a signal. Names that come out of files (a shard index, a folder layout)
 * must be plain and are opened inside their folder without following symbolic links, so
 * nothing outside the folder can be reached. A path that the user typed may be a link.
 */
#ifndef ENGINE_WEIGHTS_FILE_H
#define ENGINE_WEIGHTS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/err.h"
#include "kernels/base/json.h"

struct file {
    int fd;
    int64_t bytes;
    char *path; /* for messages; owned */
};

struct folder {
    int fd;
    char *path; /* for messages; owned */
};

/* Can this name stand for a file directly inside a folder? No separators of any system,
 * no "..", no ':', no control characters, at most 255 bytes. */
bool file_name_plain(const char *name);

/* Open a regular file. _at: by a plain name, not through a link. */
enum status file_open(const char *path, struct file *out, struct err *e);
enum status file_open_at(const struct folder *dir, const char *name, struct file *out,
                         struct err *e);

/* Is there something of this name in the folder? Links count: opening reports them. */
bool file_exists_at(const struct folder *dir, const char *name);

/* All of [offset, offset + bytes); anything short is ST_INPUT. Threads may share a
 * file. */
enum status file_read(const struct file *f, int64_t offset, void *out, size_t bytes,
                      struct err *e);

/* Read and parse a whole JSON file in the folder. */
enum status file_json_at(const struct folder *dir, const char *name,
                         const struct json_limits *limits, struct json **out,
                         struct err *e);

void file_close(struct file *f);

enum status folder_open(const char *path, struct folder *out, struct err *e);
/* A folder inside; "." opens the same one again. */
enum status folder_open_at(const struct folder *dir, const char *name,
                           struct folder *out, struct err *e);
void folder_close(struct folder *dir);

#endif
