/* names_tables.c - the renaming rules of the three components
 *
 * Sources: dit-and-sampling 2, encoders-vae-formats 2.2, 4.4 and appendix A. Two traps:
 * the affine norm before cross attention is norm3 in the original and norm2 in
 * diffusers; scale_shift_table is the head's modulation at the top and a block's
 * inside.
 */
#include "engine/weights/names.h"

static const struct name_rule dit_rules[] = {
    {"patch_embedding.*", "patch_embedding.*"},
    {"condition_embedder.text_embedder.linear_1.*", "text_embedding.0.*"},
    {"condition_embedder.text_embedder.linear_2.*", "text_embedding.2.*"},
    {"condition_embedder.time_embedder.linear_1.*", "time_embedding.0.*"},
    {"condition_embedder.time_embedder.linear_2.*", "time_embedding.2.*"},
    {"condition_embedder.time_proj.*", "time_projection.1.*"},
    {"condition_embedder.image_embedder.norm1.*", "img_emb.proj.0.*"},
    {"condition_embedder.image_embedder.ff.net.0.proj.*", "img_emb.proj.1.*"},
    {"condition_embedder.image_embedder.ff.net.2.*", "img_emb.proj.3.*"},
    {"condition_embedder.image_embedder.norm2.*", "img_emb.proj.4.*"},
    {"condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos"},
    {"blocks.#.scale_shift_table", "blocks.#.modulation"},
    {"blocks.#.attn1.to_q.*", "blocks.#.self_attn.q.*"},
    {"blocks.#.attn1.to_k.*", "blocks.#.self_attn.k.*"},
    {"blocks.#.attn1.to_v.*", "blocks.#.self_attn.v.*"},
    {"blocks.#.attn1.to_out.0.*", "blocks.#.self_attn.o.*"},
    {"blocks.#.attn1.norm_q.weight", "blocks.#.self_attn.norm_q.weight"},
    {"blocks.#.attn1.norm_k.weight", "blocks.#.self_attn.norm_k.weight"},
    {"blocks.#.attn2.to_q.*", "blocks.#.cross_attn.q.*"},
    {"blocks.#.attn2.to_k.*", "blocks.#.cross_attn.k.*"},
    {"blocks.#.attn2.to_v.*", "blocks.#.cross_attn.v.*"},
    {"blocks.#.attn2.to_out.0.*", "blocks.#.cross_attn.o.*"},
    {"blocks.#.attn2.norm_q.weight", "blocks.#.cross_attn.norm_q.weight"},
    {"blocks.#.attn2.norm_k.weight", "blocks.#.cross_attn.norm_k.weight"},
    {"blocks.#.attn2.add_k_proj.*", "blocks.#.cross_attn.k_img.*"},
    {"blocks.#.attn2.add_v_proj.*", "blocks.#.cross_attn.v_img.*"},
    {"blocks.#.attn2.norm_added_k.weight", "blocks.#.cross_attn.norm_k_img.weight"},
    {"blocks.#.norm2.*", "blocks.#.norm3.*"},
    {"blocks.#.ffn.net.0.proj.*", "blocks.#.ffn.0.*"},
    {"blocks.#.ffn.net.2.*", "blocks.#.ffn.2.*"},
    {"scale_shift_table", "head.modulation"},
    {"proj_out.*", "head.head.*"},
    {"fps_embedding.weight", "fps_embedding.weight"},
    {"fps_projection.net.0.proj.*", "fps_projection.0.*"},
    {"fps_projection.net.2.*", "fps_projection.2.*"},
    {NULL, NULL},
};

static const struct name_rule text_rules[] = {
    {"shared.weight", "token_embedding.weight"},
    {"encoder.embed_tokens.weight", "token_embedding.weight"},
    {"encoder.block.#.layer.0.layer_norm.weight", "blocks.#.norm1.weight"},
    {"encoder.block.#.layer.0.SelfAttention.q.weight", "blocks.#.attn.q.weight"},
    {"encoder.block.#.layer.0.SelfAttention.k.weight", "blocks.#.attn.k.weight"},
    {"encoder.block.#.layer.0.SelfAttention.v.weight", "blocks.#.attn.v.weight"},
    {"encoder.block.#.layer.0.SelfAttention.o.weight", "blocks.#.attn.o.weight"},
    {"encoder.block.#.layer.0.SelfAttention.relative_attention_bias.weight",
     "blocks.#.pos_embedding.embedding.weight"},
    {"encoder.block.#.layer.1.layer_norm.weight", "blocks.#.norm2.weight"},
    {"encoder.block.#.layer.1.DenseReluDense.wi_0.weight",
     "blocks.#.ffn.gate.0.weight"},
    {"encoder.block.#.layer.1.DenseReluDense.wi_1.weight", "blocks.#.ffn.fc1.weight"},
    {"encoder.block.#.layer.1.DenseReluDense.wo.weight", "blocks.#.ffn.fc2.weight"},
    {"encoder.final_layer_norm.weight", "norm.weight"},
    {NULL, NULL},
};

static const struct name_rule vae_rules[] = {
    {"quant_conv.*", "conv1.*"},
    {"post_quant_conv.*", "conv2.*"},
    {"encoder.down_blocks.#.*", "encoder.downsamples.#.*"},
    {"decoder.up_blocks.0.resnets.0.*", "decoder.upsamples.0.*"},
    {"decoder.up_blocks.0.resnets.1.*", "decoder.upsamples.1.*"},
    {"decoder.up_blocks.0.resnets.2.*", "decoder.upsamples.2.*"},
    {"decoder.up_blocks.0.upsamplers.0.*", "decoder.upsamples.3.*"},
    {"decoder.up_blocks.1.resnets.0.*", "decoder.upsamples.4.*"},
    {"decoder.up_blocks.1.resnets.1.*", "decoder.upsamples.5.*"},
    {"decoder.up_blocks.1.resnets.2.*", "decoder.upsamples.6.*"},
    {"decoder.up_blocks.1.upsamplers.0.*", "decoder.upsamples.7.*"},
    {"decoder.up_blocks.2.resnets.0.*", "decoder.upsamples.8.*"},
    {"decoder.up_blocks.2.resnets.1.*", "decoder.upsamples.9.*"},
    {"decoder.up_blocks.2.resnets.2.*", "decoder.upsamples.10.*"},
    {"decoder.up_blocks.2.upsamplers.0.*", "decoder.upsamples.11.*"},
    {"decoder.up_blocks.3.resnets.0.*", "decoder.upsamples.12.*"},
    {"decoder.up_blocks.3.resnets.1.*", "decoder.upsamples.13.*"},
    {"decoder.up_blocks.3.resnets.2.*", "decoder.upsamples.14.*"},
    {"encoder.conv_in.*", "encoder.conv1.*"},
    {"encoder.mid_block.resnets.0.*", "encoder.middle.0.*"},
    {"encoder.mid_block.attentions.0.*", "encoder.middle.1.*"},
    {"encoder.mid_block.resnets.1.*", "encoder.middle.2.*"},
    {"encoder.norm_out.gamma", "encoder.head.0.gamma"},
    {"encoder.conv_out.*", "encoder.head.2.*"},
    {"decoder.conv_in.*", "decoder.conv1.*"},
    {"decoder.mid_block.resnets.0.*", "decoder.middle.0.*"},
    {"decoder.mid_block.attentions.0.*", "decoder.middle.1.*"},
    {"decoder.mid_block.resnets.1.*", "decoder.middle.2.*"},
    {"decoder.norm_out.gamma", "decoder.head.0.gamma"},
    {"decoder.conv_out.*", "decoder.head.2.*"},
    {NULL, NULL},
};

static const struct name_rule vae_rest[] = {
    {"norm1.gamma", "residual.0.gamma"},
    {"norm2.gamma", "residual.3.gamma"},
    {"conv1.weight", "residual.2.weight"},
    {"conv1.bias", "residual.2.bias"},
    {"conv2.weight", "residual.6.weight"},
    {"conv2.bias", "residual.6.bias"},
    {"conv_shortcut.weight", "shortcut.weight"},
    {"conv_shortcut.bias", "shortcut.bias"},
    {NULL, NULL},
};

static const char *const dit_ignored[] = {
    "blocks.#.attn2.norm_added_q.weight", /* in diffusers files, used by nobody */
    "model_type.*",                       /* a marker of one series of repacks */
    NULL,
};

static const char *const text_ignored[] = {
    "spiece_model", /* the tokenizer, in single files of ComfyUI */
    NULL,
};

static const char *const vae_ignored[] = {NULL};

const struct name_map names_dit = {
    .original = "text_embedding.0.weight",
    .other = "condition_embedder.text_embedder.linear_1.weight",
    .rules = dit_rules,
    .ignored = dit_ignored,
};

const struct name_map names_text = {
    .original = "token_embedding.weight",
    .other = "encoder.final_layer_norm.weight",
    .rules = text_rules,
    .ignored = text_ignored,
    .spare = "encoder.embed_tokens.weight",
    .spare_beside = "shared.weight",
};

const struct name_map names_vae = {
    .original = "conv2.weight",
    .other = "post_quant_conv.weight",
    .rules = vae_rules,
    .rest = vae_rest,
    .ignored = vae_ignored,
};
