/* hash.h - whether two runs of bytes are alike, for those who cannot send both
 *
 * FNV-1a of 64 bits (draft-eastlake-fnv). It finds what went wrong by accident; nobody
 * is kept from making two inputs with one hash.
 */
#ifndef KERNELS_BASE_HASH_H
#define KERNELS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t hash_fnv1a(const void *data, size_t bytes)
{
    const unsigned char *p = data;
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < bytes; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

#endif
