/* mp4.c - H.264 in mp4 through FFmpeg's libraries
 *
 * The settings are those that imageio hands to ffmpeg: libx264 with its defaults, a
 * constant rate factor, 4:2:0. Bytes leave through our own output (output.h), so the
 * file appears under its name only when it is whole. FFmpeg's log is silent: what goes
 * wrong comes back as a status.
 *
 * Tags go into the "mdta" metadata of the file, which takes any key; `ffprobe
 * -show_format` lists them. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/log.h>
#include <libavutil/opt.h>

#include "engine/media/output.h"
#include "engine/media/sink.h"
#include "engine/media/yuv.h"

enum { IO_BYTES = 1 << 16 };

struct mp4 {
    struct output *out;
    struct err io_err; /* the first failure inside the write callback */
    AVFormatContext *mux;
    AVCodecContext *codec;
    AVFrame *frame;
    AVPacket *packet;
    int width, height; /* of the frames handed in */
    int64_t next_pts;
};

static enum status av_fail(const struct mp4 *m, int code, const char *what,
                           struct err *e)
{
    char text[AV_ERROR_MAX_STRING_SIZE];

    if (m->io_err.status != ST_OK)
        return err_set(e, m->io_err.status, "%s", m->io_err.text);
    av_strerror(code, text, sizeof(text));
    return err_set(e, code == AVERROR(ENOMEM) ? ST_RESOURCE : ST_INPUT,
                   "cannot %s '%s': %s", what, output_path(m->out), text);
}

static enum status mp4_built(const char *path, struct err *e)
{
    if (avcodec_find_encoder_by_name("libx264"))
        return ST_OK;
    return err_set(e, ST_UNBUILT,
                   "cannot write '%s': these FFmpeg libraries have no libx264, a name "
                   "ending in .y4m works",
                   path);
}

#if LIBAVFORMAT_VERSION_MAJOR >= 61
static int io_write(void *self, const uint8_t *data, int bytes)
#else
static int io_write(void *self, uint8_t *data, int bytes)
#endif
{
    struct mp4 *m = self;

    if (m->io_err.status == ST_OK)
        output_write(m->out, data, (size_t)bytes, &m->io_err);
    return m->io_err.status == ST_OK ? bytes : AVERROR(EIO);
}

static int64_t io_seek(void *self, int64_t offset, int whence)
{
    struct mp4 *m = self;
    off_t at;

    if (whence & AVSEEK_SIZE)
        return AVERROR(ENOSYS);
    at = lseek(output_fd(m->out), offset, whence & ~AVSEEK_FORCE);
    return at < 0 ? AVERROR(errno) : at;
}

/* Everything but the output itself. */
static void mp4_free(struct mp4 *m)
{
    if (m->mux && m->mux->pb) {
        av_freep(&m->mux->pb->buffer);
        avio_context_free(&m->mux->pb);
    }
    avformat_free_context(m->mux);
    avcodec_free_context(&m->codec);
    av_frame_free(&m->frame);
    av_packet_free(&m->packet);
    free(m);
}

static void mp4_abort(void *self)
{
    struct mp4 *m = self;

    output_discard(m->out);
    mp4_free(m);
}

static enum status io_open(struct mp4 *m, struct err *e)
{
    unsigned char *buffer;
    int rc = avformat_alloc_output_context2(&m->mux, NULL, "mp4", NULL);

    if (rc < 0)
        return av_fail(m, rc, "write", e);
    buffer = av_malloc(IO_BYTES);
    if (buffer)
        m->mux->pb = avio_alloc_context(buffer, IO_BYTES, 1, m, NULL, io_write,
                                        io_seek);
    if (!m->mux->pb) {
        av_free(buffer);
        return av_fail(m, AVERROR(ENOMEM), "write", e);
    }
    m->mux->flags |= AVFMT_FLAG_BITEXACT; /* the same video, the same bytes */
    return ST_OK;
}

static enum status codec_open(struct mp4 *m, const struct media_options *opt,
                              struct err *e)
{
    const AVCodec *x264 = avcodec_find_encoder_by_name("libx264");
    AVCodecContext *c = avcodec_alloc_context3(x264);
    int rc;

    if (!c)
        return av_fail(m, AVERROR(ENOMEM), "encode", e);
    m->codec = c;
    c->width = opt->width + opt->width % 2;
    c->height = opt->height + opt->height % 2;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->colorspace = AVCOL_SPC_SMPTE170M;
    c->color_range = AVCOL_RANGE_MPEG;
    c->time_base = (AVRational){opt->fps_den, opt->fps_num};
    c->framerate = (AVRational){opt->fps_num, opt->fps_den};
    c->sample_aspect_ratio = (AVRational){1, 1};
    if (m->mux->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set_double(c->priv_data, "crf", opt->crf, 0);
    rc = avcodec_open2(c, x264, NULL);
    return rc < 0 ? av_fail(m, rc, "encode", e) : ST_OK;
}

static enum status frame_alloc(struct mp4 *m, struct err *e)
{
    m->packet = av_packet_alloc();
    m->frame = av_frame_alloc();
    if (!m->packet || !m->frame)
        return av_fail(m, AVERROR(ENOMEM), "encode", e);
    m->frame->format = m->codec->pix_fmt;
    m->frame->width = m->codec->width;
    m->frame->height = m->codec->height;
    m->frame->colorspace = m->codec->colorspace;
    m->frame->color_range = m->codec->color_range;
    if (av_frame_get_buffer(m->frame, 0) < 0)
        return av_fail(m, AVERROR(ENOMEM), "encode", e);
    return ST_OK;
}

static enum status header_write(struct mp4 *m, const struct media_options *opt,
                                struct err *e)
{
    AVStream *stream = avformat_new_stream(m->mux, NULL);
    AVDictionary *how = NULL;
    int rc = stream ? 0 : AVERROR(ENOMEM);

    if (rc >= 0)
        rc = avcodec_parameters_from_context(stream->codecpar, m->codec);
    for (int i = 0; i < opt->n_tags && rc >= 0; i++)
        rc = av_dict_set(&m->mux->metadata, opt->tags[i].key, opt->tags[i].value, 0);
    if (rc >= 0)
        rc = av_dict_set(&how, "movflags", "use_metadata_tags", 0);
    if (rc >= 0) {
        stream->time_base = m->codec->time_base;
        stream->avg_frame_rate = m->codec->framerate;
        rc = avformat_write_header(m->mux, &how);
    }
    av_dict_free(&how);
    return rc < 0 ? av_fail(m, rc, "write", e) : ST_OK;
}

static enum status mp4_open(const char *path, const struct media_options *opt,
                            void **out, struct err *e)
{
    struct mp4 *m = calloc(1, sizeof(*m));
    enum status st;

    if (!m)
        return err_set(e, ST_RESOURCE, "no memory for the output '%s'", path);
    av_log_set_level(AV_LOG_QUIET);
    m->width = opt->width;
    m->height = opt->height;
    TRY_GOTO(st, output_open(path, opt->force, &m->out, e), err_free);
    TRY_GOTO(st, io_open(m, e), err_abort);
    TRY_GOTO(st, codec_open(m, opt, e), err_abort);
    TRY_GOTO(st, frame_alloc(m, e), err_abort);
    TRY_GOTO(st, header_write(m, opt, e), err_abort);
    *out = m;
    return ST_OK;

err_abort:
    mp4_abort(m);
    return st;
err_free:
    free(m);
    return st;
}

/* Give the encoder a frame (NULL: no more) and write what it has finished. */
static enum status encode(struct mp4 *m, const AVFrame *frame, struct err *e)
{
    AVStream *stream = m->mux->streams[0];
    int rc = avcodec_send_frame(m->codec, frame);

    if (rc < 0)
        return av_fail(m, rc, "encode", e);
    while ((rc = avcodec_receive_packet(m->codec, m->packet)) >= 0) {
        if (m->packet->duration == 0)
            m->packet->duration = 1;
        av_packet_rescale_ts(m->packet, m->codec->time_base, stream->time_base);
        m->packet->stream_index = stream->index;
        rc = av_interleaved_write_frame(m->mux, m->packet);
        if (rc < 0 || m->io_err.status != ST_OK)
            return av_fail(m, rc, "write", e);
    }
    if (rc != AVERROR(EAGAIN) && rc != AVERROR_EOF)
        return av_fail(m, rc, "encode", e);
    return ST_OK;
}

static enum status mp4_frame(void *self, const uint8_t *rgb, struct err *e)
{
    struct mp4 *m = self;
    struct yuv_plane plane[3];
    int rc = av_frame_make_writable(m->frame);

    if (rc < 0)
        return av_fail(m, rc, "encode", e);
    for (int i = 0; i < 3; i++)
        plane[i] = (struct yuv_plane){m->frame->data[i], m->frame->linesize[i]};
    yuv420_from_rgb(plane, rgb, m->width, m->height);
    m->frame->pts = m->next_pts++;
    return encode(m, m->frame, e);
}

static enum status mp4_close(void *self, struct err *e)
{
    struct mp4 *m = self;
    enum status st = encode(m, NULL, e);
    int rc;

    if (st == ST_OK) {
        rc = av_write_trailer(m->mux);
        avio_flush(m->mux->pb);
        if (rc < 0 || m->io_err.status != ST_OK)
            st = av_fail(m, rc, "write", e);
    }
    if (st == ST_OK)
        st = output_commit(m->out, e);
    else
        output_discard(m->out);
    mp4_free(m);
    return st;
}

const struct sink sink_mp4 = {mp4_built, mp4_open, mp4_frame, mp4_close, mp4_abort};
