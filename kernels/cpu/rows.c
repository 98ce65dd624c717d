/* rows.c - emit a computed row as floats or as codes with a scale */
#include "kernels/cpu/rows.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/span.h"

void rows_emit(const struct tensor *out, int64_t row, rows_values_fn *fn,
               const void *ctx)
{
    float v[ROW_CHUNK];
    int64_t cols = out->shape[1];
    bool codes = dtype_bytes(out->dtype) == 1;
    float scale = 1.0f, top = 0.0f;

    for (int64_t c = 0; codes && c < cols; c += ROW_CHUNK) {
        int64_t n = min_i64(ROW_CHUNK, cols - c);

        fn(ctx, row, c, n, v);
        top = span_absmax(v, n, top);
    }
    if (codes) {
        scale = span_quant_scale(out->dtype, top);
        out->scales.data[row] = scale;
    }
    for (int64_t c = 0; c < cols; c += ROW_CHUNK) {
        int64_t n = min_i64(ROW_CHUNK, cols - c);
        void *to = span_at(out->data, out->dtype, row * out->stride[0] + c);

        if (!codes || cols > ROW_CHUNK)
            fn(ctx, row, c, n, v);
        if (codes)
            span_quant(to, out->dtype, n, v, scale);
        else
            span_store(to, out->dtype, n, v);
    }
}

int64_t rows_frame(const struct tensor *table, int64_t row, int64_t first_token,
                   int64_t tokens_per_frame)
{
    return table->shape[0] == 1 ? 0 : (first_token + row) / tokens_per_frame;
}
