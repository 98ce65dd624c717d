/* spm_file.c - a bounds-checked walk over the protobuf of a SentencePiece model
 *
 * A message is a row of fields: a varint key (number << 3 | wire type), then a varint
 * (type 0), 8 bytes (1), a length and that many bytes (2), or 4 bytes (5). What we
 * follow, by field number:
 *
 *     model      1 piece (repeated), 2 trainer, 3 normaliser, 5 denormaliser
 *     piece      1 string, 2 score, 3 kind (2: unknown)
 *     trainer    3 model type (1: unigram)
 *     normaliser 2 character map
 */
#include "engine/text/spm_file.h"

#include <stdbool.h>
#include <stdint.h>

#include "engine/text/charsmap.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum {
    MODEL_PIECE = 1,
    MODEL_TRAINER = 2,
    MODEL_NORMALISER = 3,
    MODEL_DENORMALISER = 5
};

enum { TRAINER_MODEL_TYPE = 3, TYPE_UNIGRAM = 1, NORMALISER_CHARSMAP = 2 };

enum { PIECE_TEXT = 1, PIECE_KIND = 3, KIND_UNKNOWN = 2, PIECE_MAX_BYTES = 1024 };

struct counts {
    int pieces, unknown;
};

/* A message that is being read, and the field that was read last. */
struct walk {
    const unsigned char *at, *end;
    uint32_t field, wire;
    uint64_t number;            /* WIRE_VARINT */
    const unsigned char *bytes; /* WIRE_BYTES */
    size_t n;
};

static bool varint_read(struct walk *w, uint64_t *out)
{
    uint64_t v = 0;

    for (int shift = 0; shift < 64; shift += 7) {
        unsigned char c;

        if (w->at == w->end)
            return false;
        c = *w->at++;
        v |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool skip(struct walk *w, uint64_t n)
{
    if (n > (uint64_t)(w->end - w->at))
        return false;
    w->bytes = w->at;
    w->n = (size_t)n;
    w->at += n;
    return true;
}

/* Read the next field; false when the message is broken. */
static bool field_read(struct walk *w)
{
    uint64_t key, n;

    if (!varint_read(w, &key) || key >> 3 == 0 || key >> 3 > 0x1FFFFFFF)
        return false;
    w->field = (uint32_t)(key >> 3);
    w->wire = key & 7;
    switch (w->wire) {
    case WIRE_VARINT:
        return varint_read(w, &w->number);
    case WIRE_FIXED64:
        return skip(w, 8);
    case WIRE_BYTES:
        return varint_read(w, &n) && skip(w, n);
    case WIRE_FIXED32:
        return skip(w, 4);
    default:
        return false;
    }
}

static struct walk walk_into(const struct walk *w)
{
    return (struct walk){.at = w->bytes, .end = w->bytes + w->n};
}

static enum status broken(const char *name, const char *what, struct err *e)
{
    return err_set(e, ST_INPUT, "bad tokenizer '%s': %s", name, what);
}

static enum status check_piece(struct walk w, const char *name, struct counts *counts,
                               struct err *e)
{
    size_t text = 0;

    if (++counts->pieces > SPM_FILE_MAX_PIECES)
        return err_set(e, ST_INPUT, "bad tokenizer '%s': more than %d pieces", name,
                       SPM_FILE_MAX_PIECES);
    while (w.at < w.end) {
        if (!field_read(&w))
            return broken(name, "a piece is cut off", e);
        if (w.field == PIECE_TEXT && w.wire == WIRE_BYTES)
            text = w.n;
        if (w.field == PIECE_KIND && w.wire == WIRE_VARINT)
            counts->unknown += w.number == KIND_UNKNOWN;
    }
    if (text < 1 || text > PIECE_MAX_BYTES)
        return err_set(e, ST_INPUT,
                       "bad tokenizer '%s': a piece of %zu bytes, must be 1 to %d",
                       name, text, PIECE_MAX_BYTES);
    return ST_OK;
}

static enum status check_trainer(struct walk w, const char *name, struct err *e)
{
    while (w.at < w.end) {
        if (!field_read(&w))
            return broken(name, "the trainer's settings are cut off", e);
        if (w.field == TRAINER_MODEL_TYPE &&
            (w.wire != WIRE_VARINT || w.number != TYPE_UNIGRAM))
            return broken(name, "the model is not of the unigram kind", e);
    }
    return ST_OK;
}

static enum status check_normaliser(struct walk w, const char *name,
                                    struct spm_file *out, struct err *e)
{
    struct charsmap map;

    while (w.at < w.end) {
        if (!field_read(&w))
            return broken(name, "the normaliser's settings are cut off", e);
        if (w.field != NORMALISER_CHARSMAP || w.wire != WIRE_BYTES || w.n == 0)
            continue;
        if (!charsmap_init(&map, w.bytes, w.n))
            return broken(name, "the character map points outside itself", e);
        out->charsmap = w.bytes;
        out->charsmap_bytes = w.n;
    }
    return ST_OK;
}

enum status spm_file_check(const void *bytes, size_t n, const char *name,
                           struct spm_file *out, struct err *e)
{
    struct walk w = {.at = bytes, .end = (const unsigned char *)bytes + n};
    struct spm_file found = {NULL, 0}, other;
    struct counts counts = {0, 0};

    while (w.at < w.end) {
        if (!field_read(&w))
            return broken(name, "the file is cut off or not a SentencePiece model", e);
        if (w.wire != WIRE_BYTES)
            continue;
        if (w.field == MODEL_PIECE) {
            TRY(check_piece(walk_into(&w), name, &counts, e));
        } else if (w.field == MODEL_TRAINER) {
            TRY(check_trainer(walk_into(&w), name, e));
        } else if (w.field == MODEL_NORMALISER) {
            TRY(check_normaliser(walk_into(&w), name, &found, e));
        } else if (w.field == MODEL_DENORMALISER) {
            TRY(check_normaliser(walk_into(&w), name, &other, e));
        }
    }
    if (counts.pieces == 0)
        return broken(name, "no pieces in it", e);
    if (counts.unknown != 1)
        return err_set(e, ST_INPUT, "bad tokenizer '%s': %d unknown pieces, must be 1",
                       name, counts.unknown);
    *out = found;
    return ST_OK;
}
