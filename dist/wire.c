/* wire.c - sizes of messages from counts alone, without laying anything out */
#include "dist/wire.h"

static int64_t up(int64_t n, int64_t step)
{
    return (n + step - 1) / step * step;
}

/* `codes` bytes, then scales behind the next multiple of 16. */
static int64_t message(int64_t codes, int64_t n_scales)
{
    return n_scales == 0 ? codes : up(codes, 16) + 4 * n_scales;
}

static int64_t q_bytes(const struct seqpar_layout *l, int64_t heads, int64_t tokens)
{
    int64_t codes = heads * tokens * l->head_dim * (int64_t)dtype_bytes(l->formats.qk);

    return message(codes, l->formats.qk == DT_I8 ? heads * tokens : 0);
}

static int64_t k_bytes(const struct seqpar_layout *l, int64_t heads, int64_t tokens)
{
    int64_t codes = heads * tokens * l->head_dim * (int64_t)dtype_bytes(l->formats.qk);

    return message(codes, l->formats.qk == DT_I8 ? heads * up(tokens, 4) / 4 : 0);
}

static int64_t v_bytes(const struct seqpar_layout *l, int64_t heads, int64_t tokens)
{
    int64_t n = l->formats.v == DT_E4M3 ? up(tokens, 128) : tokens;
    int64_t channels = heads * l->head_dim;

    return message(channels * n * (int64_t)dtype_bytes(l->formats.v),
                   l->formats.v == DT_E4M3 ? channels * n / 128 : 0);
}

static int64_t o_bytes(const struct seqpar_layout *l, int64_t heads, int64_t tokens)
{
    int64_t codes = heads * tokens * l->head_dim * (int64_t)dtype_bytes(l->formats.o);

    return message(codes, l->formats.o == DT_E4M3 ? heads * tokens : 0);
}

static int64_t tokens_of(const struct seqpar_layout *l, int64_t granule, int rank)
{
    const struct seqpar_group *g = &l->group;

    return shard_tokens(l->tokens, granule, g->ulysses * g->ring, rank).count;
}

static void count(uint64_t *sum, uint64_t *messages, int64_t bytes)
{
    *sum += (uint64_t)bytes;
    *messages += ((uint64_t)bytes + COMM_MESSAGE_BYTES - 1) / COMM_MESSAGE_BYTES;
}

static void count_ulysses(const struct seqpar_layout *l, int64_t granule,
                          struct wire *w)
{
    int u = l->group.ulysses, own = l->group.rank % u, first = l->group.rank - own;
    int64_t own_heads = shard_heads(l->heads, u, own).count;
    int64_t own_tokens = tokens_of(l, granule, l->group.rank);

    for (int p = 0; p < u; p++) {
        int64_t heads = shard_heads(l->heads, u, p).count;

        if (p == own)
            continue;
        count(&w->ulysses_bytes, &w->messages, q_bytes(l, heads, own_tokens));
        count(&w->ulysses_bytes, &w->messages, k_bytes(l, heads, own_tokens));
        count(&w->ulysses_bytes, &w->messages, v_bytes(l, heads, own_tokens));
        count(&w->ulysses_bytes, &w->messages,
              o_bytes(l, own_heads, tokens_of(l, granule, first + p)));
    }
}

/* Every block but the next rank's own passes through this rank. */
static void count_ring(const struct seqpar_layout *l, int64_t granule, struct wire *w)
{
    int u = l->group.ulysses, r = l->group.ring, own = l->group.rank / u;
    int64_t heads = shard_heads(l->heads, u, l->group.rank % u).count;

    for (int block = 0; block < r; block++) {
        int64_t bytes = 0;

        for (int i = 0; i < u; i++) {
            int64_t tokens = tokens_of(l, granule, block * u + i);

            bytes += up(k_bytes(l, heads, tokens), 16) +
                     up(v_bytes(l, heads, tokens), 16);
        }
        if (block != (own + 1) % r)
            count(&w->ring_bytes, &w->messages, bytes);
    }
}

struct wire wire_of(const struct seqpar_layout *layout, int64_t granule)
{
    struct wire w = {0};

    count_ulysses(layout, granule, &w);
    count_ring(layout, granule, &w);
    if (layout->formats.qk == DT_I8 && layout->group.ulysses * layout->group.ring > 1)
        count(&w.sum_bytes, &w.messages, 8 * (layout->heads * layout->head_dim + 1));
    return w;
}

size_t wire_buffer_bytes(const struct mesh *mesh)
{
    const int sizes[] = {mesh->guidance, mesh->ulysses * mesh->ring, mesh->ulysses,
                         mesh->ring};
    const size_t peer_bytes = (size_t)128 << 20;
    size_t bytes = 0;

    for (int i = 0; i < 4; i++)
        bytes += (size_t)(sizes[i] - 1) * peer_bytes;
    return bytes;
}
