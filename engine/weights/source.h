/* source.h - a set of open files and the tensors in them
 *
 * A source is one safetensors file, a set of shards with its index, or one .pth file.
 * Opening reads headers only and checks everything (see safetensors.h, pth.h). Data is
 * read on request, by as many threads as like.
 */
#ifndef ENGINE_WEIGHTS_SOURCE_H
#define ENGINE_WEIGHTS_SOURCE_H

#include "engine/weights/file.h"
#include "engine/weights/stored.h"

struct source;

/* Open a file that the user named; its kind is seen from its first bytes. */
enum status source_open(const char *path, struct source **out, struct err *e);

/* Open `name` in a folder: "….safetensors.index.json" is a set of shards. A shard's
 * name must be plain; every tensor of the index lies in the shard it names, every
 * tensor of a shard is in the index, and none is in two. */
enum status source_open_at(const struct folder *dir, const char *name,
                           struct source **out, struct err *e);

/* source_close(NULL) is fine. */
void source_close(struct source *s);

/* What messages call it: the path of the file or of the index. */
const char *source_path(const struct source *s);
int source_files(const struct source *s);
const struct file *source_file(const struct source *s, int i);

/* The tensors, sorted by name. */
int source_count(const struct source *s);
const struct stored *source_at(const struct source *s, int i);

/* By name: NULL when absent; _get checks rank (-1: any) and dims (NULL or -1: any). */
const struct stored *source_find(const struct source *s, const char *name);
enum status source_get(const struct source *s, const char *name, int rank,
                       const int64_t *dims, const struct stored **out, struct err *e);

/* `bytes` of the stored bytes from `begin`, as they are. */
enum status source_read(const struct source *s, const struct stored *t, int64_t begin,
                        void *out, size_t bytes, struct err *e);

/* All elements, converted to `as`. */
enum status source_read_as(const struct source *s, const struct stored *t,
                           enum dtype as, void *out, struct err *e);

#endif
