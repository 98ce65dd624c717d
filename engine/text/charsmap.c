/* charsmap.c - check and walk the double array of a character map
 *
 * The check is linear: the array is made of blocks of 256 units, a byte changes only
 * the low eight bits of an index, so a unit whose index ^ offset is a valid index has
 * all its children inside. A unit with bit 31 is a value and is never walked through
 * (its label equals no byte).
 *
 * That the shortest key wins, and takes the rest of its cluster with it ("²" with an
 * enclosing mark becomes a bare "2"), is what the tokenizers library does; the
 * sentencepiece library takes the longest key at every byte. The published pipelines
 * use the former.
 */
#include "engine/text/charsmap.h"

#include <string.h>

#include <utf8proc.h>

enum { BLOCK = 256, CLUSTER_BYTES = 6 };

static uint32_t read_u32(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t unit_at(const struct charsmap *m, size_t i)
{
    return read_u32(m->units + 4 * i);
}

static size_t unit_offset(uint32_t u)
{
    return (size_t)(u >> 10) << ((u & 0x200) >> 6);
}

static bool is_value(uint32_t u)
{
    return u >> 31;
}

static bool has_leaf(uint32_t u)
{
    return u >> 8 & 1;
}

static bool unit_sound(const struct charsmap *m, size_t i)
{
    uint32_t u = unit_at(m, i);
    size_t base = i ^ unit_offset(u);

    if (is_value(u))
        return true;
    if (base >= m->n_units)
        return false;
    return !has_leaf(u) || (unit_at(m, base) & 0x7FFFFFFF) < m->pool_bytes;
}

bool charsmap_init(struct charsmap *m, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    size_t array;

    if (n < 4)
        return false;
    array = read_u32(p);
    if (array == 0 || array % (4 * BLOCK) != 0 || array >= n - 4 || p[n - 1] != 0)
        return false;
    m->units = p + 4;
    m->n_units = array / 4;
    m->pool = (const char *)p + 4 + array;
    m->pool_bytes = n - 4 - array;
    for (size_t i = 0; i < m->n_units; i++)
        if (!unit_sound(m, i))
            return false;
    return true;
}

/* The replacement of the shortest key that `key` begins with, or NULL. */
static const char *find_shortest(const struct charsmap *m, const char *key, size_t n)
{
    size_t i = unit_offset(unit_at(m, 0));
    uint32_t u;

    for (size_t k = 0; k < n; k++) {
        unsigned char b = (unsigned char)key[k];

        i ^= b;
        u = unit_at(m, i);
        if (b == 0 || (u & 0x800000FF) != b)
            return NULL;
        i ^= unit_offset(u);
        if (has_leaf(u))
            return m->pool + (unit_at(m, i) & 0x7FFFFFFF);
    }
    return NULL;
}

static enum status apply_rune(const struct charsmap *m, uint32_t rune,
                              struct runes *out, struct err *e)
{
    char key[4];
    const char *found = find_shortest(m, key, (size_t)rune_utf8(rune, key));

    if (found)
        return runes_decode(out, found, strlen(found), e);
    return runes_push(out, rune, e);
}

static enum status apply_cluster(const struct charsmap *m, const uint32_t *v, size_t n,
                                 struct runes *out, struct err *e)
{
    char key[CLUSTER_BYTES + 4];
    const char *found = NULL;
    size_t bytes = 0;

    for (size_t i = 0; i < n && bytes < CLUSTER_BYTES; i++)
        bytes += (size_t)rune_utf8(v[i], key + bytes);
    if (bytes < CLUSTER_BYTES)
        found = find_shortest(m, key, bytes);
    if (found)
        return runes_decode(out, found, strlen(found), e);
    for (size_t i = 0; i < n; i++)
        TRY(apply_rune(m, v[i], out, e));
    return ST_OK;
}

enum status charsmap_apply(const struct charsmap *m, const struct runes *in,
                           struct runes *out, struct err *e)
{
    utf8proc_int32_t state = 0;
    size_t begin = 0;

    for (size_t i = 1; i <= in->n; i++) {
        if (i < in->n &&
            !utf8proc_grapheme_break_stateful((utf8proc_int32_t)in->v[i - 1],
                                              (utf8proc_int32_t)in->v[i], &state))
            continue;
        TRY(apply_cluster(m, in->v + begin, i - begin, out, e));
        begin = i;
    }
    return ST_OK;
}
