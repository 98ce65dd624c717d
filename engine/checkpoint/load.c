/* load.c - finds the newest checkpoint that is valid, trusting no byte before its turn
 *
 * One descriptor is opened, digested and handed to the parser: a file that is replaced
 * meanwhile changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint/block.h"
#include "engine/checkpoint/folder.h"
#include "engine/checkpoint/schema.h"

enum { READ_BYTES = 1 << 20, FILE_BYTES_MIN = 1024 };

static enum status file_open(int folder, const char *name, int *fd, int64_t *bytes,
                             struct err *e)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    struct stat sb;

    *fd = openat(folder, name, flags);
    if (*fd < 0)
        return err_set(e, ST_INPUT, "%s",
                       errno == ELOOP ? "a symbolic link" : strerror(errno));
    if (fstat(*fd, &sb) < 0 || !S_ISREG(sb.st_mode) || sb.st_size < FILE_BYTES_MIN) {
        close(*fd);
        return err_set(e, ST_INPUT, "not a file of at least %d bytes", FILE_BYTES_MIN);
    }
    *bytes = sb.st_size;
    return ST_OK;
}

static enum status digest_check(int fd, const struct block *b, struct err *e)
{
    unsigned char *part = malloc(READ_BYTES);
    off_t at = BLOCK_BYTES;
    char hex[DIGEST_HEX];
    struct digest *d;
    ssize_t n;

    if (!part || digest_create(&d, e) != ST_OK) {
        free(part);
        return err_set(e, ST_RESOURCE, "no memory to read a checkpoint");
    }
    while ((n = pread(fd, part, READ_BYTES, at)) > 0) {
        digest_add(d, part, (size_t)n);
        at += n;
    }
    digest_hex(d, hex);
    digest_destroy(d);
    free(part);
    if (n < 0)
        return err_set(e, ST_INPUT, "%s", strerror(errno));
    if (strcmp(hex, b->digest) != 0)
        return err_set(e, ST_INPUT, "its bytes are not those that were written");
    return ST_OK;
}

static enum status block_check(int fd, int64_t bytes, struct block *b, struct err *e)
{
    unsigned char raw[BLOCK_BYTES];

    if (pread(fd, raw, BLOCK_BYTES, 0) != BLOCK_BYTES)
        return err_set(e, ST_INPUT, "%s", strerror(errno));
    TRY(block_decode(raw, b, e));
    if (b->file_bytes != bytes)
        return err_set(e, ST_INPUT, "it has %lld bytes, %lld were written",
                       (long long)bytes, (long long)b->file_bytes);
    return digest_check(fd, b, e);
}

static enum status file_read(int fd, int64_t bytes, const char *name,
                             struct checkpoint *ck, struct block *b, struct err *e)
{
    TRY(block_check(fd, bytes, b, e));
    TRY(schema_read(fd, name, bytes, ck, e));
    if (ck->segment == b->segment && ck->rows_done == b->row)
        return ST_OK;
    checkpoint_release(ck);
    return err_set(e, ST_INPUT, "its block is of another row");
}

static enum status generation_read(const struct checkpoint_store *s,
                                   const struct generation *g, const char *name,
                                   struct checkpoint *ck, struct err *e)
{
    struct block b = {0};
    enum status st;
    int64_t bytes;
    int fd;

    TRY(file_open(s->fd, name, &fd, &bytes, e));
    st = file_read(fd, bytes, name, ck, &b, e);
    close(fd);
    if (st == ST_OK && (b.segment != g->segment || b.row != g->row ||
                        b.incarnation != g->incarnation)) {
        checkpoint_release(ck);
        st = err_set(e, ST_INPUT, "it has been renamed");
    }
    return st;
}

/* Try all, newest first; *at is the index of the first valid one, or their number. */
static enum status generations_try(struct checkpoint_store *s,
                                   const struct generations *all,
                                   void (*say)(void *ctx, const char *line), void *ctx,
                                   struct checkpoint *ck, int *at, struct err *e)
{
    for (*at = 0; *at < all->n; ++*at) {
        char name[CHECKPOINT_NAME_BYTES];
        struct err why = ERR_INIT;
        enum status st;

        generation_name(&all->g[*at], name);
        st = generation_read(s, &all->g[*at], name, ck, &why);
        if (st == ST_OK)
            return ST_OK;
        err_prefix(&why, "checkpoint '%s/%s' rejected", s->path, name);
        if (st != ST_INPUT)
            return err_set(e, st, "%s", why.text);
        if (say)
            say(ctx, why.text);
    }
    return ST_OK;
}

enum status checkpoint_newest(struct checkpoint_store *s,
                              void (*say)(void *ctx, const char *line), void *ctx,
                              struct checkpoint *ck, char name[CHECKPOINT_NAME_BYTES],
                              bool *found, struct err *e)
{
    struct generations all;
    enum status st;
    int at = 0;

    TRY(generations_list(s, &all, e));
    st = generations_try(s, &all, say, ctx, ck, &at, e);
    if (st == ST_OK && all.n > 0 && at == all.n)
        st = err_set(e, ST_INPUT, "no valid checkpoint in '%s': %d rejected", s->path,
                     all.n);
    if (st == ST_OK)
        *found = all.n > 0;
    if (st == ST_OK && all.n > 0) {
        generation_name(&all.g[at], name);
        generation_good(s, &all.g[at]);
    }
    generations_release(&all);
    return st;
}

/* Bytes of an entry of `folder`, 0 when it is not there. */
static int64_t entry_bytes(int folder, const char *name)
{
    struct stat sb;

    return fstatat(folder, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 ? sb.st_size : 0;
}

int64_t checkpoint_file_bytes(const char *path)
{
    return entry_bytes(AT_FDCWD, path);
}

enum status checkpoint_each(struct checkpoint_store *s,
                            enum status (*visit)(void *ctx, const char *name,
                                                 int64_t bytes,
                                                 const struct checkpoint *ck,
                                                 const char *why, struct err *e),
                            void *ctx, struct err *e)
{
    struct generations all;
    enum status st = ST_OK;

    TRY(generations_list(s, &all, e));
    for (int i = 0; i < all.n && st == ST_OK; i++) {
        char name[CHECKPOINT_NAME_BYTES];
        struct checkpoint ck = {0};
        struct err why = ERR_INIT;
        bool valid;

        generation_name(&all.g[i], name);
        valid = generation_read(s, &all.g[i], name, &ck, &why) == ST_OK;
        st = visit(ctx, name, entry_bytes(s->fd, name), valid ? &ck : NULL, why.text,
                   e);
        checkpoint_release(&ck);
    }
    generations_release(&all);
    return st;
}

enum status checkpoint_read(const char *path, struct checkpoint *ck, struct err *e)
{
    struct block b = {0};
    enum status st;
    int64_t bytes;
    int fd = -1;

    st = file_open(AT_FDCWD, path, &fd, &bytes, e);
    if (st == ST_OK) {
        st = file_read(fd, bytes, path, ck, &b, e);
        close(fd);
    }
    if (st != ST_OK)
        err_prefix(e, "checkpoint '%s' rejected", path);
    return st;
}
