/* y4m_read.c - YUV4MPEG2 from anybody, 4:4:4 or 4:2:0, 8 bit, to u8 RGB
 *
 * The header is one line of at most 1023 bytes, parameters separated by blanks: W, H, F
 * (num:den), C (colour space; 4:2:0 when absent). Unknown parameters are skipped, as
 * the format asks for. Every number is checked before it sizes anything. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/media/sink.h"
#include "engine/media/yuv.h"

enum { LINE_BYTES = 1024 };

struct y4m {
    FILE *file;
    char *path;
    struct media_info info;
    bool half; /* chroma is halved in both directions */
    size_t frame_bytes;
    uint8_t *frame;
    int64_t file_bytes;
    long frames_read;
};

static void y4m_close(void *self)
{
    struct y4m *y = self;

    if (y->file)
        fclose(y->file);
    free(y->path);
    free(y->frame);
    free(y);
}

/* A whole number in 1..max up to `end`; 0 when it is not one. */
static int number_parse(const char *s, char end, int max)
{
    char *stop;
    long v;

    if (*s < '0' || *s > '9')
        return 0;
    errno = 0;
    v = strtol(s, &stop, 10);
    return errno == 0 && *stop == end && v >= 1 && v <= max ? (int)v : 0;
}

static enum status rate_parse(struct y4m *y, const char *s, struct err *e)
{
    const char *colon = strchr(s, ':');

    y->info.fps_num = number_parse(s, ':', INT_MAX);
    y->info.fps_den = colon ? number_parse(colon + 1, '\0', INT_MAX) : 0;
    if (y->info.fps_num && y->info.fps_den)
        return ST_OK;
    return err_set(e, ST_INPUT, "'%s' has a frame rate of '%s', not N:D", y->path, s);
}

static enum status colour_parse(struct y4m *y, const char *s, struct err *e)
{
    static const char *const halved[] = {"420", "420jpeg", "420mpeg2", "420paldv"};

    y->half = false;
    if (strcmp(s, "444") == 0)
        return ST_OK;
    y->half = true;
    for (size_t i = 0; i < sizeof(halved) / sizeof(halved[0]); i++) {
        if (strcmp(s, halved[i]) == 0)
            return ST_OK;
    }
    return err_set(e, ST_INPUT, "'%s' has colours '%s', not 8-bit 444 or 420", y->path,
                   s);
}

static enum status parameter_parse(struct y4m *y, const char *s, struct err *e)
{
    switch (*s) {
    case 'W':
        y->info.width = number_parse(s + 1, '\0', MEDIA_SIDE_MAX);
        return ST_OK;
    case 'H':
        y->info.height = number_parse(s + 1, '\0', MEDIA_SIDE_MAX);
        return ST_OK;
    case 'F':
        return rate_parse(y, s + 1, e);
    case 'C':
        return colour_parse(y, s + 1, e);
    default:
        return ST_OK;
    }
}

/* One line without its end; at most LINE_BYTES - 1 bytes, no NUL. */
static enum status line_read(struct y4m *y, char line[LINE_BYTES], struct err *e)
{
    int n = 0;
    int c;

    while ((c = fgetc(y->file)) != '\n') {
        if (c <= 0 || n == LINE_BYTES - 1)
            return err_set(e, ST_INPUT, "'%s' has a broken y4m header line", y->path);
        line[n++] = (char)c;
    }
    line[n] = '\0';
    return ST_OK;
}

static enum status header_read(struct y4m *y, struct err *e)
{
    char line[LINE_BYTES];
    char *rest, *word;

    TRY(line_read(y, line, e));
    word = strtok_r(line, " ", &rest);
    if (!word || strcmp(word, "YUV4MPEG2") != 0)
        return err_set(e, ST_INPUT, "'%s' is not a y4m file", y->path);
    y->half = true;
    y->info.fps_num = 25;
    y->info.fps_den = 1;
    while ((word = strtok_r(NULL, " ", &rest)))
        TRY(parameter_parse(y, word, e));
    if (!y->info.width || !y->info.height)
        return err_set(e, ST_INPUT, "'%s' has no width and height in 1..%d", y->path,
                       (int)MEDIA_SIDE_MAX);
    return ST_OK;
}

static size_t chroma_side(const struct y4m *y, int side)
{
    return y->half ? ((size_t)side + 1) / 2 : (size_t)side;
}

static enum status frame_alloc(struct y4m *y, struct err *e)
{
    y->frame_bytes = (size_t)y->info.width * (size_t)y->info.height +
                     2 * chroma_side(y, y->info.width) * chroma_side(y, y->info.height);
    if ((uint64_t)y->file_bytes < y->frame_bytes)
        return err_set(e, ST_INPUT, "'%s' of %lld bytes is shorter than a frame of %zu",
                       y->path, (long long)y->file_bytes, y->frame_bytes);
    y->frame = malloc(y->frame_bytes);
    if (!y->frame)
        return err_set(e, ST_RESOURCE, "no memory for a frame of '%s'", y->path);
    return ST_OK;
}

static enum status file_open(struct y4m *y, const char *path, struct err *e)
{
    struct stat sb;

    y->path = strdup(path);
    if (!y->path)
        return err_set(e, ST_RESOURCE, "no memory to open '%s'", path);
    if (stat(path, &sb) < 0)
        return err_set(e, ST_INPUT, "cannot open '%s': %s", path, strerror(errno));
    if (!S_ISREG(sb.st_mode))
        return err_set(e, ST_INPUT, "'%s' is not a regular file", path);
    y->file_bytes = sb.st_size;
    y->file = fopen(path, "rbe");
    if (!y->file)
        return err_set(e, ST_INPUT, "cannot open '%s': %s", path, strerror(errno));
    return ST_OK;
}

static enum status y4m_open(const char *path, void **out, struct err *e)
{
    struct y4m *y = calloc(1, sizeof(*y));
    enum status st;

    if (!y)
        return err_set(e, ST_RESOURCE, "no memory to open '%s'", path);
    TRY_GOTO(st, file_open(y, path, e), err_close);
    TRY_GOTO(st, header_read(y, e), err_close);
    TRY_GOTO(st, frame_alloc(y, e), err_close);
    *out = y;
    return ST_OK;

err_close:
    y4m_close(y);
    return st;
}

static void y4m_info(const void *self, struct media_info *out)
{
    *out = ((const struct y4m *)self)->info;
}

static const char *y4m_tag(const void *self, const char *key)
{
    (void)self;
    (void)key;
    return NULL;
}

static void frame_convert(const struct y4m *y, uint8_t *rgb)
{
    int w = y->info.width, h = y->info.height;
    size_t cw = chroma_side(y, w), luma = (size_t)w * (size_t)h;
    struct yuv_plane plane[3] = {
        {y->frame, w},
        {y->frame + luma, (ptrdiff_t)cw},
        {y->frame + luma + cw * chroma_side(y, h), (ptrdiff_t)cw},
    };

    if (y->half)
        yuv420_to_rgb(rgb, plane, w, h);
    else
        yuv444_to_rgb(rgb, plane, w, h);
}

static enum status y4m_frame(void *self, uint8_t *rgb, bool *got, struct err *e)
{
    struct y4m *y = self;
    char line[LINE_BYTES];
    int c = fgetc(y->file);

    if (c == EOF && !ferror(y->file)) {
        *got = false;
        return ST_OK;
    }
    ungetc(c, y->file);
    TRY(line_read(y, line, e));
    if (strncmp(line, "FRAME", 5) != 0 || (line[5] && line[5] != ' '))
        return err_set(e, ST_INPUT, "'%s' has no FRAME line before frame %ld", y->path,
                       y->frames_read);
    if (fread(y->frame, 1, y->frame_bytes, y->file) != y->frame_bytes)
        return err_set(e, ST_INPUT, "'%s' ends within frame %ld of %zu bytes", y->path,
                       y->frames_read, y->frame_bytes);
    y->frames_read++;
    frame_convert(y, rgb);
    *got = true;
    return ST_OK;
}

const struct source source_y4m = {y4m_open, y4m_info, y4m_tag, y4m_frame, y4m_close};
