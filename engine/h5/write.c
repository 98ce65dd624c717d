/* write.c - writes an HDF5 file under a temporary name and renames it when it is whole
 *
 * HDF5 builds the file in memory and we write its bytes. Let loose on a disk that fills
 * up, the library reports one failed write, closes the file as if nothing had happened
 * (the hole reads as zeros), and may crash when the program ends; here every byte goes
 * through one write() whose result counts. The price is the file's size in memory.
 *
 * The bytes are taken over when HDF5 closes the file and wants to free them: before
 * that the superblock says "open for writing", and H5Fget_file_image clears that flag
 * without correcting the checksum beside it.
 *
 * The folder is opened once and everything happens relative to it. A writer without a
 * folder (h5_build) has descriptors of -1 and gives its bytes away.
 *
 * The library keeps its tables in global variables and locks nothing: `library` is the
 * lock that it lacks. Every function here that calls H5… holds it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/h5/h5.h"
#include "engine/h5/ids.h"

static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER;

enum { CHUNK_BYTES = 8 << 20, GROWTH_BYTES = 4 << 20, TEMP_BYTES = 256 };

/* The file's memory, which HDF5 grows and hands over when it closes the file. */
struct image {
    char *data;
    size_t bytes;
};

struct h5_writer {
    hid_t file; /* in memory */
    struct image image;
    size_t user_block; /* bytes in front of what HDF5 writes */
    int folder;        /* descriptor */
    int fd;            /* of the temporary file, empty until the commit */
    bool nameless;     /* it has no name yet, so that a killed process leaves none */
    bool force;
    char *path;            /* as the user wrote it, for messages */
    const char *name;      /* its last part */
    char temp[TEMP_BYTES]; /* in the folder */
};

/* ---- names and errors ------------------------------------------------------------ */

static enum status write_failed(const struct h5_writer *w, struct err *e)
{
    const char *why = strerror(errno);
    struct statvfs fs;

    if (fstatvfs(w->folder, &fs) < 0)
        return err_set(e, ST_RESOURCE, "cannot write '%s': %s", w->path, why);
    return err_set(e, ST_RESOURCE, "cannot write '%s': %s (%.1f MiB free)", w->path,
                   why, (double)fs.f_bavail * (double)fs.f_frsize / (1 << 20));
}

/* HDF5 works in memory here, so nothing but memory can be missing. */
static enum status build_failed(const struct h5_writer *w, struct err *e)
{
    return err_set(e, ST_RESOURCE, "no memory to build '%s'", w->path);
}

static enum status space_check(const struct h5_writer *w, double bytes, struct err *e)
{
    struct statvfs fs;
    double room;

    if (w->folder < 0 || fstatvfs(w->folder, &fs) < 0)
        return ST_OK;
    room = (double)fs.f_bavail * (double)fs.f_frsize;
    if (room >= bytes)
        return ST_OK;
    return err_set(e, ST_RESOURCE, "cannot write '%s': %.1f MiB needed, %.1f MiB free",
                   w->path, bytes / (1 << 20), room / (1 << 20));
}

static enum status taken_error(const char *path, struct err *e)
{
    return err_set(e, ST_USAGE, "output '%s' exists already; --force overwrites it",
                   path);
}

static enum status target_check(const struct h5_writer *w, struct err *e)
{
    struct stat sb;

    if (w->name[0] == '\0' || strcmp(w->name, ".") == 0 || strcmp(w->name, "..") == 0)
        return err_set(e, ST_USAGE, "output '%s' does not name a file", w->path);
    if (fstatat(w->folder, w->name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return ST_OK;
    if (S_ISDIR(sb.st_mode))
        return err_set(e, ST_USAGE, "output '%s' is a folder", w->path);
    return w->force ? ST_OK : taken_error(w->path, e);
}

static enum status folder_open(struct h5_writer *w, struct err *e)
{
    size_t n = (size_t)(w->name - w->path);
    char *folder = n ? strndup(w->path, n) : strdup(".");

    if (!folder)
        return err_set(e, ST_RESOURCE, "no memory to write '%s'", w->path);
    w->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (w->folder < 0)
        return err_set(e, ST_USAGE, "cannot write '%s': %s", w->path, strerror(errno));
    return ST_OK;
}

/* ---- life ------------------------------------------------------------------------ */

static void *image_alloc(size_t bytes, H5FD_file_image_op_t op, void *self)
{
    (void)op;
    (void)self;
    return malloc(bytes);
}

static void *image_grow(void *data, size_t bytes, H5FD_file_image_op_t op, void *self)
{
    (void)op;
    (void)self;
    return realloc(data, bytes);
}

static herr_t image_free(void *data, H5FD_file_image_op_t op, void *self)
{
    struct image *image = self;

    if (op == H5FD_FILE_IMAGE_OP_FILE_CLOSE && !image->data)
        image->data = data;
    else
        free(data);
    return 0;
}

static void *image_share(void *self)
{
    return self;
}

static herr_t image_unshare(void *self)
{
    (void)self;
    return 0;
}

/* The newest format has checksums on all metadata; times would make two files of the
 * same content differ. */
static hid_t file_make(struct h5_writer *w)
{
    struct h5_ids ids = {{0}, 0};
    hid_t file = -1;
    hid_t access = h5_keep(&ids, H5Pcreate(H5P_FILE_ACCESS));
    hid_t create = h5_keep(&ids, H5Pcreate(H5P_FILE_CREATE));
    H5FD_file_image_callbacks_t calls = {
        .image_malloc = image_alloc,
        .image_realloc = image_grow,
        .image_free = image_free,
        .udata_copy = image_share,
        .udata_free = image_unshare,
        .udata = &w->image,
    };

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    if (access >= 0 && create >= 0 && H5Pset_fapl_core(access, GROWTH_BYTES, 0) >= 0 &&
        H5Pset_file_image_callbacks(access, &calls) >= 0 &&
        H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
        H5Pset_obj_track_times(create, 0) >= 0 &&
        H5Pset_userblock(create, w->user_block) >= 0)
        file = H5Fcreate(w->temp, H5F_ACC_TRUNC, create, access);
    h5_close(&ids);
    return file;
}

static enum status file_create(struct h5_writer *w, struct err *e)
{
    pthread_mutex_lock(&library);
    w->file = file_make(w);
    pthread_mutex_unlock(&library);
    return w->file < 0 ? build_failed(w, e) : ST_OK;
}

/* A file without a name; false where there are none (NFS, no /proc). */
static bool nameless_create(struct h5_writer *w)
{
    if (access("/proc/self/fd", X_OK) < 0)
        return false;
    w->fd = openat(w->folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    return w->fd >= 0;
}

static enum status temp_create(struct h5_writer *w, struct err *e)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    uint64_t tag = 0;

    if (getrandom(&tag, sizeof(tag), 0) != (ssize_t)sizeof(tag))
        return err_set(e, ST_RESOURCE, "no random bytes: %s", strerror(errno));
    snprintf(w->temp, sizeof(w->temp), ".%.200s.%016llx.tmp", w->name,
             (unsigned long long)tag);
    w->nameless = nameless_create(w);
    if (w->nameless)
        return ST_OK;
    w->fd = openat(w->folder, w->temp, flags, 0666);
    if (w->fd >= 0)
        return ST_OK;
    if (errno == EACCES || errno == EPERM || errno == EROFS)
        return err_set(e, ST_USAGE, "cannot write '%s': %s", w->path, strerror(errno));
    return write_failed(w, e);
}

static void temp_remove(struct h5_writer *w)
{
    if (!w->nameless)
        unlinkat(w->folder, w->temp, 0);
    close(w->fd);
}

enum status h5_create(const char *path, bool force, struct h5_writer **out,
                      struct err *e)
{
    struct h5_writer *w = calloc(1, sizeof(*w));
    enum status st;

    if (!w || !(w->path = strdup(path))) {
        free(w);
        return err_set(e, ST_RESOURCE, "no memory to write '%s'", path);
    }
    w->force = force;
    w->name = strrchr(w->path, '/') ? strrchr(w->path, '/') + 1 : w->path;
    TRY_GOTO(st, folder_open(w, e), err_free);
    TRY_GOTO(st, target_check(w, e), err_close);
    TRY_GOTO(st, temp_create(w, e), err_close);
    TRY_GOTO(st, file_create(w, e), err_unlink);
    *out = w;
    return ST_OK;

err_unlink:
    temp_remove(w);
err_close:
    close(w->folder);
err_free:
    free(w->path);
    free(w);
    return st;
}

enum status h5_build(const char *name, size_t user_block, struct h5_writer **out,
                     struct err *e)
{
    struct h5_writer *w = calloc(1, sizeof(*w));
    enum status st;

    if (!w || !(w->path = strdup(name))) {
        free(w);
        return err_set(e, ST_RESOURCE, "no memory to build '%s'", name);
    }
    w->folder = -1;
    w->fd = -1;
    w->user_block = user_block;
    snprintf(w->temp, sizeof(w->temp), "in memory");
    st = file_create(w, e);
    if (st != ST_OK) {
        free(w->path);
        free(w);
        return st;
    }
    *out = w;
    return ST_OK;
}

void h5_abandon(struct h5_writer *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&library);
    if (w->file >= 0)
        H5Fclose(w->file);
    pthread_mutex_unlock(&library);
    if (w->folder >= 0) {
        temp_remove(w);
        close(w->folder);
    }
    free(w->image.data);
    free(w->path);
    free(w);
}

/* Close the file and keep its bytes. Memory grows in steps; what the file uses of it is
 * what an image would have. */
static enum status image_take(struct h5_writer *w, struct err *e)
{
    ssize_t bytes;
    bool fine;

    pthread_mutex_lock(&library);
    fine = H5Fflush(w->file, H5F_SCOPE_GLOBAL) >= 0;
    bytes = H5Fget_file_image(w->file, NULL, 0);
    fine = H5Fclose(w->file) >= 0 && fine && bytes > 0 && w->image.data;
    pthread_mutex_unlock(&library);
    w->file = -1;
    w->image.bytes = (size_t)bytes + w->user_block;
    return fine ? ST_OK : build_failed(w, e);
}

static enum status image_write(const struct h5_writer *w, struct err *e)
{
    const char *at = w->image.data;
    size_t n = w->image.bytes;

    while (n > 0) {
        ssize_t done = write(w->fd, at, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return write_failed(w, e);
        at += done;
        n -= (size_t)done;
    }
    return fsync(w->fd) < 0 ? write_failed(w, e) : ST_OK;
}

/* A link in the folder to the file that has no name yet. */
static int nameless_link(const struct h5_writer *w, const char *name)
{
    char self[64];

    snprintf(self, sizeof(self), "/proc/self/fd/%d", w->fd);
    return linkat(AT_FDCWD, self, w->folder, name, AT_SYMLINK_FOLLOW);
}

/* From the temporary name to the real one, never in place of another. */
static int rename_new(const struct h5_writer *w)
{
    int rc = renameat2(w->folder, w->temp, w->folder, w->name, RENAME_NOREPLACE);

    if (rc < 0 && (errno == EINVAL || errno == ENOSYS)) {
        rc = linkat(w->folder, w->temp, w->folder, w->name, 0);
        if (rc == 0)
            unlinkat(w->folder, w->temp, 0);
    }
    return rc;
}

/* Give the file its name; without `force` never in place of another. */
static enum status file_rename(struct h5_writer *w, struct err *e)
{
    int rc = 0;

    if (w->nameless && !w->force) {
        rc = nameless_link(w, w->name);
    } else {
        if (w->nameless)
            rc = nameless_link(w, w->temp);
        if (rc == 0) {
            w->nameless = false;
            rc = w->force ? renameat(w->folder, w->temp, w->folder, w->name)
                          : rename_new(w);
        }
    }
    if (rc < 0 && errno == EEXIST)
        return taken_error(w->path, e);
    return rc < 0 ? write_failed(w, e) : ST_OK;
}

static enum status file_finish(struct h5_writer *w, struct err *e)
{
    TRY(image_take(w, e));
    TRY(image_write(w, e));
    TRY(file_rename(w, e));
    if (fsync(w->folder) < 0 && errno != EINVAL)
        return write_failed(w, e);
    return ST_OK;
}

enum status h5_commit(struct h5_writer *w, struct err *e)
{
    enum status st = file_finish(w, e);

    h5_abandon(w); /* after the rename there is nothing left under the old name */
    return st;
}

enum status h5_take(struct h5_writer *w, void **data, size_t *bytes, struct err *e)
{
    enum status st = image_take(w, e);

    if (st == ST_OK) {
        *data = w->image.data;
        *bytes = w->image.bytes;
        w->image.data = NULL;
    }
    h5_abandon(w);
    return st;
}

/* ---- arrays ---------------------------------------------------------------------- */

/* One channel per chunk for volumes, halved along the leading axes until it fits. */
static void chunk_plan(int rank, size_t item, const hsize_t *dims, hsize_t *chunk)
{
    hsize_t bytes = item;

    for (int k = 0; k < rank; k++) {
        chunk[k] = k == 0 && rank > 2 ? 1 : dims[k];
        bytes *= chunk[k];
    }
    for (int k = 0; k < rank; k++) {
        while (bytes > CHUNK_BYTES && chunk[k] > 1) {
            bytes /= chunk[k];
            chunk[k] = (chunk[k] + 1) / 2;
            bytes *= chunk[k];
        }
    }
}

/* Make the groups on the way to `name`; returns the group that will hold it and points
 * *leaf at the last part. */
static hid_t groups_make(hid_t file, const char *name, hid_t create, const char **leaf)
{
    hid_t at = H5Gopen2(file, "/", H5P_DEFAULT);
    const char *slash;

    while (at >= 0 && (slash = strchr(name, '/'))) {
        char part[H5_NAME_MAX];
        hid_t next;

        memcpy(part, name, (size_t)(slash - name));
        part[slash - name] = '\0';
        if (H5Lexists(at, part, H5P_DEFAULT) > 0)
            next = H5Gopen2(at, part, H5P_DEFAULT);
        else
            next = H5Gcreate2(at, part, H5P_DEFAULT, create, H5P_DEFAULT);
        H5Gclose(at);
        at = next;
        name = slash + 1;
    }
    *leaf = name;
    return at;
}

/* What an array holds: its type in the file, in memory, and bytes of an element. The
 * types are the library's, asked for under the lock. */
struct items {
    hid_t stored, given;
    size_t bytes;
};

static struct items items_of(bool integers)
{
    if (integers)
        return (struct items){H5T_STD_I64LE, H5T_NATIVE_INT64, sizeof(int64_t)};
    return (struct items){H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, sizeof(float)};
}

static hid_t dataset_create(struct h5_ids *ids, hid_t file, const char *name, int rank,
                            const hsize_t *dims, const hsize_t *chunk, hid_t stored)
{
    const float hole = NAN;
    hid_t groups = h5_keep(ids, H5Pcreate(H5P_GROUP_CREATE));
    hid_t create = h5_keep(ids, H5Pcreate(H5P_DATASET_CREATE));
    hid_t space = h5_keep(ids, H5Screate_simple(rank, dims, NULL));
    const char *leaf;
    hid_t group;

    if (groups < 0 || create < 0 || space < 0 ||
        H5Pset_obj_track_times(groups, 0) < 0 ||
        H5Pset_obj_track_times(create, 0) < 0 ||
        H5Pset_chunk(create, rank, chunk) < 0 || H5Pset_fletcher32(create) < 0 ||
        (H5Tget_class(stored) == H5T_FLOAT &&
         H5Pset_fill_value(create, H5T_NATIVE_FLOAT, &hole) < 0))
        return -1;
    group = h5_keep(ids, groups_make(file, name, groups, &leaf));
    if (group < 0)
        return -1;
    return H5Dcreate2(group, leaf, stored, space, H5P_DEFAULT, create, H5P_DEFAULT);
}

static bool dataset_write(hid_t file, const char *name, int rank, const hsize_t *dims,
                          const struct items *items, const void *data)
{
    struct h5_ids ids = {{0}, 0};
    hsize_t chunk[H5_RANK_MAX];
    bool fine;
    hid_t dset;

    chunk_plan(rank, items->bytes, dims, chunk);
    dset = h5_keep(&ids,
                   dataset_create(&ids, file, name, rank, dims, chunk, items->stored));
    fine = dset >= 0 &&
           H5Dwrite(dset, items->given, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
    return h5_close(&ids) && fine;
}

static enum status array_put(struct h5_writer *w, const char *name, int rank,
                             const int64_t *dims, bool integers, const void *data,
                             struct err *e)
{
    hsize_t n[H5_RANK_MAX];
    double bytes = integers ? sizeof(int64_t) : sizeof(float);
    struct items items;
    bool fine;

    assert(rank >= 1 && rank <= H5_RANK_MAX && strlen(name) < H5_NAME_MAX);
    for (int k = 0; k < rank; k++) {
        assert(dims[k] > 0);
        n[k] = (hsize_t)dims[k];
        bytes *= (double)dims[k];
    }
    TRY(space_check(w, bytes + (1 << 20), e));
    pthread_mutex_lock(&library);
    items = items_of(integers);
    fine = dataset_write(w->file, name, rank, n, &items, data);
    pthread_mutex_unlock(&library);
    return fine ? ST_OK : build_failed(w, e);
}

enum status h5_put(struct h5_writer *w, const char *name, int rank, const int64_t *dims,
                   const float *data, struct err *e)
{
    return array_put(w, name, rank, dims, false, data, e);
}

enum status h5_put_ints(struct h5_writer *w, const char *name, int rank,
                        const int64_t *dims, const int64_t *data, struct err *e)
{
    return array_put(w, name, rank, dims, true, data, e);
}

/* `name` with a slash behind: all of it is groups. */
static bool group_make(hid_t file, const char *name)
{
    struct h5_ids ids = {{0}, 0};
    hid_t create = h5_keep(&ids, H5Pcreate(H5P_GROUP_CREATE));
    const char *leaf;
    bool fine = create >= 0 && H5Pset_obj_track_times(create, 0) >= 0 &&
                h5_keep(&ids, groups_make(file, name, create, &leaf)) >= 0;

    return h5_close(&ids) && fine;
}

enum status h5_group(struct h5_writer *w, const char *name, struct err *e)
{
    char path[H5_NAME_MAX];
    bool fine;

    assert(strlen(name) + 1 < H5_NAME_MAX);
    snprintf(path, sizeof(path), "%s/", name);
    pthread_mutex_lock(&library);
    fine = group_make(w->file, path);
    pthread_mutex_unlock(&library);
    return fine ? ST_OK : build_failed(w, e);
}

/* ---- attributes ------------------------------------------------------------------ */

/* Under the lock. */
static enum status attr_put(struct h5_writer *w, const char *name, const char *attr,
                            hid_t stored, hid_t given, const void *value, struct err *e)
{
    struct h5_ids ids = {{0}, 0};
    hid_t object = h5_keep(&ids, H5Oopen(w->file, name[0] ? name : "/", H5P_DEFAULT));
    hid_t space = h5_keep(&ids, H5Screate(H5S_SCALAR));
    hid_t id = -1;
    bool fine;

    if (object >= 0 && space >= 0)
        id = h5_keep(&ids,
                     H5Acreate2(object, attr, stored, space, H5P_DEFAULT, H5P_DEFAULT));
    fine = id >= 0 && H5Awrite(id, given, value) >= 0;
    fine = h5_close(&ids) && fine;
    return fine ? ST_OK : build_failed(w, e);
}

enum status h5_put_int(struct h5_writer *w, const char *name, const char *attr,
                       int64_t value, struct err *e)
{
    enum status st;

    pthread_mutex_lock(&library);
    st = attr_put(w, name, attr, H5T_STD_I64LE, H5T_NATIVE_INT64, &value, e);
    pthread_mutex_unlock(&library);
    return st;
}

enum status h5_put_real(struct h5_writer *w, const char *name, const char *attr,
                        double value, struct err *e)
{
    enum status st;

    pthread_mutex_lock(&library);
    st = attr_put(w, name, attr, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value, e);
    pthread_mutex_unlock(&library);
    return st;
}

enum status h5_put_text(struct h5_writer *w, const char *name, const char *attr,
                        const char *value, struct err *e)
{
    size_t bytes = strlen(value);
    enum status st;
    hid_t type;

    if (bytes > H5_TEXT_MAX)
        return err_set(e, ST_USAGE, "attribute '%s' of '%s' has %zu bytes, %d at most",
                       attr, w->path, bytes, H5_TEXT_MAX);
    pthread_mutex_lock(&library);
    type = H5Tcopy(H5T_C_S1);
    if (type < 0 || H5Tset_size(type, bytes ? bytes : 1) < 0 ||
        H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 ||
        H5Tset_cset(type, H5T_CSET_UTF8) < 0)
        st = build_failed(w, e);
    else
        st = attr_put(w, name, attr, type, type, value, e);
    H5Tclose(type);
    pthread_mutex_unlock(&library);
    return st;
}
