/* digest.c - SHA-256 through OpenSSL, XXH3 through xxHash */
#include "engine/digest.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

struct digest {
    EVP_MD_CTX *ctx;
};

struct checksum {
    XXH3_state_t *state;
};

enum status digest_create(struct digest **out, struct err *e)
{
    struct digest *d = malloc(sizeof(*d));

    if (!d)
        return err_set(e, ST_RESOURCE, "cannot take a digest: out of memory");
    d->ctx = EVP_MD_CTX_new();
    if (!d->ctx || EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL) != 1) {
        digest_destroy(d);
        return err_set(e, ST_RESOURCE, "cannot take a digest: no SHA-256 in libcrypto");
    }
    *out = d;
    return ST_OK;
}

void digest_add(struct digest *d, const void *data, size_t bytes)
{
    EVP_DigestUpdate(d->ctx, data, bytes);
}

void digest_hex(struct digest *d, char hex[DIGEST_HEX])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    hex[0] = '\0';
    if (EVP_DigestFinal_ex(d->ctx, raw, &n) != 1)
        return;
    for (unsigned i = 0; i < n && 2 * i + 2 < DIGEST_HEX; i++)
        snprintf(hex + 2 * i, 3, "%02x", raw[i]);
}

void digest_destroy(struct digest *d)
{
    if (!d)
        return;
    EVP_MD_CTX_free(d->ctx);
    free(d);
}

void digest_of(const void *data, size_t bytes, char hex[DIGEST_HEX])
{
    struct digest *d;

    hex[0] = '\0';
    if (digest_create(&d, NULL) != ST_OK)
        return;
    digest_add(d, data, bytes);
    digest_hex(d, hex);
    digest_destroy(d);
}

enum status checksum_create(struct checksum **out, struct err *e)
{
    struct checksum *c = malloc(sizeof(*c));

    if (c)
        c->state = XXH3_createState();
    if (!c || !c->state) {
        free(c);
        return err_set(e, ST_RESOURCE, "cannot take a checksum: out of memory");
    }
    checksum_reset(c);
    *out = c;
    return ST_OK;
}

void checksum_reset(struct checksum *c)
{
    XXH3_64bits_reset(c->state);
}

void checksum_add(struct checksum *c, const void *data, size_t bytes)
{
    XXH3_64bits_update(c->state, data, bytes);
}

uint64_t checksum_value(const struct checksum *c)
{
    return XXH3_64bits_digest(c->state);
}

void checksum_destroy(struct checksum *c)
{
    if (!c)
        return;
    XXH3_freeState(c->state);
    free(c);
}

uint64_t checksum_of(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}
