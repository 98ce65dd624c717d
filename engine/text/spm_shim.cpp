/* spm_shim.cpp - the one place where the sentencepiece library is called
 *
 * The library reports most failures as a status and a few by throwing (out of memory,
 * the trie builder); both become a message here. Callers check the file before they
 * hand it over (spm_file.c), because the library trusts offsets inside the character
 * map.
 */
#include "engine/text/spm_shim.h"

#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include <sentencepiece_processor.h>

struct spm {
    sentencepiece::SentencePieceProcessor processor;
};

static void say(char *message, const char *text)
{
    std::snprintf(message, SPM_MESSAGE_BYTES, "%s", text);
}

struct spm *spm_create(const void *bytes, size_t n, char message[SPM_MESSAGE_BYTES])
{
    try {
        auto s = std::make_unique<spm>();
        const auto status = s->processor.LoadFromSerializedProto(
            std::string_view(static_cast<const char *>(bytes), n));

        if (status.ok())
            return s.release();
        say(message, status.error_message());
    } catch (const std::exception &x) {
        say(message, x.what());
    } catch (...) {
        say(message, "unknown failure");
    }
    return nullptr;
}

void spm_destroy(struct spm *s)
{
    delete s;
}

int spm_pieces(const struct spm *s)
{
    return s->processor.GetPieceSize();
}

int spm_eos_id(const struct spm *s)
{
    return s->processor.eos_id();
}

int spm_unk_id(const struct spm *s)
{
    return s->processor.unk_id();
}

const char *spm_piece(const struct spm *s, int id, size_t *n, float *score,
                      int *control)
{
    const std::string &piece = s->processor.IdToPiece(id);

    *n = piece.size();
    *score = s->processor.GetScore(id);
    *control = s->processor.IsControl(id);
    return piece.data();
}

int64_t spm_encode(const struct spm *s, const char *text, size_t n, int32_t *ids,
                   size_t cap, char message[SPM_MESSAGE_BYTES])
{
    try {
        std::vector<int> all;
        const auto status = s->processor.Encode(std::string_view(text, n), &all);

        if (!status.ok()) {
            say(message, status.error_message());
            return -1;
        }
        for (size_t i = 0; i < all.size() && i < cap; i++)
            ids[i] = all[i];
        return static_cast<int64_t>(all.size());
    } catch (const std::exception &x) {
        say(message, x.what());
    } catch (...) {
        say(message, "unknown failure");
    }
    return -1;
}
