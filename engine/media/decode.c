/* decode.c - mp4, PNG and JPEG to u8 RGB through FFmpeg's libraries
 *
 * Files come from strangers, so FFmpeg gets as little as possible to work with: bytes
 * of one regular file through our own callbacks (no protocols, no further files), three
 * containers, three decoders, a limit on pixels. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/log.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

#include "engine/media/sink.h"

enum { IO_BYTES = 1 << 16, PIXELS_MAX = 1 << 26 };

static const char FORMATS[] = "mov,png_pipe,jpeg_pipe";
static const char CODECS[] = "h264,png,mjpeg";

struct video {
    char *path;
    int fd;
    AVFormatContext *demux;
    AVIOContext *io;
    AVCodecContext *codec;
    AVFrame *frame;
    AVPacket *packet;
    struct SwsContext *scale;
    int width, height; /* as the file opened; pictures of another size are refused */
    int stream;
    uint8_t *rows; /* one picture, rows aligned as swscale likes to write them */
    int row_bytes;
    bool drained; /* no more packets, the decoder is being emptied */
};

static enum status av_fail(const struct video *v, int code, struct err *e)
{
    char text[AV_ERROR_MAX_STRING_SIZE];

    av_strerror(code, text, sizeof(text));
    return err_set(e, code == AVERROR(ENOMEM) ? ST_RESOURCE : ST_INPUT,
                   "cannot read '%s': %s", v->path, text);
}

static int io_read(void *self, uint8_t *data, int bytes)
{
    const struct video *v = self;
    ssize_t n;

    do
        n = read(v->fd, data, (size_t)bytes);
    while (n < 0 && errno == EINTR);
    return n < 0 ? AVERROR(errno) : n == 0 ? AVERROR_EOF : (int)n;
}

static int64_t io_seek(void *self, int64_t offset, int whence)
{
    const struct video *v = self;
    struct stat sb;
    off_t at;

    if (whence & AVSEEK_SIZE)
        return fstat(v->fd, &sb) < 0 ? AVERROR(errno) : sb.st_size;
    at = lseek(v->fd, offset, whence & ~AVSEEK_FORCE);
    return at < 0 ? AVERROR(errno) : at;
}

static void video_close(void *self)
{
    struct video *v = self;

    sws_freeContext(v->scale);
    av_free(v->rows);
    av_frame_free(&v->frame);
    av_packet_free(&v->packet);
    avcodec_free_context(&v->codec);
    avformat_close_input(&v->demux);
    if (v->io) {
        av_freep(&v->io->buffer);
        avio_context_free(&v->io);
    }
    if (v->fd >= 0)
        close(v->fd);
    free(v->path);
    free(v);
}

static enum status file_open(struct video *v, struct err *e)
{
    struct stat sb;

    if (stat(v->path, &sb) < 0)
        return err_set(e, ST_INPUT, "cannot open '%s': %s", v->path, strerror(errno));
    if (!S_ISREG(sb.st_mode))
        return err_set(e, ST_INPUT, "'%s' is not a regular file", v->path);
    v->fd = open(v->path, O_RDONLY | O_CLOEXEC);
    return v->fd < 0
               ? err_set(e, ST_INPUT, "cannot open '%s': %s", v->path, strerror(errno))
               : ST_OK;
}

static enum status demux_open(struct video *v, struct err *e)
{
    unsigned char *buffer = av_malloc(IO_BYTES);
    int rc;

    if (buffer)
        v->io = avio_alloc_context(buffer, IO_BYTES, 0, v, io_read, NULL, io_seek);
    if (!v->io) {
        av_free(buffer);
        return av_fail(v, AVERROR(ENOMEM), e);
    }
    v->demux = avformat_alloc_context();
    if (!v->demux)
        return av_fail(v, AVERROR(ENOMEM), e);
    v->demux->pb = v->io;
    v->demux->format_whitelist = av_strdup(FORMATS);
    v->demux->codec_whitelist = av_strdup(CODECS);
    if (!v->demux->format_whitelist || !v->demux->codec_whitelist)
        return av_fail(v, AVERROR(ENOMEM), e);
    rc = avformat_open_input(&v->demux, NULL, NULL, NULL);
    if (rc >= 0)
        rc = avformat_find_stream_info(v->demux, NULL);
    return rc < 0 ? av_fail(v, rc, e) : ST_OK;
}

static enum status codec_open(struct video *v, struct err *e)
{
    const AVCodec *codec = NULL;
    int rc = av_find_best_stream(v->demux, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);

    if (rc < 0)
        return err_set(e, ST_INPUT, "cannot read '%s': no picture in it", v->path);
    v->stream = rc;
    v->codec = avcodec_alloc_context3(codec);
    v->frame = av_frame_alloc();
    v->packet = av_packet_alloc();
    if (!v->codec || !v->frame || !v->packet)
        return av_fail(v, AVERROR(ENOMEM), e);
    rc = avcodec_parameters_to_context(v->codec, v->demux->streams[rc]->codecpar);
    if (rc >= 0)
        rc = av_opt_set(v->codec, "codec_whitelist", CODECS, 0);
    v->codec->max_pixels = PIXELS_MAX;
    if (rc >= 0)
        rc = avcodec_open2(v->codec, codec, NULL);
    if (rc < 0)
        return av_fail(v, rc, e);
    v->width = v->codec->width;
    v->height = v->codec->height;
    if (v->width < 1 || v->width > MEDIA_SIDE_MAX || v->height < 1 ||
        v->height > MEDIA_SIDE_MAX)
        return err_set(e, ST_INPUT, "cannot read '%s': its pictures are %d x %d pixels",
                       v->path, v->width, v->height);
    return ST_OK;
}

static enum status video_open(const char *path, void **out, struct err *e)
{
    struct video *v = calloc(1, sizeof(*v));
    enum status st;

    if (!v || !(v->path = strdup(path))) {
        free(v);
        return err_set(e, ST_RESOURCE, "no memory to open '%s'", path);
    }
    v->fd = -1;
    av_log_set_level(AV_LOG_QUIET);
    TRY_GOTO(st, file_open(v, e), err_close);
    TRY_GOTO(st, demux_open(v, e), err_close);
    TRY_GOTO(st, codec_open(v, e), err_close);
    *out = v;
    return ST_OK;

err_close:
    video_close(v);
    return st;
}

static void video_info(const void *self, struct media_info *out)
{
    const struct video *v = self;
    AVRational rate = v->demux->streams[v->stream]->avg_frame_rate;

    out->width = v->width;
    out->height = v->height;
    out->fps_num = rate.num > 0 && rate.den > 0 ? rate.num : 1;
    out->fps_den = rate.num > 0 && rate.den > 0 ? rate.den : 1;
}

static const char *dict_tag(const AVDictionary *d, const char *key)
{
    const AVDictionaryEntry *entry = av_dict_get(d, key, NULL, AV_DICT_MATCH_CASE);

    return entry ? entry->value : NULL;
}

static const char *video_tag(const void *self, const char *key)
{
    const struct video *v = self;
    const char *value = dict_tag(v->demux->metadata, key);

    return value ? value : dict_tag(v->demux->streams[v->stream]->metadata, key);
}

/* The next packet of our stream into the decoder, or the end. */
static int packet_feed(struct video *v)
{
    int rc;

    do {
        av_packet_unref(v->packet);
        rc = av_read_frame(v->demux, v->packet);
    } while (rc >= 0 && v->packet->stream_index != v->stream);
    if (rc == AVERROR_EOF) {
        v->drained = true;
        return avcodec_send_packet(v->codec, NULL);
    }
    if (rc >= 0)
        rc = avcodec_send_packet(v->codec, v->packet);
    av_packet_unref(v->packet);
    return rc;
}

/* v->frame = the next picture; AVERROR_EOF after the last. */
static int frame_next(struct video *v)
{
    int rc;

    while ((rc = avcodec_receive_frame(v->codec, v->frame)) == AVERROR(EAGAIN)) {
        if (v->drained)
            return AVERROR_EOF;
        rc = packet_feed(v);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* A converter for this frame; the pixel format may change from frame to frame. */
static enum status scale_open(struct video *v, struct err *e)
{
    const AVFrame *f = v->frame;
    const int *matrix = sws_getCoefficients(
        f->colorspace == AVCOL_SPC_BT709 ? SWS_CS_ITU709 : SWS_CS_ITU601);

    if (f->width != v->width || f->height != v->height)
        return err_set(e, ST_INPUT, "cannot read '%s': its pictures change size",
                       v->path);
    v->scale = sws_getCachedContext(
        v->scale, f->width, f->height, (enum AVPixelFormat)f->format, f->width,
        f->height, AV_PIX_FMT_RGB24,
        SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    if (!v->scale)
        return err_set(e, ST_INPUT,
                       "cannot read '%s': its pixels are in a format that is not known",
                       v->path);
    sws_setColorspaceDetails(v->scale, matrix, f->color_range == AVCOL_RANGE_JPEG,
                             sws_getCoefficients(SWS_CS_ITU601), 1, 0, 1 << 16,
                             1 << 16);
    if (!v->rows) {
        v->row_bytes = (3 * v->width + 127) / 64 * 64;
        v->rows = av_malloc((size_t)v->row_bytes * (size_t)v->height);
    }
    return v->rows ? ST_OK : av_fail(v, AVERROR(ENOMEM), e);
}

static enum status frame_convert(struct video *v, uint8_t *rgb, struct err *e)
{
    size_t row = (size_t)3 * (size_t)v->width;
    uint8_t *planes[4];
    int strides[4] = {0};

    TRY(scale_open(v, e));
    planes[0] = v->rows;
    planes[1] = planes[2] = planes[3] = NULL;
    strides[0] = v->row_bytes;
    sws_scale(v->scale, (const uint8_t *const *)v->frame->data, v->frame->linesize, 0,
              v->height, planes, strides);
    for (int i = 0; i < v->height; i++)
        memcpy(rgb + (size_t)i * row, v->rows + (size_t)i * (size_t)v->row_bytes, row);
    return ST_OK;
}

static enum status video_frame(void *self, uint8_t *rgb, bool *got, struct err *e)
{
    struct video *v = self;
    enum status st;
    int rc = frame_next(v);

    if (rc == AVERROR_EOF) {
        *got = false;
        return ST_OK;
    }
    if (rc < 0)
        return av_fail(v, rc, e);
    st = frame_convert(v, rgb, e);
    av_frame_unref(v->frame);
    if (st == ST_OK)
        *got = true;
    return st;
}

const struct source source_ffmpeg = {video_open, video_info, video_tag, video_frame,
                                     video_close};
