/* tokenizer.c - special strings, normalisation, words, pieces, ids
 *
 * TOKENIZER_HF repeats the pipeline that transformers' converter (4.31, of the days of
 * the published tokenizer.json) writes for a T5 model:
 *
 *   1. special strings are cut out of the text, leftmost and longest first
 *   2. each part between them: character map (charsmap.c), runs of spaces become one
 *   3. spaces become U+2581, one is put in front unless the part begins with it, and a
 *      new word begins at every U+2581. So "a </s> b" is "▁a" "▁" </s> "▁b": a space
 *      before a special string is a piece of its own, and a part behind one gets the
 *      prefix even where no space was.
 *   4. each word is segmented (segment.c)
 *   5. cut to text_len - 1, end token
 */
#include "engine/text/tokenizer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/charsmap.h"
#include "engine/text/runes.h"
#include "engine/text/segment.h"
#include "engine/text/spm_file.h"
#include "engine/text/spm_shim.h"

enum { WORD_MARK = 0x2581, EXTRA_IDS_MAX = 1000, EXTRA_NAME_BYTES = 24 };

const struct tokenizer_options TOKENIZER_DEFAULT = {TOKENIZER_HF, 300};

struct tokenizer {
    enum tokenizer_mode mode;
    unsigned char *file; /* charsmap points into it */
    struct spm *spm;
    bool has_map;
    struct charsmap map;
    int32_t n_pieces, n_vocab, eos;
    struct vocab *vocab;
    struct piece *special; /* texts that become their id */
    size_t n_special;
    char (*extra_names)[EXTRA_NAME_BYTES];
};

/* ---- opening ------------------------------------------------------------------ */

static enum status no_memory(struct err *e)
{
    return err_set(e, ST_RESOURCE, "no memory for the tokenizer");
}

static enum status load_library(struct tokenizer *t, size_t n, const char *name,
                                struct err *e)
{
    char message[SPM_MESSAGE_BYTES] = "";

    t->spm = spm_create(t->file, n, message);
    if (!t->spm)
        return err_set(e, ST_INPUT, "bad tokenizer '%s': %s", name, message);
    t->n_pieces = spm_pieces(t->spm);
    t->eos = spm_eos_id(t->spm);
    if (t->eos < 0 || t->eos >= t->n_pieces)
        return err_set(e, ST_INPUT, "bad tokenizer '%s': no end token", name);
    if (spm_unk_id(t->spm) < 0 || spm_unk_id(t->spm) >= t->n_pieces)
        return err_set(e, ST_INPUT, "bad tokenizer '%s': no unknown token", name);
    return ST_OK;
}

/* List pieces and extra ids in `all`, and among them the special strings. */
static void list_pieces(struct tokenizer *t, int extra_ids, struct piece *all)
{
    for (int32_t id = 0; id < t->n_pieces; id++) {
        struct piece *p = &all[id];
        float score;
        int control;

        p->text = spm_piece(t->spm, id, &p->n, &score, &control);
        p->id = id;
        p->score = score;
        if (control || id == spm_unk_id(t->spm))
            t->special[t->n_special++] = *p;
    }
    for (int i = 0; i < extra_ids; i++) {
        struct piece *p = &all[t->n_pieces + i];
        int n = snprintf(t->extra_names[i], EXTRA_NAME_BYTES, "<extra_id_%d>",
                         extra_ids - 1 - i);

        *p = (struct piece){t->extra_names[i], (size_t)n, t->n_pieces + i, 0.0};
        t->special[t->n_special++] = *p;
    }
}

static enum status build_vocab(struct tokenizer *t, int extra_ids, struct err *e)
{
    struct piece *all;
    enum status st;

    t->n_vocab = t->n_pieces + extra_ids;
    all = calloc((size_t)t->n_vocab, sizeof *all);
    t->special = calloc((size_t)t->n_vocab, sizeof *t->special);
    t->extra_names = calloc((size_t)extra_ids + 1, sizeof *t->extra_names);
    if (!all || !t->special || !t->extra_names) {
        free(all);
        return no_memory(e);
    }
    list_pieces(t, extra_ids, all);
    st = vocab_create(all, (size_t)t->n_vocab, spm_unk_id(t->spm), &t->vocab, e);
    free(all);
    return st;
}

static enum status build(struct tokenizer *t, size_t n, const char *name, int extra_ids,
                         struct err *e)
{
    struct spm_file found;

    TRY(spm_file_check(t->file, n, name, &found, e));
    t->has_map = found.charsmap &&
                 charsmap_init(&t->map, found.charsmap, found.charsmap_bytes);
    TRY(load_library(t, n, name, e));
    return build_vocab(t, extra_ids, e);
}

/* Build a tokenizer on `file`, which it takes over, success or not. */
static enum status create(unsigned char *file, size_t n, const char *name,
                          const struct tokenizer_options *opt, struct tokenizer **out,
                          struct err *e)
{
    struct tokenizer *t = calloc(1, sizeof *t);
    enum status st;

    if (!t) {
        free(file);
        return no_memory(e);
    }
    t->mode = opt->mode;
    t->file = file;
    if (opt->extra_ids < 0 || opt->extra_ids > EXTRA_IDS_MAX)
        st = err_set(e, ST_USAGE, "bad number of extra ids: %d, 0 to %d are possible",
                     opt->extra_ids, EXTRA_IDS_MAX);
    else
        st = build(t, n, name, opt->extra_ids, e);
    if (st != ST_OK) {
        tokenizer_close(t);
        return st;
    }
    *out = t;
    return ST_OK;
}

enum status tokenizer_open_bytes(const void *bytes, size_t n, const char *name,
                                 const struct tokenizer_options *opt,
                                 struct tokenizer **out, struct err *e)
{
    unsigned char *copy;

    if (n > SPM_FILE_MAX_BYTES)
        return err_set(e, ST_INPUT, "bad tokenizer '%s': more than %d bytes", name,
                       SPM_FILE_MAX_BYTES);
    copy = malloc(n + 1);
    if (!copy)
        return no_memory(e);
    memcpy(copy, bytes, n);
    return create(copy, n, name, opt, out, e);
}

/* Read at most SPM_FILE_MAX_BYTES + 1 bytes, so that too large a file is noticed. */
static enum status read_file(const char *path, unsigned char **out, size_t *n,
                             struct err *e)
{
    FILE *f = fopen(path, "rb");
    unsigned char *bytes = NULL;
    size_t cap = 1 << 18;

    if (!f)
        return err_set(e, ST_INPUT, "cannot open tokenizer '%s': %s", path,
                       strerror(errno));
    for (*n = 0; *n <= SPM_FILE_MAX_BYTES; cap *= 2) {
        unsigned char *more = realloc(bytes, cap);

        if (!more) {
            free(bytes);
            fclose(f);
            return no_memory(e);
        }
        bytes = more;
        *n += fread(bytes + *n, 1, cap - *n, f);
        if (*n < cap)
            break;
    }
    if (ferror(f)) {
        fclose(f);
        free(bytes);
        return err_set(e, ST_INPUT, "cannot read tokenizer '%s'", path);
    }
    fclose(f);
    *out = bytes;
    return ST_OK;
}

enum status tokenizer_open(const char *path, const struct tokenizer_options *opt,
                           struct tokenizer **out, struct err *e)
{
    unsigned char *bytes;
    size_t n;

    TRY(read_file(path, &bytes, &n, e));
    if (n > SPM_FILE_MAX_BYTES) {
        free(bytes);
        return err_set(e, ST_INPUT, "bad tokenizer '%s': more than %d bytes", path,
                       SPM_FILE_MAX_BYTES);
    }
    return create(bytes, n, path, opt, out, e);
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    spm_destroy(t->spm);
    vocab_destroy(t->vocab);
    free(t->special);
    free(t->extra_names);
    free(t->file);
    free(t);
}

int32_t tokenizer_vocab(const struct tokenizer *t)
{
    return t->n_vocab;
}

/* ---- encoding ----------------------------------------------------------------- */

/* Where ids go, and the buffers of one call. */
struct encoding {
    const struct tokenizer *t;
    int32_t *ids;
    size_t n, cap;
    struct runes part, mapped;
};

static enum status give_id(void *ctx, int32_t id, struct err *e)
{
    struct encoding *enc = ctx;

    (void)e;
    if (enc->n < enc->cap)
        enc->ids[enc->n++] = id;
    return ST_OK;
}

/* Map the part's characters, join runs of spaces, and mark where words begin. */
static enum status mark_words(struct encoding *enc, struct err *e)
{
    struct runes *from = &enc->part, *to = &enc->mapped;
    bool space = false;

    if (enc->t->has_map) {
        to->n = 0;
        TRY(charsmap_apply(&enc->t->map, from, to, e));
        from = &enc->mapped;
        to = &enc->part;
    }
    to->n = 0;
    for (size_t i = 0; i < from->n; i++) {
        bool is_space = from->v[i] == ' ';
        uint32_t rune = is_space ? WORD_MARK : from->v[i];

        if (to->n == 0 && rune != WORD_MARK)
            TRY(runes_push(to, WORD_MARK, e));
        if (!(is_space && space))
            TRY(runes_push(to, rune, e));
        space = is_space;
    }
    if (to != &enc->part) {
        struct runes t = enc->part;

        enc->part = enc->mapped;
        enc->mapped = t;
    }
    return ST_OK;
}

static enum status segment_words(struct encoding *enc, struct err *e)
{
    const struct runes *r = &enc->part;

    for (size_t begin = 0, end; begin < r->n && enc->n < enc->cap; begin = end) {
        struct runes word = {r->v + begin, 0, 0};
        char *text;
        size_t bytes;
        enum status st;

        for (end = begin + 1; end < r->n && r->v[end] != WORD_MARK; end++)
            continue;
        word.n = end - begin;
        TRY(runes_encode(&word, &text, &bytes, e));
        st = vocab_segment(enc->t->vocab, text, bytes, give_id, enc, e);
        free(text);
        TRY(st);
    }
    return ST_OK;
}

/* Encode text without special strings. */
static enum status encode_part(struct encoding *enc, const char *text, size_t n,
                               struct err *e)
{
    enc->part.n = 0;
    TRY(runes_decode(&enc->part, text, n, e));
    TRY(mark_words(enc, e));
    return segment_words(enc, e);
}

/* The longest special string that `text` begins with, or NULL. */
static const struct piece *special_at(const struct tokenizer *t, const char *text,
                                      size_t n)
{
    const struct piece *best = NULL;

    for (size_t i = 0; i < t->n_special; i++) {
        const struct piece *p = &t->special[i];

        if (p->n <= n && p->text[0] == text[0] && memcmp(p->text, text, p->n) == 0 &&
            (!best || p->n > best->n))
            best = p;
    }
    return best;
}

static enum status encode_hf(struct encoding *enc, const char *text, size_t n,
                             struct err *e)
{
    size_t begin = 0, at = 0;

    while (at < n && enc->n < enc->cap) {
        const struct piece *special = special_at(enc->t, text + at, n - at);

        if (!special) {
            at++;
            continue;
        }
        TRY(encode_part(enc, text + begin, at - begin, e));
        TRY(give_id(enc, special->id, e));
        at += special->n;
        begin = at;
    }
    return encode_part(enc, text + begin, n - begin, e);
}

static enum status encode_spm(struct encoding *enc, const char *text, size_t n,
                              struct err *e)
{
    char message[SPM_MESSAGE_BYTES] = "";
    int64_t count = spm_encode(enc->t->spm, text, n, enc->ids, enc->cap, message);

    if (count < 0)
        return err_set(e, ST_RESOURCE, "cannot segment the prompt: %s", message);
    enc->n = (size_t)count < enc->cap ? (size_t)count : enc->cap;
    return ST_OK;
}

/* Encode text that is valid UTF-8. */
static enum status encode_valid(struct encoding *enc, const char *text, size_t n,
                                struct err *e)
{
    if (enc->t->mode == TOKENIZER_SPM)
        return encode_spm(enc, text, n, e);
    return encode_hf(enc, text, n, e);
}

enum status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
                             int32_t *ids, int text_len, int *n_ids, struct err *e)
{
    struct encoding enc = {t, ids, 0, (size_t)text_len - 1, RUNES_INIT, RUNES_INIT};
    struct runes all = RUNES_INIT;
    char *valid = NULL;
    size_t bytes;
    enum status st;

    TRY_GOTO(st, runes_decode(&all, text, n, e), release);
    TRY_GOTO(st, runes_encode(&all, &valid, &bytes, e), release);
    TRY_GOTO(st, encode_valid(&enc, valid, bytes, e), release);
    ids[enc.n] = t->eos;
    *n_ids = (int)enc.n + 1;

release:
    free(valid);
    runes_release(&all);
    runes_release(&enc.part);
    runes_release(&enc.mapped);
    return st;
}
