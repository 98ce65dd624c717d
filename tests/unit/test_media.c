/* test_media.c - what is written can be read back, and nothing half-written stays */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/media/media.h"
#include "engine/media/yuv.h"
#include "tests/tolerance.h"

enum { W = 37, H = 22, FRAMES = 9 };

static const char PROMPT[] = "a \"caf\xc3\xa9\"; \\n <b>&amp;\n\ttab \xff\xfe ' =;#";
static const struct media_tag TAGS[] = {
    {"prompt", PROMPT}, {"seed", "42"}, {"comment", "{\"prompt\": \"x\", \"n\": 1}"}};

static char dir[64]; /* a fresh folder for every test */

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/framefleet-media-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static void folder_remove(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *entry;
    char name[512];

    while (d && (entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (unlink(name) < 0)
            folder_remove(name);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static int remove_dir(void **state)
{
    (void)state;
    folder_remove(dir);
    return 0;
}

/* `name` inside the test's folder; two results live at a time. */
static const char *in_dir(const char *name)
{
    static char paths[2][512];
    static int turn;

    turn = !turn;
    snprintf(paths[turn], sizeof(paths[turn]), "%s/%s", dir, name);
    return paths[turn];
}

static int entries_count(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;

    if (!d)
        return -1;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

/* Smooth colours that move, so that 4:2:0 loses little. */
static void picture(uint8_t *rgb, int w, int h, int t)
{
    for (int i = 0; i < h; i++) {
        for (int j = 0; j < w; j++) {
            *rgb++ = (uint8_t)(40 + (150 * j / w) + 2 * t);
            *rgb++ = (uint8_t)(200 - (120 * i / h));
            *rgb++ = (uint8_t)(60 + 60 * (i + j) / (w + h));
        }
    }
}

static struct media_options options(int w, int h)
{
    struct media_options opt = MEDIA_OPTIONS_DEFAULT;

    opt.width = w;
    opt.height = h;
    opt.tags = TAGS;
    opt.n_tags = 3;
    return opt;
}

static enum status clip_write(const char *path, const struct media_options *opt, int n,
                              struct err *e)
{
    uint8_t *rgb = malloc((size_t)3 * (size_t)opt->width * (size_t)opt->height);
    struct media_writer *m;
    enum status st = media_open(path, opt, &m, e);

    assert_non_null(rgb);
    for (int t = 0; t < n && st == ST_OK; t++) {
        picture(rgb, opt->width, opt->height, t);
        st = media_frame(m, rgb, e);
        if (st != ST_OK)
            media_abort(m);
    }
    free(rgb);
    return st == ST_OK ? media_close(m, e) : st;
}

/* The largest difference of any byte to the pictures that were written; -1 when the
 * frames are not `n`. */
static int clip_compare(const char *path, int w, int h, int n)
{
    struct err e = ERR_INIT;
    struct media_reader *r;
    struct media_info info;
    uint8_t *got, *want;
    bool more = true;
    int frames = 0, worst = 0;

    assert_int_equal(media_read_open(path, &r, &e), ST_OK);
    media_read_info(r, &info);
    got = malloc((size_t)3 * (size_t)info.width * (size_t)info.height);
    want = malloc((size_t)3 * (size_t)w * (size_t)h);
    assert_non_null(got);
    assert_non_null(want);
    while (media_read_frame(r, got, &more, &e) == ST_OK && more) {
        picture(want, w, h, frames++);
        for (int i = 0; i < h; i++) {
            for (int k = 0; k < 3 * w; k++) {
                int d = got[3 * i * info.width + k] - want[3 * i * w + k];

                worst = abs(d) > worst ? abs(d) : worst;
            }
        }
    }
    free(got);
    free(want);
    media_read_close(r);
    return frames == n && e.status == ST_OK ? worst : -1;
}

static void names_say_what_is_made(void **state)
{
    static const struct {
        const char *name;
        enum media_kind kind;
    } cases[] = {{"a.mp4", MEDIA_MP4},   {"b/c.Y4M", MEDIA_Y4M},
                 {"x.y/out", MEDIA_PNG}, {"movie.v1/", MEDIA_PNG},
                 {"frames", MEDIA_PNG},  {"/tmp", MEDIA_PNG}};
    enum media_kind kind;
    struct err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(media_kind_of(cases[i].name, &kind, &e), ST_OK);
        assert_int_equal(kind, cases[i].kind);
    }
    assert_int_equal(media_kind_of("video.avi", &kind, &e), ST_USAGE);
    assert_non_null(strstr(e.text, ".y4m"));
    assert_int_equal(media_kind_of("", &kind, &e), ST_USAGE);
}

static void grey_and_corners_are_exact(void **state)
{
    uint8_t yuv[3], rgb[3];
    struct yuv_plane plane[3] = {{&yuv[0], 1}, {&yuv[1], 1}, {&yuv[2], 1}};

    (void)state;
    for (int v = 0; v < 256; v++) {
        memset(rgb, v, 3);
        yuv444_from_rgb(plane, rgb, 1, 1);
        assert_int_equal(yuv[1], 128);
        assert_int_equal(yuv[2], 128);
        yuv444_to_rgb(rgb, plane, 1, 1);
        assert_in_range(rgb[0], v > 0 ? v - 1 : 0, v + 1);
        assert_int_equal(rgb[0], rgb[1]);
        assert_int_equal(rgb[0], rgb[2]);
    }
    memcpy(rgb, "\xff\0\0", 3); /* the red of the standard: 81, 90, 240 */
    yuv444_from_rgb(plane, rgb, 1, 1);
    assert_memory_equal(yuv, "\x51\x5a\xf0", 3);
    memcpy(rgb, "\0\0\xff", 3); /* blue: 41, 240, 110 */
    yuv444_from_rgb(plane, rgb, 1, 1);
    assert_memory_equal(yuv, "\x29\xf0\x6e", 3);
    memset(rgb, 255, 3);
    yuv444_from_rgb(plane, rgb, 1, 1);
    assert_int_equal(yuv[0], 235);
}

static void y4m_bytes_are_the_format(void **state)
{
    static const uint8_t rgb[6] = {255, 0, 0, 255, 255, 255};
    static const char want[] =
        "YUV4MPEG2 W2 H1 F24:1 Ip A1:1 C444 XCOLORRANGE=LIMITED\n"
        "FRAME\n\x51\xeb\x5a\x80\xf0\x80";
    struct media_options opt = options(2, 1);
    struct media_writer *m;
    struct err e = ERR_INIT;
    char got[256];
    size_t n;
    FILE *f;

    (void)state;
    assert_int_equal(media_open(in_dir("a.y4m"), &opt, &m, &e), ST_OK);
    assert_int_equal(media_frame(m, rgb, &e), ST_OK);
    assert_int_equal(access(in_dir("a.y4m"), F_OK), -1);
    assert_int_equal(media_close(m, &e), ST_OK);
    f = fopen(in_dir("a.y4m"), "rb");
    assert_non_null(f);
    n = fread(got, 1, sizeof(got), f);
    fclose(f);
    assert_int_equal(n, sizeof(want) - 1);
    assert_memory_equal(got, want, n);
    assert_int_equal(entries_count(dir), 1);
}

static void y4m_comes_back(void **state)
{
    struct media_options opt = options(W, H);
    struct err e = ERR_INIT;
    int worst;

    (void)state;
    assert_int_equal(clip_write(in_dir("a.y4m"), &opt, FRAMES, &e), ST_OK);
    worst = clip_compare(in_dir("a.y4m"), W, H, FRAMES);
    assert_in_range(worst, 0, TOL_YUV444_BYTE);
}

static void y4m_reads_halved_chroma(void **state)
{
    static const char text[] = "YUV4MPEG2 W3 H1 F30000:1001 C420jpeg Xwhat=ever\n"
                               "FRAME Ix\n\x51\x51\x29\x5a\xf0\xf0\x6e";
    struct media_reader *r;
    struct media_info info;
    struct err e = ERR_INIT;
    uint8_t rgb[9];
    bool got;
    FILE *f = fopen(in_dir("a.y4m"), "wb");

    (void)state;
    assert_non_null(f);
    fwrite(text, 1, sizeof(text) - 1, f);
    fclose(f);
    assert_int_equal(media_read_open(in_dir("a.y4m"), &r, &e), ST_OK);
    media_read_info(r, &info);
    assert_int_equal(info.fps_num, 30000);
    assert_int_equal(media_read_frame(r, rgb, &got, &e), ST_OK);
    assert_true(got);
    assert_in_range(rgb[0], 253, 255);
    assert_in_range(rgb[3], 253, 255);
    assert_in_range(rgb[8], 253, 255);
    assert_in_range(rgb[6], 0, 2);
    assert_int_equal(media_read_frame(r, rgb, &got, &e), ST_OK);
    assert_false(got);
    media_read_close(r);
}

static void broken_y4m_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "YUV4MPEG2",
        "RIFF W2 H2\nFRAME\n",
        "YUV4MPEG2 W2\nFRAME\n",
        "YUV4MPEG2 W0 H2\nFRAME\n",
        "YUV4MPEG2 W-2 H2\nFRAME\n",
        "YUV4MPEG2 W99999999999999999999 H2\nFRAME\n",
        "YUV4MPEG2 W16384 H16384 C444\nFRAME\n",
        "YUV4MPEG2 W2 H2 F25\nFRAME\nxxxxxx",
        "YUV4MPEG2 W2 H2 C444p10\nFRAME\nxxxxxx",
    };
    struct media_reader *r;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        FILE *f = fopen(in_dir("a.y4m"), "wb");

        assert_non_null(f);
        fputs(texts[i], f);
        fclose(f);
        e = (struct err)ERR_INIT;
        assert_int_equal(media_read_open(in_dir("a.y4m"), &r, &e), ST_INPUT);
        assert_non_null(strstr(e.text, "a.y4m"));
    }
    assert_int_equal(media_read_open(in_dir("none.y4m"), &r, &e), ST_INPUT);
    assert_int_equal(mkdir(in_dir("d.y4m"), 0777), 0);
    assert_int_equal(media_read_open(in_dir("d.y4m"), &r, &e), ST_INPUT);
}

static void cut_y4m_names_the_frame(void **state)
{
    struct media_options opt = options(W, H);
    struct media_reader *r;
    struct err e = ERR_INIT;
    uint8_t rgb[3 * W * H];
    bool got;

    (void)state;
    assert_int_equal(clip_write(in_dir("a.y4m"), &opt, 2, &e), ST_OK);
    assert_int_equal(truncate(in_dir("a.y4m"), 3 * W * H + 500), 0);
    assert_int_equal(media_read_open(in_dir("a.y4m"), &r, &e), ST_OK);
    assert_int_equal(media_read_frame(r, rgb, &got, &e), ST_OK);
    assert_int_equal(media_read_frame(r, rgb, &got, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "frame 1"));
    media_read_close(r);
}

static void existing_outputs_are_refused(void **state)
{
    struct media_options opt = options(W, H);
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(clip_write(in_dir("a.y4m"), &opt, 2, &e), ST_OK);
    assert_int_equal(media_check(in_dir("a.y4m"), &opt, &e), ST_USAGE);
    assert_non_null(strstr(e.text, "--force"));
    assert_int_equal(clip_write(in_dir("a.y4m"), &opt, 3, &e), ST_USAGE);
    assert_in_range(clip_compare(in_dir("a.y4m"), W, H, 2), 0, TOL_YUV444_BYTE);
    opt.force = true;
    assert_int_equal(clip_write(in_dir("a.y4m"), &opt, 3, &e), ST_OK);
    assert_in_range(clip_compare(in_dir("a.y4m"), W, H, 3), 0, TOL_YUV444_BYTE);
    assert_int_equal(mkdir(in_dir("b.y4m"), 0777), 0);
    assert_int_not_equal(clip_write(in_dir("b.y4m/"), &opt, 1, &e), ST_INPUT);
    assert_int_equal(entries_count(dir), 2);
}

static void a_file_that_appears_meanwhile_is_kept(void **state)
{
    struct media_options opt = options(W, H);
    struct media_writer *m;
    struct err e = ERR_INIT;
    uint8_t rgb[3 * W * H];
    FILE *f;

    (void)state;
    picture(rgb, W, H, 0);
    assert_int_equal(media_open(in_dir("a.y4m"), &opt, &m, &e), ST_OK);
    assert_int_equal(media_frame(m, rgb, &e), ST_OK);
    f = fopen(in_dir("a.y4m"), "wb");
    assert_non_null(f);
    fputs("mine", f);
    fclose(f);
    assert_int_not_equal(media_close(m, &e), ST_OK);
    assert_non_null(strstr(e.text, "a.y4m"));
    assert_int_equal(entries_count(dir), 1);
}

static void abort_leaves_nothing(void **state)
{
    static const char *const names[] = {"a.y4m", "a.mp4", "frames"};
    struct media_options opt = options(W, H);
    struct media_writer *m;
    struct err e = ERR_INIT;
    uint8_t rgb[3 * W * H];

    (void)state;
    picture(rgb, W, H, 0);
    for (int i = 0; i < 3; i++) {
        if (media_open(in_dir(names[i]), &opt, &m, &e) == ST_UNBUILT)
            continue;
        for (int t = 0; t < 3; t++)
            assert_int_equal(media_frame(m, rgb, &e), ST_OK);
        assert_true(entries_count(dir) <= 1); /* none where files may be nameless */
        media_abort(m);
        assert_int_equal(entries_count(dir), 0);
    }
    media_abort(NULL);
}

static void bad_places_are_input_errors(void **state)
{
    struct media_options opt = options(W, H);
    struct err e = ERR_INIT;
    FILE *f = fopen(in_dir("file"), "wb");

    (void)state;
    assert_non_null(f);
    fclose(f);
    assert_int_equal(media_check(in_dir("none/a.y4m"), &opt, &e), ST_USAGE);
    assert_int_equal(clip_write(in_dir("none/a.y4m"), &opt, 1, &e), ST_USAGE);
    assert_null(strchr(e.text, '\n'));
    assert_non_null(strstr(e.text, "none/a.y4m"));
    assert_int_equal(clip_write(in_dir("file/a.y4m"), &opt, 1, &e), ST_USAGE);
    assert_int_equal(clip_write("/proc/a.y4m", &opt, 1, &e), ST_USAGE);
    assert_int_not_equal(media_check(in_dir("file/"), &opt, &e), ST_OK);
    opt.width = 0;
    assert_int_equal(media_check(in_dir("a.y4m"), &opt, &e), ST_USAGE);
    opt = options(W, H);
    opt.crf = 52;
    assert_int_equal(media_check(in_dir("a.y4m"), &opt, &e), ST_USAGE);
}

/* The longest name that a file system takes leaves no room for more. */
static void long_names_are_fine(void **state)
{
    struct media_options opt = options(W, H);
    struct err e = ERR_INIT;
    char name[256];

    (void)state;
    memset(name, 'x', sizeof(name));
    memcpy(name + 251, ".y4m", 5);
    assert_int_equal(clip_write(in_dir(name), &opt, 1, &e), ST_OK);
    assert_int_equal(entries_count(dir), 1);
}

/* A file size limit stands in for a full disk: the same code path, no root needed. */
static void full_disk_is_a_resource_error(void **state)
{
    static const char *const names[] = {"a.y4m", "a.mp4", "frames"};
    struct media_options opt = options(300, 200);
    struct rlimit old, small;
    struct err e = ERR_INIT;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){500, old.rlim_max};
    for (int i = 0; i < 3; i++) {
        enum status st;

        e = (struct err)ERR_INIT;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        st = clip_write(in_dir(names[i]), &opt, 3, &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        if (st == ST_UNBUILT)
            continue;
        assert_int_equal(st, ST_RESOURCE);
        assert_non_null(strstr(e.text, names[i]));
        assert_int_equal(entries_count(dir), 0);
    }
    signal(SIGXFSZ, SIG_DFL);
}

static bool ffmpeg_built(void)
{
    struct media_options opt = options(W, H);
    struct err e = ERR_INIT;

    return media_check(in_dir("probe.mp4"), &opt, &e) != ST_UNBUILT;
}

static void tags_compare(const char *path)
{
    struct media_reader *r;
    struct err e = ERR_INIT;

    assert_int_equal(media_read_open(path, &r, &e), ST_OK);
    for (int i = 0; i < 3; i++) {
        const char *value = media_read_tag(r, TAGS[i].key);

        assert_non_null(value);
        assert_string_equal(value, TAGS[i].value);
    }
    media_read_close(r);
}

static void mp4_comes_back(void **state)
{
    static const int sizes[][2] = {{64, 48}, {37, 22}, {1, 1}, {130, 95}};
    struct media_reader *r;
    struct media_info info;
    struct err e = ERR_INIT;

    (void)state;
    if (!ffmpeg_built())
        skip();
    for (int i = 0; i < 4; i++) {
        struct media_options opt = options(sizes[i][0], sizes[i][1]);

        opt.force = true;
        opt.fps_num = 16;
        assert_int_equal(clip_write(in_dir("a.mp4"), &opt, FRAMES, &e), ST_OK);
        assert_int_equal(media_read_open(in_dir("a.mp4"), &r, &e), ST_OK);
        media_read_info(r, &info);
        assert_int_equal(info.width, (sizes[i][0] + 1) / 2 * 2);
        assert_int_equal(info.height, (sizes[i][1] + 1) / 2 * 2);
        assert_int_equal(info.fps_num, 16 * info.fps_den);
        media_read_close(r);
        assert_in_range(clip_compare(in_dir("a.mp4"), sizes[i][0], sizes[i][1], FRAMES),
                        0, TOL_MP4_BYTE);
        tags_compare(in_dir("a.mp4"));
    }
    assert_int_equal(entries_count(dir), 1);
}

static void frames_come_back(void **state)
{
    struct media_options opt = options(W, H);
    struct err e = ERR_INIT;
    uint8_t want[3 * W * H], got[3 * W * H];
    struct media_reader *r;
    bool more;

    (void)state;
    if (!ffmpeg_built())
        skip();
    assert_int_equal(clip_write(in_dir("out/"), &opt, 3, &e), ST_OK);
    assert_int_equal(entries_count(in_dir("out")), 3);
    picture(want, W, H, 2);
    assert_int_equal(media_read_open(in_dir("out/frame_000002.png"), &r, &e), ST_OK);
    assert_int_equal(media_read_frame(r, got, &more, &e), ST_OK);
    media_read_close(r);
    assert_true(more);
    assert_memory_equal(got, want, sizeof(got));
    assert_int_equal(entries_count(dir), 1);
}

/* FFmpeg's PNG reader does not hand out iTXt, so look for the bytes themselves. */
static void pngs_carry_the_tags(void **state)
{
    struct media_options opt = options(W, H);
    struct err e = ERR_INIT;
    uint8_t rgb[3 * W * H];
    static char file[1 << 16];
    size_t n;
    FILE *f;

    (void)state;
    if (!ffmpeg_built())
        skip();
    picture(rgb, W, H, 0);
    assert_int_equal(media_write_png(in_dir("a.png"), &opt, rgb, &e), ST_OK);
    assert_int_equal(media_write_png(in_dir("a.png"), &opt, rgb, &e), ST_USAGE);
    f = fopen(in_dir("a.png"), "rb");
    assert_non_null(f);
    n = fread(file, 1, sizeof(file), f);
    fclose(f);
    assert_memory_equal(file + 33 + 4, "iTXtprompt\0\0\0\0\0", 15);
    assert_memory_equal(file + 33 + 4 + 15, PROMPT, sizeof(PROMPT) - 1);
    assert_non_null(memmem(file, n, TAGS[2].value, strlen(TAGS[2].value)));
    assert_int_equal(clip_compare(in_dir("a.png"), W, H, 1), 0);
}

static void forced_folder_keeps_strangers(void **state)
{
    struct media_options opt = options(W, H);
    struct err e = ERR_INIT;
    FILE *f;

    (void)state;
    if (!ffmpeg_built())
        skip();
    assert_int_equal(mkdir(in_dir("out"), 0777), 0);
    assert_int_equal(clip_write(in_dir("out"), &opt, 5, &e), ST_OK);
    f = fopen(in_dir("out/notes.txt"), "wb");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(media_check(in_dir("out"), &opt, &e), ST_USAGE);
    assert_int_equal(clip_write(in_dir("out"), &opt, 2, &e), ST_USAGE);
    assert_int_equal(entries_count(in_dir("out")), 6);
    opt.force = true;
    assert_int_equal(clip_write(in_dir("out"), &opt, 2, &e), ST_OK);
    assert_int_equal(entries_count(in_dir("out")), 3);
    assert_int_equal(access(in_dir("out/notes.txt"), F_OK), 0);
    assert_int_equal(entries_count(dir), 1);
}

static void sheet_shows_first_and_last(void **state)
{
    enum { N = 7, CW = 8, CH = 6 };
    struct media_options opt = options(2 * CW, 2 * CH);
    struct err e = ERR_INIT;
    static uint8_t frames[N][2 * CH * 2 * CW * 3], got[CH * 2][CW * 2][3];
    struct media_reader *r;
    bool more;

    (void)state;
    if (!ffmpeg_built())
        skip();
    for (int i = 0; i < N; i++)
        memset(frames[i], 10 * (i + 1), sizeof(frames[i]));
    assert_int_equal(
        media_write_sheet(in_dir("s.png"), &opt, frames[0], N, 2, 2, 2, &e), ST_OK);
    assert_int_equal(media_read_open(in_dir("s.png"), &r, &e), ST_OK);
    assert_int_equal(media_read_frame(r, got[0][0], &more, &e), ST_OK);
    media_read_close(r);
    assert_int_equal(got[0][0][0], 10);
    assert_int_equal(got[0][CW][0], 30);
    assert_int_equal(got[CH][0][2], 50);
    assert_int_equal(got[2 * CH - 1][2 * CW - 1][1], 70);
    assert_int_equal(
        media_write_sheet(in_dir("t.png"), &opt, frames[0], N, 99999, 2, 1, &e),
        ST_USAGE);
}

/* From a file the sheet is that of the same frames in memory. */
static void sheet_of_a_video(void **state)
{
    enum { N = 8, SIDE = 16 };
    struct sheet_options sheet = SHEET_OPTIONS_DEFAULT;
    struct media_options opt = options(SIDE, SIDE);
    static uint8_t frames[N][SIDE * SIDE * 3], a[SIDE][3 * SIDE][3],
        b[SIDE][3 * SIDE][3];
    struct media_writer *m;
    struct media_reader *r;
    struct err e = ERR_INIT;
    bool more;

    (void)state;
    if (!ffmpeg_built())
        skip();
    assert_int_equal(media_open(in_dir("v.y4m"), &opt, &m, &e), ST_OK);
    for (int i = 0; i < N; i++) {
        memset(frames[i], 20 + 25 * i,
               sizeof(frames[i])); /* grey: the same both ways */
        assert_int_equal(media_frame(m, frames[i], &e), ST_OK);
    }
    assert_int_equal(media_close(m, &e), ST_OK);
    sheet.columns = 3;
    assert_int_equal(media_sheet_of(in_dir("v.y4m"), in_dir("v.png"), &sheet, &e),
                     ST_OK);
    assert_int_equal(
        media_write_sheet(in_dir("m.png"), &opt, frames[0], N, 3, 1, 1, &e), ST_OK);
    assert_int_equal(media_read_open(in_dir("v.png"), &r, &e), ST_OK);
    assert_int_equal(media_read_frame(r, a[0][0], &more, &e), ST_OK);
    media_read_close(r);
    assert_int_equal(media_read_open(in_dir("m.png"), &r, &e), ST_OK);
    assert_int_equal(media_read_frame(r, b[0][0], &more, &e), ST_OK);
    media_read_close(r);
    for (int i = 0; i < 3; i++) /* limited range rounds to a step of 255 / 219 */
        assert_true(abs(a[0][i * SIDE][0] - b[0][i * SIDE][0]) <= 1);
    assert_int_equal(b[0][2 * SIDE][0], 20 + 25 * (N - 1));
}

static void broken_videos_are_refused(void **state)
{
    struct media_reader *r;
    struct err e = ERR_INIT;
    FILE *f;

    (void)state;
    if (!ffmpeg_built())
        skip();
    f = fopen(in_dir("a.mp4"), "wb");
    assert_non_null(f);
    fputs("this is no video at all, only some text", f);
    fclose(f);
    assert_int_equal(media_read_open(in_dir("a.mp4"), &r, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "a.mp4"));
    assert_int_equal(media_read_open(in_dir("none.mp4"), &r, &e), ST_INPUT);
}

static size_t file_read(const char *path, uint8_t *data, size_t room)
{
    FILE *f = fopen(path, "rb");
    size_t n;

    assert_non_null(f);
    n = fread(data, 1, room, f);
    fclose(f);
    return n;
}

static void file_write(const char *path, const uint8_t *data, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

/* Read whatever can be read; only the absence of harm counts. */
static void file_suffer(const char *path)
{
    struct err e = ERR_INIT;
    struct media_reader *r;
    struct media_info info;
    uint8_t *rgb;
    bool more = true;

    if (media_read_open(path, &r, &e) != ST_OK) {
        assert_true(e.text[0] && !strchr(e.text, '\n'));
        return;
    }
    media_read_info(r, &info);
    rgb = malloc((size_t)3 * (size_t)info.width * (size_t)info.height);
    assert_non_null(rgb);
    for (int i = 0; more && i < 2 * FRAMES; i++) {
        if (media_read_frame(r, rgb, &more, &e) != ST_OK)
            break;
    }
    free(rgb);
    media_read_close(r);
}

static void damaged_files_do_no_harm(void **state)
{
    static const char *const names[] = {"a.y4m", "a.mp4", "a.png"};
    struct media_options opt = options(W, H);
    struct err e = ERR_INIT;
    static uint8_t data[1 << 16], bad[1 << 16];
    uint8_t rgb[3 * W * H];

    (void)state;
    picture(rgb, W, H, 0);
    for (int i = 0; i < 3; i++) {
        const char *path = in_dir(names[i]);
        size_t n;

        if (i > 0 && !ffmpeg_built())
            continue;
        if (i < 2)
            assert_int_equal(clip_write(path, &opt, 3, &e), ST_OK);
        else
            assert_int_equal(media_write_png(path, &opt, rgb, &e), ST_OK);
        n = file_read(path, data, sizeof(data));
        for (size_t k = 0; k < 60; k++) {
            memcpy(bad, data, n);
            bad[k * n / 60] ^= (uint8_t)(1 + 37 * k);
            file_write(path, bad, n);
            file_suffer(path);
            file_write(path, data, k * n / 60);
            file_suffer(path);
        }
    }
}

#define MEDIA_TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEDIA_TEST(names_say_what_is_made),
        MEDIA_TEST(grey_and_corners_are_exact),
        MEDIA_TEST(y4m_bytes_are_the_format),
        MEDIA_TEST(y4m_comes_back),
        MEDIA_TEST(y4m_reads_halved_chroma),
        MEDIA_TEST(broken_y4m_is_refused),
        MEDIA_TEST(cut_y4m_names_the_frame),
        MEDIA_TEST(existing_outputs_are_refused),
        MEDIA_TEST(a_file_that_appears_meanwhile_is_kept),
        MEDIA_TEST(abort_leaves_nothing),
        MEDIA_TEST(bad_places_are_input_errors),
        MEDIA_TEST(long_names_are_fine),
        MEDIA_TEST(full_disk_is_a_resource_error),
        MEDIA_TEST(mp4_comes_back),
        MEDIA_TEST(frames_come_back),
        MEDIA_TEST(pngs_carry_the_tags),
        MEDIA_TEST(forced_folder_keeps_strangers),
        MEDIA_TEST(sheet_shows_first_and_last),
        MEDIA_TEST(sheet_of_a_video),
        MEDIA_TEST(broken_videos_are_refused),
        MEDIA_TEST(damaged_files_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
