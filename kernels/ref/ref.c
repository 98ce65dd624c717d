/* ref.c - the reference backend: the table of its ops */
#include "kernels/ref/ref.h"

static void ref_close(void *self)
{
    (void)self;
}

static const struct backend ref_backend = {
    .facts = {.name = "ref",
              .space = MEM_HOST,
              .granule_tokens = 128,
              .busy_tokens = 128,
              .operand_dtypes = 1u << DT_F32 | 1u << DT_BF16 | 1u << DT_E4M3 |
                                1u << DT_I8},
    .close = ref_close,
    HOST_SLOTS,
    .linear_workspace = linear_workspace_ref,
    .conv_workspace = conv_workspace_ref,
    .attention_workspace = attention_workspace_ref,
#define REF_FILL(op) .op = op##_ref,
    OPS_LIST(REF_FILL)
#undef REF_FILL
};

enum status ref_open(const struct ops_options *opt, struct ops *out, struct err *e)
{
    (void)opt;
    (void)e;
    out->backend = &ref_backend;
    out->self = NULL;
    return ST_OK;
}
