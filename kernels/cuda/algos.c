/* algos.c - reads and finds rows of the table of algorithms */
#include "kernels/cuda/algos.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/hash.h"

enum { FIELDS = 6 + ALGO_WORDS, FIELD_BYTES = 24, FILE_MOST = 1 << 20 };

static const char fast_word[] = "fast";

static const char blanks[] = " \t\r";

/* ---- a row ----------------------------------------------------------------------- */

/* The line in pieces; -1: a piece that no field has. */
static int fields_cut(const char *line, char field[FIELDS + 1][FIELD_BYTES])
{
    int n = 0;

    for (;;) {
        size_t len;

        line += strspn(line, blanks);
        len = strcspn(line, " \t\r#\n");
        if (len == 0)
            return *line == 0 || *line == '#' ? n : -1;
        if (n == FIELDS + 1 || len >= FIELD_BYTES)
            return -1;
        memcpy(field[n], line, len);
        field[n++][len] = 0;
        line += len;
    }
}

static enum status number_take(const char *text, const char *what, int64_t most,
                               int64_t *out, struct err *e)
{
    char *end;
    intmax_t n;

    errno = 0;
    n = strtoimax(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || n < 1 || n > most)
        return err_set(e, ST_INPUT, "%s '%s' is not a number from 1 to %" PRId64, what,
                       text, most);
    *out = n;
    return ST_OK;
}

static enum status type_take(const char *text, enum dtype *out, struct err *e)
{
    if (dtype_from_name(text, out) != 0)
        return err_set(e, ST_INPUT, "unknown type '%s'", text);
    return ST_OK;
}

static enum status word_take(const char *text, uint64_t *out, struct err *e)
{
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return err_set(e, ST_INPUT, "'%s' is not 16 hex digits", text);
    *out = strtoumax(text, NULL, 16);
    return ST_OK;
}

enum status algo_row_parse(const char *line, struct algo_row *out, struct err *e)
{
    char field[FIELDS + 1][FIELD_BYTES];
    int n = fields_cut(line, field);
    struct algo_row row = {.fast = n == FIELDS + 1};

    if (n < FIELDS || (row.fast && strcmp(field[FIELDS], fast_word) != 0))
        return err_set(e, ST_INPUT, "a row has %d fields, and 'fast' or nothing",
                       (int)FIELDS);
    TRY(number_take(field[0], "arch", 999, &row.arch, e));
    TRY(number_take(field[1], "version", 99999999, &row.version, e));
    TRY(type_take(field[2], &row.x, e));
    TRY(type_take(field[3], &row.y, e));
    TRY(number_take(field[4], "n", (int64_t)1 << 24, &row.n, e));
    TRY(number_take(field[5], "k", (int64_t)1 << 24, &row.k, e));
    for (int i = 0; i < ALGO_WORDS; i++)
        TRY(word_take(field[6 + i], &row.word[i], e));
    *out = row;
    return ST_OK;
}

void algo_row_print(const struct algo_row *row, char out[ALGO_TEXT_BYTES])
{
    int at = snprintf(out, ALGO_TEXT_BYTES,
                      "%" PRId64 " %" PRId64 " %s %s %" PRId64 " %" PRId64, row->arch,
                      row->version, dtype_name(row->x), dtype_name(row->y), row->n,
                      row->k);

    for (int i = 0; i < ALGO_WORDS && at < ALGO_TEXT_BYTES; i++)
        at += snprintf(out + at, (size_t)(ALGO_TEXT_BYTES - at), " %016" PRIx64,
                       row->word[i]);
    if (row->fast && at < ALGO_TEXT_BYTES)
        snprintf(out + at, (size_t)(ALGO_TEXT_BYTES - at), " %s", fast_word);
}

bool algo_row_same(const struct algo_row *a, const struct algo_row *b)
{
    return a->arch == b->arch && a->version == b->version && a->x == b->x &&
           a->y == b->y && a->n == b->n && a->k == b->k && a->fast == b->fast;
}

/* ---- a table --------------------------------------------------------------------- */

const struct algo_row *algo_table_find(const struct algo_table *t,
                                       const struct algo_row *key)
{
    for (int i = 0; i < t->count; i++) {
        if (algo_row_same(&t->row[i], key))
            return &t->row[i];
    }
    return NULL;
}

static enum status row_put(struct algo_table *t, const struct algo_row *row,
                           struct err *e)
{
    const struct algo_row *have = algo_table_find(t, row);
    struct algo_row *more;

    if (have) {
        t->row[have - t->row] = *row;
        return ST_OK;
    }
    if (t->count == ALGO_ROWS_MAX)
        return err_set(e, ST_INPUT, "more than %d rows", (int)ALGO_ROWS_MAX);
    more = realloc(t->row, (size_t)(t->count + 1) * sizeof(*more));
    if (!more)
        return err_set(e, ST_RESOURCE, "out of memory: algorithms");
    t->row = more;
    t->row[t->count++] = *row;
    return ST_OK;
}

static enum status line_add(struct algo_table *t, const char *line, struct err *e)
{
    struct algo_row row;

    line += strspn(line, blanks);
    if (*line == 0 || *line == '#')
        return ST_OK;
    TRY(algo_row_parse(line, &row, e));
    return row_put(t, &row, e);
}

enum status algo_table_add(struct algo_table *t, const char *text, const char *name,
                           struct err *e)
{
    struct err why = ERR_INIT;
    char line[2 * ALGO_TEXT_BYTES];

    for (int number = 1; *text; number++) {
        size_t len = strcspn(text, "\n");
        enum status st;

        if (len >= sizeof(line))
            return err_set(e, ST_INPUT, "bad table of algorithms '%s': line %d is long",
                           name, number);
        memcpy(line, text, len);
        line[len] = 0;
        st = line_add(t, line, &why);
        if (st != ST_OK)
            return err_set(e, st, "bad table of algorithms '%s': line %d: %s", name,
                           number, why.text);
        text += len + (text[len] == '\n');
    }
    return ST_OK;
}

static enum status file_text(const char *path, char *text, struct err *e)
{
    FILE *f = fopen(path, "re");
    size_t n;
    bool failed;

    if (!f)
        return err_set(e, ST_INPUT, "cannot open '%s': %s", path, strerror(errno));
    n = fread(text, 1, FILE_MOST, f);
    failed = ferror(f) != 0;
    fclose(f);
    if (failed)
        return err_set(e, ST_INPUT, "cannot read '%s'", path);
    if (n == FILE_MOST || memchr(text, 0, n))
        return err_set(e, ST_INPUT, "'%s' is not a table of algorithms", path);
    text[n] = 0;
    return ST_OK;
}

enum status algo_table_read(struct algo_table *t, const char *path, struct err *e)
{
    char *text = malloc(FILE_MOST + 1);
    enum status st;

    if (!text)
        return err_set(e, ST_RESOURCE, "out of memory: algorithms");
    st = file_text(path, text, e);
    if (st == ST_OK)
        st = algo_table_add(t, text, path, e);
    free(text);
    return st;
}

/* A sum, so that order does not count. */
uint64_t algo_table_digest(const struct algo_table *t)
{
    uint64_t sum = 0;

    for (int i = 0; i < t->count; i++) {
        char text[ALGO_TEXT_BYTES];

        algo_row_print(&t->row[i], text);
        sum += hash_fnv1a(text, strlen(text));
    }
    return sum;
}

void algo_table_release(struct algo_table *t)
{
    free(t->row);
    *t = (struct algo_table){0};
}
