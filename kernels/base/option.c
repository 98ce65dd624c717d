/* option.c - finds, parses, checks and prints the options of a table */
#include "kernels/base/option.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 64 };

enum status option_set_init(struct option_set *set, const struct option *table, int n,
                            void *settings, struct err *e)
{
    set->table = table;
    set->n = n;
    set->settings = settings;
    set->source = calloc((size_t)n, sizeof(*set->source));
    if (!set->source)
        return err_set(e, ST_RESOURCE, "out of memory: %d options", n);
    return ST_OK;
}

static void *member(const struct option_set *set, int i)
{
    return (char *)set->settings + set->table[i].offset;
}

void option_set_release(struct option_set *set)
{
    for (int i = 0; i < set->n && set->source; i++) {
        if (set->table[i].type == OPT_TEXT) {
            free(*(char **)member(set, i));
            *(char **)member(set, i) = NULL;
        }
    }
    free(set->source);
    set->source = NULL;
}

/* ---- names ---------------------------------------------------------------------- */

/* Is word `len` bytes long at `word` the same name, '-' and '_' equal? */
static bool name_equal(const char *word, size_t len, const char *name)
{
    size_t i;

    for (i = 0; i < len && name[i]; i++) {
        char a = word[i] == '-' ? '_' : word[i];
        char b = name[i] == '-' ? '_' : name[i];

        if (a != b)
            return false;
    }
    return i == len && !name[i];
}

static bool list_has(const char *list, const char *name)
{
    while (list && *list) {
        size_t len = strcspn(list, " ");

        if (name_equal(list, len, name))
            return true;
        list += len + (list[len] == ' ');
    }
    return false;
}

int option_find(const struct option_set *set, const char *name)
{
    for (int i = 0; i < set->n; i++) {
        const struct option *o = &set->table[i];

        if (o->name[0] &&
            (name_equal(o->name, strlen(o->name), name) || list_has(o->aliases, name)))
            return i;
    }
    return -1;
}

/* Levenshtein distance of two short names. */
static int name_distance(const char *a, size_t a_len, const char *b)
{
    int row[NAME_BYTES + 1];
    size_t b_len = strlen(b);

    if (a_len > NAME_BYTES || b_len > NAME_BYTES)
        return NAME_BYTES;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= a_len; i++) {
        int diagonal = row[0];

        row[0] = (int)i;
        for (size_t j = 1; j <= b_len; j++) {
            int change = diagonal + !name_equal(a + i - 1, 1, (char[]){b[j - 1], 0});
            int best = row[j] < row[j - 1] ? row[j] : row[j - 1];

            diagonal = row[j];
            row[j] = change < best + 1 ? change : best + 1;
        }
    }
    return row[b_len];
}

/* Keep the word of `list` that is closest to `name`. */
static void closest_of(const char *list, const char *name, int *best, char *out)
{
    while (list && *list) {
        size_t len = strcspn(list, " ");
        int d = name_distance(list, len, name);

        if (d < *best && len < NAME_BYTES) {
            *best = d;
            memcpy(out, list, len);
            out[len] = '\0';
        }
        list += len + (list[len] == ' ');
    }
}

enum status option_unknown(const struct option_set *set, const char *what,
                           const char *name, struct err *e)
{
    char near[NAME_BYTES] = "";
    int best = NAME_BYTES;

    for (int i = 0; i < set->n; i++) {
        closest_of(set->table[i].name, name, &best, near);
        closest_of(set->table[i].aliases, name, &best, near);
    }
    if (!near[0])
        return err_set(e, ST_USAGE, "unknown %s '%s'", what, name);
    return err_set(e, ST_USAGE, "unknown %s '%s': the closest known one is '%s'", what,
                   name, near);
}

/* ---- values --------------------------------------------------------------------- */

static enum status assign_flag(const struct option *o, void *m, const char *text,
                               struct err *e)
{
    if (list_has("true 1 yes on", text))
        *(bool *)m = true;
    else if (list_has("false 0 no off", text))
        *(bool *)m = false;
    else
        return err_set(e, ST_USAGE, "impossible %s '%s': true and false are possible",
                       o->name, text);
    return ST_OK;
}

static enum status assign_int(const struct option *o, void *m, const char *text,
                              struct err *e)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (!*text || *end)
        return err_set(e, ST_USAGE, "impossible %s '%s': a whole number is wanted",
                       o->name, text);
    if (errno || (double)v < o->min || (double)v > o->max)
        return err_set(e, ST_USAGE, "impossible %s %s: %.0f to %.0f are possible",
                       o->name, text, o->min, o->max);
    *(int64_t *)m = v;
    return ST_OK;
}

static enum status assign_real(const struct option *o, void *m, const char *text,
                               struct err *e)
{
    char *end;
    double v = strtod(text, &end);

    if (!*text || *end)
        return err_set(e, ST_USAGE, "impossible %s '%s': a number is wanted", o->name,
                       text);
    if (!(v >= o->min && v <= o->max))
        return err_set(e, ST_USAGE, "impossible %s %s: %g to %g are possible", o->name,
                       text, o->min, o->max);
    *(double *)m = v;
    return ST_OK;
}

static enum status assign_text(void *m, const char *text, struct err *e)
{
    char *copy = strdup(text);

    if (!copy)
        return err_set(e, ST_RESOURCE, "out of memory: a text of %zu bytes",
                       strlen(text));
    free(*(char **)m);
    *(char **)m = copy;
    return ST_OK;
}

static enum status assign_choice(const struct option *o, void *m, const char *text,
                                 struct err *e)
{
    const char *list = o->choices;

    for (int i = 0; *list; i++) {
        size_t len = strcspn(list, " ");

        if (name_equal(list, len, text)) {
            *(int *)m = i;
            return ST_OK;
        }
        list += len + (list[len] == ' ');
    }
    return err_set(e, ST_USAGE, "unknown %s '%s': known are %s", o->name, text,
                   o->choices);
}

static enum status assign_size(const struct option *o, void *m, const char *text,
                               struct err *e)
{
    struct option_size *size = m;
    long w, h;
    char *end;

    w = strtol(text, &end, 10);
    if (end != text && (*end == '*' || *end == 'x' || *end == 'X')) {
        const char *second = end + 1;

        h = strtol(second, &end, 10);
        if (end != second && !*end && w > 0 && h > 0 && w <= 16384 && h <= 16384) {
            size->width = w;
            size->height = h;
            return ST_OK;
        }
    }
    return err_set(e, ST_USAGE,
                   "impossible %s '%s': WIDTHxHEIGHT is wanted, such as 960x544",
                   o->name, text);
}

static enum status assign_every(const struct option *o, void *m, const char *text,
                                struct err *e)
{
    struct option_every *every = m;
    char *end;
    double n;

    errno = 0;
    n = strtod(text, &end);
    if (end == text || errno || !isfinite(n) || n < o->min || n > o->max ||
        (*end && strcmp(end, "s") != 0) || (!*end && n != floor(n)))
        return err_set(e, ST_USAGE,
                       "impossible %s '%s': rows are wanted, such as 4, or seconds, "
                       "such as 90s",
                       o->name, text);
    every->rows = *end ? 0 : (int64_t)n;
    every->seconds = *end ? n : 0.0;
    return ST_OK;
}

static enum status value_parse(const struct option *o, void *m, const char *text,
                               struct err *e)
{
    switch (o->type) {
    case OPT_FLAG:
        return assign_flag(o, m, text, e);
    case OPT_INT:
        return assign_int(o, m, text, e);
    case OPT_REAL:
        return assign_real(o, m, text, e);
    case OPT_TEXT:
        return assign_text(m, text, e);
    case OPT_CHOICE:
        return assign_choice(o, m, text, e);
    case OPT_SIZE:
        return assign_size(o, m, text, e);
    case OPT_EVERY:
        return assign_every(o, m, text, e);
    default:
        return err_set(e, ST_UNBUILT, "'%s' is not built yet", o->name);
    }
}

enum status option_assign(struct option_set *set, int i, const char *text,
                          enum option_source source, struct err *e)
{
    if (source < set->source[i])
        return ST_OK;
    TRY(value_parse(&set->table[i], member(set, i), text, e));
    set->source[i] = source;
    return ST_OK;
}

enum status option_assign_named(struct option_set *set, const char *name,
                                const char *text, enum option_source source,
                                struct err *e)
{
    return option_assign(set, option_find(set, name), text, source, e);
}

/* ---- command line --------------------------------------------------------------- */

/* One "--…" argument; *at moves on by one more when it takes the next argument. */
static enum status flag_parse(struct option_set *set, int argc, const char *const *argv,
                              int *at, struct err *e)
{
    const char *name = argv[*at] + 2;
    const char *value = strchr(name, '=');
    size_t len = value ? (size_t)(value - name) : strlen(name);
    char word[NAME_BYTES];
    int i;

    if (len >= sizeof(word))
        return err_set(e, ST_USAGE, "unknown flag '%s'", argv[*at]);
    memcpy(word, name, len);
    word[len] = '\0';
    i = option_find(set, word);
    if (i < 0 && strncmp(word, "no", 2) == 0 && (word[2] == '-' || word[2] == '_')) {
        i = option_find(set, word + 3);
        if (i >= 0 && set->table[i].type == OPT_FLAG && !value)
            return option_assign(set, i, "false", SOURCE_FLAG, e);
        i = -1;
    }
    if (i < 0)
        return option_unknown(set, "flag", word, e);
    if (value)
        return option_assign(set, i, value + 1, SOURCE_FLAG, e);
    if (set->table[i].type == OPT_FLAG || set->table[i].type == OPT_UNBUILT)
        return option_assign(set, i, "true", SOURCE_FLAG, e);
    if (*at + 1 >= argc)
        return err_set(e, ST_USAGE, "missing value of flag '--%s'", word);
    *at += 1;
    return option_assign(set, i, argv[*at], SOURCE_FLAG, e);
}

enum status option_parse_args(struct option_set *set, int argc, const char *const *argv,
                              const char **rest, int *n_rest, struct err *e)
{
    bool flags = true;

    *n_rest = 0;
    for (int at = 0; at < argc; at++) {
        if (flags && strcmp(argv[at], "--") == 0)
            flags = false;
        else if (flags && strncmp(argv[at], "--", 2) == 0)
            TRY(flag_parse(set, argc, argv, &at, e));
        else
            rest[(*n_rest)++] = argv[at];
    }
    return ST_OK;
}

enum status option_parse_few(struct option_set *set, int argc, const char *const *argv,
                             int most, const char **rest, int *n_rest, struct err *e)
{
    if (argc > most)
        return err_set(e, ST_USAGE, "impossible number of arguments %d: %d at most",
                       argc, most);
    return option_parse_args(set, argc, argv, rest, n_rest, e);
}

/* ---- printing ------------------------------------------------------------------- */

static int format_choice(const char *list, int i, char *out, size_t bytes)
{
    while (i-- > 0)
        list += strcspn(list, " ") + 1;
    return snprintf(out, bytes, "%.*s", (int)strcspn(list, " "), list);
}

/* The shortest decimal that reads back as the same double. */
static int format_real(double v, char *out, size_t bytes)
{
    char text[40];

    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    return snprintf(out, bytes, "%s", text);
}

static int format_every(const struct option_every *every, char *out, size_t bytes)
{
    if (every->seconds > 0.0)
        return snprintf(out, bytes, "%.15gs", every->seconds);
    return snprintf(out, bytes, "%lld", (long long)every->rows);
}

int option_format(const struct option_set *set, int i, char *out, size_t bytes)
{
    const struct option *o = &set->table[i];
    const void *m = member(set, i);
    const struct option_size *size = m;
    const char *text;

    switch (o->type) {
    case OPT_FLAG:
        return snprintf(out, bytes, "%s", *(const bool *)m ? "true" : "false");
    case OPT_INT:
        return snprintf(out, bytes, "%lld", (long long)*(const int64_t *)m);
    case OPT_REAL:
        return format_real(*(const double *)m, out, bytes);
    case OPT_TEXT:
        text = *(char *const *)m;
        return snprintf(out, bytes, "%s", text ? text : "");
    case OPT_CHOICE:
        return format_choice(o->choices, *(const int *)m, out, bytes);
    case OPT_SIZE:
        return snprintf(out, bytes, "%lldx%lld", (long long)size->width,
                        (long long)size->height);
    case OPT_EVERY:
        return format_every(m, out, bytes);
    default:
        return snprintf(out, bytes, "%s", "");
    }
}

const char *option_source_name(enum option_source source)
{
    static const char *const names[] = {"unset", "default", "model", "file", "flag"};

    return names[source];
}

void option_help(const struct option *table, int n, FILE *out)
{
    for (int i = 0; i < n; i++) {
        const struct option *o = &table[i];
        char left[NAME_BYTES + 32];

        if (o->type == OPT_UNBUILT && o->name[0])
            continue;
        if (!o->name[0]) {
            fprintf(out, "\n%s\n", o->help);
            continue;
        }
        snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        fprintf(out, "  %-32s %s\n", left, o->help);
        if (o->choices)
            fprintf(out, "  %-32s one of: %s\n", "", o->choices);
        if (o->aliases)
            fprintf(out, "  %-32s also: %s\n", "", o->aliases);
    }
}
