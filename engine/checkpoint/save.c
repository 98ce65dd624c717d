/* save.c - a checkpoint to disk, stage by stage
 *
 * Bytes 512 to the end are written first; the block that vouches for them comes when
 * they have been read back and found right, so a temporary file is never a valid
 * checkpoint by accident. An fsync that fails is not repeated: the kernel may have
 * dropped the pages, and a second fsync would then succeed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/checkpoint/block.h"
#include "engine/checkpoint/folder.h"
#include "engine/checkpoint/schema.h"
#include "kernels/base/clock.h"

enum { WRITE_BYTES = 4 << 20, OVERHEAD_BYTES = 1 << 20 };

struct save {
    struct checkpoint_store *s;
    const struct checkpoint *ck;
    struct generation g;
    char name[CHECKPOINT_NAME_BYTES], temp[CHECKPOINT_NAME_BYTES + 8];
    unsigned char *image;
    size_t bytes;
    char digest[DIGEST_HEX]; /* of the image behind its block */
    int fd;
};

static double room_of(const struct checkpoint_store *s)
{
    struct statvfs fs;

    return fstatvfs(s->fd, &fs) < 0 ? -1.0 : (double)fs.f_bavail * (double)fs.f_frsize;
}

static enum status save_failed(const struct save *v, struct err *e)
{
    const char *why = strerror(errno);

    return err_set(e, ST_RESOURCE,
                   "cannot write checkpoint '%s/%s' of %.1f MiB: %s (%.1f MiB free)",
                   v->s->path, v->name, (double)v->bytes / (1 << 20), why,
                   room_of(v->s) / (1 << 20));
}

/* What the test hook says: 0, CHECKPOINT_SHORT, or errno is set and it is -2. */
static int stage_ask(const struct save *v, const char *stage)
{
    int code = v->s->hook.at ? v->s->hook.at(v->s->hook.ctx, stage) : 0;

    if (code > 0)
        errno = code;
    return code > 0 ? -2 : code;
}

static enum status stage(const struct save *v, const char *name, struct err *e)
{
    return stage_ask(v, name) == -2 ? save_failed(v, e) : ST_OK;
}

/* ---- stages ---------------------------------------------------------------------- */

static enum status room_check(const struct save *v, bool *tight, struct err *e)
{
    double wanted = (double)checkpoint_bytes(v->ck) + OVERHEAD_BYTES;
    double room = room_of(v->s);

    *tight = room >= 0.0 && room < 2.0 * wanted;
    if (room < 0.0 || room >= wanted)
        return ST_OK;
    return err_set(e, ST_RESOURCE,
                   "cannot write checkpoint '%s/%s': %.1f MiB needed, %.1f MiB free",
                   v->s->path, v->name, wanted / (1 << 20), room / (1 << 20));
}

static enum status image_build(struct save *v, struct err *e)
{
    void *image;

    TRY(stage(v, "build", e));
    TRY(schema_build(v->ck, v->name, &image, &v->bytes, e));
    v->image = image;
    digest_of(v->image + BLOCK_BYTES, v->bytes - BLOCK_BYTES, v->digest);
    return ST_OK;
}

static enum status temp_create(struct save *v, struct err *e)
{
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

    TRY(stage(v, "create", e));
    v->fd = openat(v->s->fd, v->temp, flags, 0600);
    return v->fd < 0 ? save_failed(v, e) : ST_OK;
}

static enum status image_write(const struct save *v, struct err *e)
{
    size_t at = BLOCK_BYTES;

    while (at < v->bytes) {
        size_t n = v->bytes - at < WRITE_BYTES ? v->bytes - at : WRITE_BYTES;
        int code = stage_ask(v, "write");
        ssize_t done;

        if (code == -2)
            return save_failed(v, e);
        if (code == CHECKPOINT_SHORT && n > 1)
            n /= 2;
        done = pwrite(v->fd, v->image + at, n, (off_t)at);
        if (done < 0 && errno != EINTR)
            return save_failed(v, e);
        if (done > 0)
            at += (size_t)done;
    }
    return ST_OK;
}

/* SHA-256 of the file from BLOCK_BYTES on, by plain reads. */
static enum status file_digest(const struct save *v, char hex[DIGEST_HEX],
                               struct err *e)
{
    unsigned char *part = malloc(WRITE_BYTES);
    off_t at = BLOCK_BYTES;
    struct digest *d;
    ssize_t n = -1;

    if (!part || digest_create(&d, e) != ST_OK) {
        free(part);
        return err_set(e, ST_RESOURCE, "no memory to verify '%s'", v->name);
    }
    while ((n = pread(v->fd, part, WRITE_BYTES, at)) > 0) {
        digest_add(d, part, (size_t)n);
        at += n;
    }
    digest_hex(d, hex);
    digest_destroy(d);
    free(part);
    return n < 0 ? save_failed(v, e) : ST_OK;
}

static enum status wrong(const struct save *v, const char *what, struct err *e)
{
    return err_set(e, ST_RESOURCE,
                   "cannot write checkpoint '%s/%s': %s does not read back as written",
                   v->s->path, v->name, what);
}

/* The values must come back through HDF5 as they are in the snapshot. */
static enum status values_verify(const struct save *v, struct err *e)
{
    struct checkpoint again = {0};
    const char *what;

    if (schema_read(v->fd, v->name, (int64_t)v->bytes, &again, e) != ST_OK) {
        e->status = ST_RESOURCE;
        return err_prefix(e, "cannot verify checkpoint '%s/%s'", v->s->path, v->name);
    }
    what = checkpoint_difference(v->ck, &again);
    checkpoint_release(&again);
    return what ? wrong(v, what, e) : ST_OK;
}

static enum status image_verify(const struct save *v, struct err *e)
{
    char hex[DIGEST_HEX];

    TRY(stage(v, "verify", e));
    if (v->s->hurry)
        return ST_OK;
    TRY(file_digest(v, hex, e));
    if (strcmp(hex, v->digest) != 0)
        return wrong(v, "the file", e);
    if (v->s->hurry)
        return ST_OK;
    return values_verify(v, e);
}

static enum status block_write(const struct save *v, struct err *e)
{
    struct block b = {(int64_t)v->bytes, v->g.segment, v->g.row, v->g.incarnation, ""};
    unsigned char bytes[BLOCK_BYTES];
    ssize_t done;

    memcpy(b.digest, v->digest, sizeof(b.digest));
    block_encode(&b, bytes);
    TRY(stage(v, "block", e));
    done = pwrite(v->fd, bytes, BLOCK_BYTES, 0);
    if (done == BLOCK_BYTES)
        return ST_OK;
    if (done >= 0)
        errno = EIO;
    return save_failed(v, e);
}

/* From a file that is right to a generation that counts. */
static enum status file_publish(const struct save *v, struct err *e)
{
    TRY(stage(v, "fsync", e));
    if (fsync(v->fd) < 0)
        return save_failed(v, e);
    TRY(stage(v, "owner", e));
    TRY(owner_check(v->s, e));
    TRY(stage(v, "rename", e));
    if (renameat(v->s->fd, v->temp, v->s->fd, v->name) < 0)
        return save_failed(v, e);
    TRY(stage(v, "dirsync", e));
    return folder_sync(v->s) ? ST_OK : save_failed(v, e);
}

/* ---- the whole ------------------------------------------------------------------- */

static enum status file_save(struct save *v, struct checkpoint_saved *told,
                             struct err *e)
{
    double t[5];

    t[0] = clock_seconds();
    TRY(room_check(v, &told->tight, e));
    TRY(image_build(v, e));
    t[1] = clock_seconds();
    TRY(temp_create(v, e));
    TRY(image_write(v, e));
    t[2] = clock_seconds();
    TRY(image_verify(v, e));
    t[3] = clock_seconds();
    TRY(block_write(v, e));
    TRY(file_publish(v, e));
    t[4] = clock_seconds();
    generation_good(v->s, &v->g);
    TRY(stage(v, "retire", e));
    if (!v->s->hurry)
        TRY(generations_retire(v->s, e));
    memcpy(told->name, v->name, sizeof(told->name));
    told->segment = v->g.segment;
    told->row = v->g.row;
    told->bytes = (int64_t)v->bytes;
    told->build_seconds = t[1] - t[0];
    told->write_seconds = t[2] - t[1];
    told->verify_seconds = t[3] - t[2];
    told->sync_seconds = t[4] - t[3];
    return ST_OK;
}

void checkpoint_hurry(struct checkpoint_store *s)
{
    s->hurry = true;
}

enum status checkpoint_save(struct checkpoint_store *s, const struct checkpoint *ck,
                            struct checkpoint_saved *saved, struct err *e)
{
    struct save v = {
        .s = s, .ck = ck, .g = {ck->segment, ck->rows_done, s->incarnation}, .fd = -1};
    struct checkpoint_saved told = {0};
    struct err local = ERR_INIT;
    enum status st;

    generation_name(&v.g, v.name);
    snprintf(v.temp, sizeof(v.temp), ".%s.tmp", v.name);
    st = file_save(&v, &told, e ? e : &local);
    if (v.fd >= 0) {
        close(v.fd);
        if (st != ST_OK)
            unlinkat(s->fd, v.temp, 0); /* not there any more once it has its name */
    }
    free(v.image);
    if (st == ST_OK && saved)
        *saved = told;
    return st;
}
