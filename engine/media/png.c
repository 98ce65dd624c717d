/* png.c - FFmpeg's PNG encoder, plus the tags, which it does not write
 *
 * A PNG is a signature and chunks; the first chunk, IHDR, ends at byte 33. The tags go
 * behind it, one iTXt chunk each:
 *
 *     u32 length | "iTXt" | key 0 | 0 0 (not compressed) | language 0 | key 0 | value |
 * crc
 *
 * with big-endian numbers and the CRC-32 of type and content. */
#include "engine/media/png.h"

#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavutil/crc.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/log.h>

enum { IHDR_END = 33, CHUNK_EXTRA = 12, TEXT_EXTRA = 5 };

struct png {
    char *path;
    AVCodecContext *codec;
    AVFrame *frame;
    AVPacket *packet;
    uint8_t *tags; /* the iTXt chunks, ready to insert */
    size_t tags_bytes;
    uint8_t *file;
    size_t file_room;
};

static enum status no_memory(const char *path, struct err *e)
{
    return err_set(e, ST_RESOURCE, "no memory for pictures of '%s'", path);
}

static size_t chunk_bytes(const struct media_tag *tag)
{
    return CHUNK_EXTRA + strlen(tag->key) + TEXT_EXTRA + strlen(tag->value);
}

/* Write one chunk at `p` and return its end. */
static uint8_t *chunk_put(uint8_t *p, const struct media_tag *tag)
{
    size_t key = strlen(tag->key), value = strlen(tag->value);
    size_t length = key + TEXT_EXTRA + value;
    uint8_t *text = p + 8;

    AV_WB32(p, (uint32_t)length);
    memcpy(p + 4, "iTXt", 4);
    memcpy(text, tag->key, key);
    memset(text + key, 0, TEXT_EXTRA);
    memcpy(text + key + TEXT_EXTRA, tag->value, value);
    AV_WB32(text + length, ~av_crc(av_crc_get_table(AV_CRC_32_IEEE_LE), UINT32_MAX,
                                   p + 4, length + 4));
    return text + length + 4;
}

static enum status tags_build(struct png *p, const struct media_options *opt,
                              struct err *e)
{
    uint8_t *end;

    for (int i = 0; i < opt->n_tags; i++)
        p->tags_bytes += chunk_bytes(&opt->tags[i]);
    p->tags = malloc(p->tags_bytes + 1);
    if (!p->tags)
        return no_memory(p->path, e);
    end = p->tags;
    for (int i = 0; i < opt->n_tags; i++)
        end = chunk_put(end, &opt->tags[i]);
    return ST_OK;
}

static enum status codec_open(struct png *p, const struct media_options *opt,
                              struct err *e)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_PNG);

    if (!codec)
        return err_set(e, ST_UNBUILT,
                       "cannot write '%s': these FFmpeg libraries have no PNG encoder",
                       p->path);
    p->codec = avcodec_alloc_context3(codec);
    p->frame = av_frame_alloc();
    p->packet = av_packet_alloc();
    if (!p->codec || !p->frame || !p->packet)
        return no_memory(p->path, e);
    p->codec->width = p->frame->width = opt->width;
    p->codec->height = p->frame->height = opt->height;
    p->codec->pix_fmt = AV_PIX_FMT_RGB24;
    p->codec->time_base = (AVRational){1, 1};
    p->codec->thread_count = 1;
    p->frame->format = AV_PIX_FMT_RGB24;
    if (av_frame_get_buffer(p->frame, 0) < 0)
        return no_memory(p->path, e);
    if (avcodec_open2(p->codec, codec, NULL) < 0)
        return err_set(e, ST_UNBUILT,
                       "cannot write '%s': the PNG encoder of these "
                       "FFmpeg libraries does not open",
                       p->path);
    return ST_OK;
}

enum status png_create(const char *path, const struct media_options *opt,
                       struct png **out, struct err *e)
{
    struct png *p = calloc(1, sizeof(*p));
    enum status st;

    if (!p || !(p->path = strdup(path))) {
        free(p);
        return no_memory(path, e);
    }
    av_log_set_level(AV_LOG_QUIET);
    TRY_GOTO(st, codec_open(p, opt, e), err_destroy);
    TRY_GOTO(st, tags_build(p, opt, e), err_destroy);
    *out = p;
    return ST_OK;

err_destroy:
    png_destroy(p);
    return st;
}

void png_destroy(struct png *p)
{
    if (!p)
        return;
    avcodec_free_context(&p->codec);
    av_frame_free(&p->frame);
    av_packet_free(&p->packet);
    free(p->tags);
    free(p->file);
    free(p->path);
    free(p);
}

static void frame_fill(const struct png *p, const uint8_t *rgb)
{
    size_t row = (size_t)3 * (size_t)p->frame->width;

    for (int i = 0; i < p->frame->height; i++)
        memcpy(p->frame->data[0] + (ptrdiff_t)i * p->frame->linesize[0],
               rgb + (size_t)i * row, row);
}

/* p->file = packet with the tags behind IHDR. */
static enum status file_join(struct png *p, size_t bytes, struct err *e)
{
    if (bytes > p->file_room) {
        uint8_t *grown = realloc(p->file, bytes);

        if (!grown)
            return no_memory(p->path, e);
        p->file = grown;
        p->file_room = bytes;
    }
    memcpy(p->file, p->packet->data, IHDR_END);
    memcpy(p->file + IHDR_END, p->tags, p->tags_bytes);
    memcpy(p->file + IHDR_END + p->tags_bytes, p->packet->data + IHDR_END,
           (size_t)p->packet->size - IHDR_END);
    return ST_OK;
}

enum status png_encode(struct png *p, const uint8_t *rgb, const uint8_t **data,
                       size_t *bytes, struct err *e)
{
    enum status st;
    int rc = av_frame_make_writable(p->frame);

    if (rc < 0)
        return no_memory(p->path, e);
    frame_fill(p, rgb);
    p->frame->pts++;
    rc = avcodec_send_frame(p->codec, p->frame);
    if (rc >= 0)
        rc = avcodec_receive_packet(p->codec, p->packet);
    if (rc < 0 || p->packet->size <= IHDR_END)
        return err_set(e, ST_RESOURCE, "cannot encode a picture of '%s'", p->path);
    *bytes = (size_t)p->packet->size + p->tags_bytes;
    st = file_join(p, *bytes, e);
    av_packet_unref(p->packet);
    *data = p->file;
    return st;
}
