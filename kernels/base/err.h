/* err.h - status codes and the one-line text that travels with them
 *
 * Every fallible function returns `enum status` and takes `struct err *e` last.
 * Whoever decides what the error is writes the text, once, with err_set; callers
 * pass it up with TRY. Nothing below `launcher` prints, exits or aborts.
 *
 *     if (fd < 0)
 *         return err_set(e, ST_INPUT, "cannot open '%s': %s", path, strerror(errno));
 *     TRY(header_read(fd, &h, e));
 *     TRY_GOTO(st, body_read(fd, &b, e), err_free);
 *
 * Texts are lower case, failure first, the subject in single quotes, numbers with
 * units, one line, no full stop. err_set shows control characters of its arguments
 * as \x1b, so names and prompts from strangers cannot drive a terminal.
 */
#ifndef KERNELS_BASE_ERR_H
#define KERNELS_BASE_ERR_H

/* What happened; status_exit_code maps it to the exit code users see. */
enum status {
    ST_OK = 0,
    ST_USAGE,    /* wrong usage or impossible request: exit 2 */
    ST_UNBUILT,  /* a known option that is not built (yet, or here): exit 2 */
    ST_INPUT,    /* bad input file: exit 3 */
    ST_RESOURCE, /* not enough memory or disk: exit 4 */
    ST_DEVICE,   /* a rank or device failed: exit 5 */
    ST_STOPPED,  /* stopped on request with a checkpoint: exit 75 */
};

enum { ERR_TEXT_BYTES = 512 };

struct err {
    enum status status;
    char text[ERR_TEXT_BYTES]; /* NUL-terminated, one line, may be cut */
};

/* clang-format off */
#define ERR_INIT {ST_OK, ""}
/* clang-format on */

/* Record `st` and the formatted text in *e and return `st`. `e` may be NULL. A macro
 * around err_record, so that the compiler sees which status comes back: otherwise it
 * warns of outputs that a failed callee has left unset. */
#define err_set(e, st, ...) (err_record((e), (st), __VA_ARGS__), err_same(st))

static inline enum status err_same(enum status st)
{
    return st;
}

void err_record(struct err *e, enum status st, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "prefix: " before the text that is already there; keeps the status. */
enum status err_prefix(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* 0, 2, 3, 4, 5 or 75. */
int status_exit_code(enum status st);

#define TRY(call)                         \
    do {                                  \
        enum status try_status_ = (call); \
        if (try_status_ != ST_OK)         \
            return try_status_;           \
    } while (0)

#define TRY_GOTO(st, call, label) \
    do {                          \
        (st) = (call);            \
        if ((st) != ST_OK)        \
            goto label;           \
    } while (0)

#endif
