/* folder.c - parses names strictly, writes the owner file by rename
 *
 * Names are numbers that we have parsed and print again, so no name from the folder
 * ever reaches a system call or a message as it was.
 */
#include "engine/checkpoint/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/checkpoint/stuck.h"
#include "kernels/base/json.h"

enum { GENERATIONS_MAX = 4096, DIGITS_MAX = 9, NUMBER_MAX = 999999999 };

/* ---- names ----------------------------------------------------------------------- */

void generation_name(const struct generation *g, char out[CHECKPOINT_NAME_BYTES])
{
    snprintf(out, CHECKPOINT_NAME_BYTES, "ck-%04lld-%04lld-i%lld.h5",
             (long long)g->segment, (long long)g->row, (long long)g->incarnation);
}

/* Take a number and what must follow it. */
static bool number_take(const char **at, int64_t *out, const char *then)
{
    int n = 0;

    *out = 0;
    for (; **at >= '0' && **at <= '9' && n < DIGITS_MAX; (*at)++, n++)
        *out = *out * 10 + (**at - '0');
    if (n == 0 || strncmp(*at, then, strlen(then)) != 0)
        return false;
    *at += strlen(then);
    return true;
}

bool generation_parse(const char *name, struct generation *out)
{
    char again[CHECKPOINT_NAME_BYTES];
    const char *at = name;
    struct generation g;

    if (strncmp(at, "ck-", 3) != 0)
        return false;
    at += 3;
    if (!number_take(&at, &g.segment, "-") || !number_take(&at, &g.row, "-i") ||
        !number_take(&at, &g.incarnation, ".h5"))
        return false;
    generation_name(&g, again);
    if (strcmp(name, again) != 0)
        return false;
    *out = g;
    return true;
}

int generation_compare(const struct generation *a, const struct generation *b)
{
    if (a->segment != b->segment)
        return a->segment < b->segment ? -1 : 1;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    return (a->incarnation > b->incarnation) - (a->incarnation < b->incarnation);
}

static int newest_first(const void *a, const void *b)
{
    return generation_compare(b, a);
}

/* ---- the folder's content -------------------------------------------------------- */

static DIR *folder_list(const struct checkpoint_store *s)
{
    int fd = openat(s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (fd >= 0 && !dir)
        close(fd);
    return dir;
}

static enum status list_failed(const struct checkpoint_store *s, int why, struct err *e)
{
    return err_set(e, ST_RESOURCE, "cannot list the checkpoints in '%s': %s", s->path,
                   strerror(why));
}

/* A list that ends early would hide the newest: it is an error. */
enum status generations_list(const struct checkpoint_store *s, struct generations *out,
                             struct err *e)
{
    struct generations got = {calloc(GENERATIONS_MAX, sizeof(*got.g)), 0};
    DIR *dir = folder_list(s);
    struct dirent *entry;
    int why = errno;

    if (!got.g || !dir) {
        free(got.g);
        if (dir)
            closedir(dir);
        return list_failed(s, why, e);
    }
    for (errno = 0; (entry = readdir(dir)) && got.n < GENERATIONS_MAX; errno = 0)
        got.n += generation_parse(entry->d_name, &got.g[got.n]);
    why = entry ? 0 : errno;
    closedir(dir);
    if (why) {
        free(got.g);
        return list_failed(s, why, e);
    }
    qsort(got.g, (size_t)got.n, sizeof(*got.g), newest_first);
    *out = got;
    return ST_OK;
}

void generations_release(struct generations *g)
{
    free(g->g);
    g->g = NULL;
    g->n = 0;
}

static bool is_good(const struct checkpoint_store *s, const struct generation *g,
                    int newest)
{
    for (int i = s->n_good - 1; i >= 0 && i >= s->n_good - newest; i--) {
        if (generation_compare(&s->good[i], g) == 0)
            return true;
    }
    return false;
}

void generation_good(struct checkpoint_store *s, const struct generation *g)
{
    if (is_good(s, g, s->n_good))
        return;
    if (s->n_good == GOOD_MAX) {
        memmove(s->good, s->good + 1, (GOOD_MAX - 1) * sizeof(*s->good));
        s->n_good--;
    }
    s->good[s->n_good++] = *g;
}

enum status generations_retire(struct checkpoint_store *s, struct err *e)
{
    struct generations all;

    if (s->n_good < s->keep)
        return ST_OK;
    TRY(generations_list(s, &all, e));
    for (int i = 0; i < all.n; i++) {
        char name[CHECKPOINT_NAME_BYTES];

        if (is_good(s, &all.g[i], s->keep) || all.g[i].incarnation > s->incarnation)
            continue;
        generation_name(&all.g[i], name);
        unlinkat(s->fd, name, 0);
    }
    generations_release(&all);
    return ST_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

/* What a writer that died was writing. */
static void leftovers_remove(const struct checkpoint_store *s)
{
    DIR *dir = folder_list(s);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        if ((strncmp(entry->d_name, ".ck-", 4) == 0 ||
             strncmp(entry->d_name, ".owner-", 7) == 0 ||
             strncmp(entry->d_name, "." STUCK_FILE "-", 7) == 0) &&
            ends_with(entry->d_name, ".tmp"))
            unlinkat(s->fd, entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

enum status checkpoint_any(const struct checkpoint_store *s, bool *any, struct err *e)
{
    struct generations all;

    TRY(generations_list(s, &all, e));
    *any = all.n > 0;
    generations_release(&all);
    return ST_OK;
}

void checkpoint_clear(struct checkpoint_store *s)
{
    struct generations all;
    char name[CHECKPOINT_NAME_BYTES];

    leftovers_remove(s);
    if (generations_list(s, &all, NULL) != ST_OK)
        return;
    for (int i = 0; i < all.n; i++) {
        generation_name(&all.g[i], name);
        unlinkat(s->fd, name, 0);
    }
    generations_release(&all);
    unlinkat(s->fd, "owner", 0);
    stuck_remove(s);
    s->n_good = 0;
}

bool folder_sync(const struct checkpoint_store *s)
{
    return fsync(s->fd) == 0 || errno == EINVAL;
}

/* ---- owner ----------------------------------------------------------------------- */

/* What an open file says, in as many reads as it takes. */
static bool text_fill(int fd, char out[OWNER_BYTES])
{
    size_t at = 0;
    ssize_t n;

    while ((n = read(fd, out + at, OWNER_BYTES - 1 - at)) > 0)
        at += (size_t)n;
    out[at] = '\0';
    return n == 0;
}

enum status folder_get(const struct checkpoint_store *s, const char *name,
                       char out[OWNER_BYTES], struct err *e)
{
    int fd = openat(s->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool fine = fd < 0 ? errno == ENOENT || errno == ELOOP : text_fill(fd, out);

    if (!fine)
        err_set(e, ST_RESOURCE, "cannot read '%s/%s': %s", s->path, name,
                strerror(errno));
    if (fd >= 0)
        close(fd);
    else
        out[0] = '\0';
    return fine ? ST_OK : ST_RESOURCE;
}

/* A disk that does not answer is not another owner. */
static enum status owner_read(const struct checkpoint_store *s, char out[OWNER_BYTES],
                              struct err *e)
{
    return folder_get(s, "owner", out, e);
}

enum status owner_check(const struct checkpoint_store *s, struct err *e)
{
    char now[OWNER_BYTES];

    TRY(owner_read(s, now, e));
    if (strcmp(now, s->owner) == 0)
        return ST_OK;
    return err_set(e, ST_DEVICE,
                   "cannot write a checkpoint in '%s': another run took over", s->path);
}

/* 0 when nobody was. */
static enum status owner_incarnation(const struct checkpoint_store *s, int64_t *n,
                                     struct err *e)
{
    char text[OWNER_BYTES];
    struct json *doc;

    *n = 0;
    TRY(owner_read(s, text, e));
    if (json_parse("owner", text, strlen(text), &JSON_LIMITS_CONFIG, &doc, NULL) !=
        ST_OK)
        return ST_OK;
    if (json_get_int(json_root(doc), "incarnation", 0, NUMBER_MAX, n, NULL) != ST_OK)
        *n = 0;
    json_close(doc);
    return ST_OK;
}

static enum status owner_text(struct checkpoint_store *s, struct err *e)
{
    struct buf text = BUF_INIT;
    struct json_out out;
    char host[HOST_NAME_MAX + 1] = "", started[32], token[32];
    time_t now = time(NULL);
    uint64_t random = 0;
    struct tm utc;
    bool fits;

    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_set(e, ST_RESOURCE, "no random bytes: %s", strerror(errno));
    gethostname(host, sizeof(host) - 1);
    gmtime_r(&now, &utc);
    strftime(started, sizeof(started), "%Y-%m-%dT%H:%M:%SZ", &utc);
    snprintf(token, sizeof(token), "%016llx", (unsigned long long)random);
    json_out_init(&out, &text, JSON_COMPACT);
    json_out_object(&out, NULL);
    json_out_int(&out, "incarnation", s->incarnation);
    json_out_string(&out, "host", host);
    json_out_int(&out, "pid", getpid());
    json_out_string(&out, "started", started);
    json_out_string(&out, "token", token);
    json_out_end(&out);
    fits = !text.failed && text.len < sizeof(s->owner);
    if (fits)
        memcpy(s->owner, buf_text(&text), text.len + 1);
    buf_release(&text);
    return fits ? ST_OK : err_set(e, ST_RESOURCE, "no memory to own '%s'", s->path);
}

enum status folder_put(const struct checkpoint_store *s, const char *name,
                       const char *text, struct err *e)
{
    size_t bytes = strlen(text);
    char temp[64];
    bool fine;
    int fd;

    snprintf(temp, sizeof(temp), ".%s-i%lld-%lld.tmp", name, (long long)s->incarnation,
             (long long)getpid());
    fd = openat(s->fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                0600);
    fine = fd >= 0 && write(fd, text, bytes) == (ssize_t)bytes && fsync(fd) == 0 &&
           renameat(s->fd, temp, s->fd, name) == 0 && folder_sync(s);
    if (!fine) {
        err_set(e, ST_RESOURCE, "cannot write '%s/%s': %s", s->path, name,
                strerror(errno));
        unlinkat(s->fd, temp, 0);
    }
    if (fd >= 0)
        close(fd);
    return fine ? ST_OK : ST_RESOURCE;
}

enum status checkpoint_claim(struct checkpoint_store *s, struct err *e)
{
    struct generations all;

    leftovers_remove(s);
    TRY(owner_incarnation(s, &s->incarnation, e));
    TRY(generations_list(s, &all, e));
    for (int i = 0; i < all.n; i++) {
        if (all.g[i].incarnation > s->incarnation)
            s->incarnation = all.g[i].incarnation;
    }
    generations_release(&all);
    if (s->incarnation >= NUMBER_MAX)
        return err_set(e, ST_INPUT,
                       "cannot write checkpoints in '%s': a file or its owner says "
                       "incarnation %d, the last one",
                       s->path, NUMBER_MAX);
    s->incarnation++;
    TRY(owner_text(s, e));
    return folder_put(s, "owner", s->owner, e);
}

int64_t checkpoint_incarnation(const struct checkpoint_store *s)
{
    return s->incarnation;
}

/* ---- life ------------------------------------------------------------------------ */

enum status checkpoint_store_open(const char *folder, bool make,
                                  const struct checkpoint_options *options,
                                  struct checkpoint_store **out, struct err *e)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    struct checkpoint_store *s = calloc(1, sizeof(*s));
    enum status st;

    if (!s || !(s->path = strdup(folder))) {
        free(s);
        return err_set(e, ST_RESOURCE, "no memory to open '%s'", folder);
    }
    if (make)
        mkdir(folder, 0700);
    s->keep = options->keep < 1 ? 1 : options->keep;
    s->hook = options->hook;
    s->fd = open(folder, flags);
    if (s->fd < 0) {
        st = err_set(e, make ? ST_USAGE : ST_INPUT,
                     "cannot open the folder of checkpoints '%s': %s", folder,
                     strerror(errno));
        free(s->path);
        free(s);
        return st;
    }
    *out = s;
    return ST_OK;
}

void checkpoint_store_close(struct checkpoint_store *s)
{
    if (!s)
        return;
    close(s->fd);
    free(s->path);
    free(s);
}
