/* segment.c - Viterbi over a sorted list of pieces
 *
 * Why not the sentencepiece library: it adds scores in single precision over the whole
 * sentence and searches only the pieces that text may contain, while the tokenizers
 * library, which the published pipelines run, adds in double, word by word, over every
 * string of the vocabulary, "<0x41>" included. Ties and near-ties come out differently,
 * and the ids must be equal.
 *
 * The pieces lie sorted by bytes. Those that begin with the first k bytes of a text are
 * a range; every further byte narrows it by two binary searches.
 */
#include "engine/text/segment.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { UNKNOWN_PENALTY = 10 };

struct vocab {
    struct piece *pieces; /* sorted by text */
    size_t n;
    double unk_score;
    int32_t unk_id;
};

static int piece_order(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = memcmp(x->text, y->text, n);

    if (order == 0)
        order = (x->n > y->n) - (x->n < y->n);
    return order ? order : (x->id < y->id) - (x->id > y->id);
}

static bool same_text(const struct piece *a, const struct piece *b)
{
    return a->n == b->n && memcmp(a->text, b->text, a->n) == 0;
}

/* Keep the first of equal texts, which piece_order made the one with the largest id. */
static size_t drop_doubles(struct piece *p, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        if (kept == 0 || !same_text(&p[kept - 1], &p[i]))
            p[kept++] = p[i];
    return kept;
}

enum status vocab_create(const struct piece *pieces, size_t n, int32_t unk_id,
                         struct vocab **out, struct err *e)
{
    struct vocab *v = calloc(1, sizeof *v);
    struct piece *copy = malloc((n + 1) * sizeof *copy);
    double least = 0;

    if (!v || !copy) {
        free(v);
        free(copy);
        return err_set(e, ST_RESOURCE, "no memory for a vocabulary of %zu pieces", n);
    }
    for (size_t i = 0; i < n; i++) {
        copy[i] = pieces[i];
        if (i == 0 || pieces[i].score < least)
            least = pieces[i].score;
    }
    qsort(copy, n, sizeof *copy, piece_order);
    v->pieces = copy;
    v->n = drop_doubles(copy, n);
    v->unk_score = least - UNKNOWN_PENALTY;
    v->unk_id = unk_id;
    *out = v;
    return ST_OK;
}

void vocab_destroy(struct vocab *v)
{
    if (!v)
        return;
    free(v->pieces);
    free(v);
}

/* Byte k of a piece, -1 past its end. */
static int byte_at(const struct piece *p, size_t k)
{
    return k < p->n ? (unsigned char)p->text[k] : -1;
}

/* First piece in [lo, hi) whose byte k is at least `b`; the range shares k bytes. */
static size_t first_with(const struct vocab *v, size_t lo, size_t hi, size_t k, int b)
{
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (byte_at(&v->pieces[mid], k) < b)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The best way to reach a byte position. */
struct node {
    double score;
    size_t from;
    int32_t id;
    bool reached;
};

static void offer(struct node *to, double score, size_t from, int32_t id)
{
    if (!to->reached || score > to->score)
        *to = (struct node){score, from, id, true};
}

static size_t char_bytes(const char *s, size_t n)
{
    size_t i = 1;

    while (i < n && ((unsigned char)s[i] & 0xC0) == 0x80)
        i++;
    return i;
}

/* Offer every piece that begins at `at`, and the unknown character. */
static void extend(const struct vocab *v, const char *word, size_t n, size_t at,
                   struct node *nodes)
{
    size_t lo = 0, hi = v->n, one = char_bytes(word + at, n - at);
    bool single = false;

    for (size_t k = 0; at + k < n; k++) {
        int b = (unsigned char)word[at + k];

        lo = first_with(v, lo, hi, k, b);
        hi = first_with(v, lo, hi, k, b + 1);
        if (lo == hi)
            break;
        if (v->pieces[lo].n != k + 1)
            continue;
        offer(&nodes[at + k + 1], nodes[at].score + v->pieces[lo].score, at,
              v->pieces[lo].id);
        single = single || k + 1 == one;
    }
    if (!single)
        offer(&nodes[at + one], nodes[at].score + v->unk_score, at, v->unk_id);
}

/* Turn the links from the end back into links from the start: nodes[p].from becomes
 * the position after the piece that begins at p, and .id its id. */
static void reverse_path(struct node *nodes, size_t n)
{
    size_t at = n, next = n;
    int32_t id = -1;

    for (;;) {
        size_t from = nodes[at].from;
        int32_t own = nodes[at].id;

        nodes[at].from = next;
        nodes[at].id = id;
        if (at == 0)
            return;
        next = at;
        id = own;
        at = from;
    }
}

static enum status give_path(const struct vocab *v, const struct node *nodes, size_t n,
                             enum status (*give)(void *ctx, int32_t id, struct err *e),
                             void *ctx, struct err *e)
{
    bool unknown = false;

    for (size_t at = 0; at < n; at = nodes[at].from) {
        bool was_unknown = unknown;

        unknown = nodes[at].id == v->unk_id;
        if (!(unknown && was_unknown))
            TRY(give(ctx, nodes[at].id, e));
    }
    return ST_OK;
}

enum status vocab_segment(const struct vocab *v, const char *word, size_t n,
                          enum status (*give)(void *ctx, int32_t id, struct err *e),
                          void *ctx, struct err *e)
{
    struct node *nodes = calloc(n + 1, sizeof *nodes);
    enum status st;

    if (!nodes)
        return err_set(e, ST_RESOURCE, "no memory to segment a word of %zu bytes", n);
    nodes[0].reached = true;
    for (size_t at = 0; at < n; at += char_bytes(word + at, n - at))
        extend(v, word, n, at, nodes);
    reverse_path(nodes, n);
    st = give_path(v, nodes, n, give, ctx, e);
    free(nodes);
    return st;
}
