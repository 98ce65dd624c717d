/* names.c - matches and rewrites tensor names by rules */
#include "engine/weights/names.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { NUMBERS_MAX = 2, DIGITS_MAX = 4 };

struct match {
    const char *number[NUMBERS_MAX];
    int digits[NUMBERS_MAX];
    const char *rest; /* what '*' took, or NULL */
};

/* Decimal digits at p, without leading zeros: how many, 0 when it is no number. */
static int number_length(const char *p)
{
    int n = 0;

    while (n <= DIGITS_MAX && isdigit((unsigned char)p[n]))
        n++;
    return n > DIGITS_MAX || (n > 1 && p[0] == '0') ? 0 : n;
}

static bool match(const char *pattern, const char *name, struct match *m)
{
    int numbers = 0;

    *m = (struct match){.rest = NULL};
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            m->rest = name;
            return *name != '\0';
        }
        if (*pattern == '#') {
            int n = number_length(name);

            if (n == 0 || numbers == NUMBERS_MAX)
                return false;
            m->number[numbers] = name;
            m->digits[numbers++] = n;
            name += n;
        } else if (*pattern != *name++) {
            return false;
        }
    }
    return *name == '\0';
}

bool name_matches(const char *pattern, const char *name)
{
    struct match m;

    return match(pattern, name, &m);
}

static const char *rest_translate(const struct name_rule *rules, const char *rest)
{
    for (; rules && rules->from; rules++)
        if (strcmp(rules->from, rest) == 0)
            return rules->to;
    return rest;
}

static void fill(const char *to, const struct match *m, const char *rest, char *out,
                 size_t bytes)
{
    size_t used = 0;
    int numbers = 0;

    out[0] = '\0';
    for (; *to && used < bytes; to++) {
        int n;

        if (*to == '#') {
            n = snprintf(out + used, bytes - used, "%.*s", m->digits[numbers],
                         m->number[numbers]);
            numbers++;
        } else if (*to == '*') {
            n = snprintf(out + used, bytes - used, "%s", rest);
        } else {
            n = snprintf(out + used, bytes - used, "%c", *to);
        }
        used += n > 0 ? (size_t)n : 0;
    }
}

bool name_translate(const struct name_map *map, const char *name, char *out,
                    size_t bytes)
{
    for (const struct name_rule *r = map->rules; r->from; r++) {
        struct match m;

        if (!match(r->from, name, &m))
            continue;
        fill(r->to, &m, m.rest ? rest_translate(map->rest, m.rest) : "", out, bytes);
        return true;
    }
    return false;
}

const char *name_strip(const char *name)
{
    static const char *const prefixes[] = {"model.diffusion_model.",
                                           "diffusion_model."};

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t n = strlen(prefixes[i]);

        if (strncmp(name, prefixes[i], n) == 0)
            return name + n;
    }
    return name;
}
