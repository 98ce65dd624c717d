/* world_main.c - demo_world: captions, clips and judgements of the demonstration world
 *
 *     demo_world captions SEED FIRST COUNT      one caption a line
 *     demo_world draw SEED INDEX FRAMES OUT     a clip, as .y4m
 *     demo_world judge VIDEO CAPTION [FROM]     what is right, from frame FROM on
 *     demo_world judge_all LIST [FROM [TO]]     the same of lines "VIDEO<tab>CAPTION",
 * of frames before TO demo_world self SEED COUNT FRAMES         the judge of clips that
 * are right
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/media/media.h"
#include "tests/demo-model/caption.h"
#include "tests/demo-model/judge.h"

enum { FRAME_BYTES = 3 * WORLD_SIDE * WORLD_SIDE, FRAMES_MAX = 1024 };

static void die(const char *what)
{
    fprintf(stderr, "demo_world: %s\n", what);
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(text, &end, 10);
    if (errno || *end || end == text)
        die("numbers are whole and not negative");
    return v;
}

static uint8_t *frames_new(int n)
{
    uint8_t *p = calloc((size_t)n, FRAME_BYTES);

    if (!p)
        die("no memory");
    return p;
}

static int captions(char **args)
{
    uint64_t seed = number(args[0]), first = number(args[1]), n = number(args[2]);

    for (uint64_t i = first; i < first + n; i++) {
        struct world_scene s;
        char text[CAPTION_BYTES];

        world_scene(seed, i, &s);
        caption_write(&s, i, text);
        puts(text);
    }
    return 0;
}

static int draw(char **args)
{
    struct media_options opt = MEDIA_OPTIONS_DEFAULT;
    uint64_t n = number(args[2]);
    struct media_writer *m = NULL;
    struct err e = ERR_INIT;
    struct world_scene s;
    uint8_t *rgb;
    enum status st;

    if (n < 1 || n > FRAMES_MAX)
        die("frames go from 1 to 1024");
    rgb = frames_new((int)n);
    world_scene(number(args[0]), number(args[1]), &s);
    world_draw(&s, (int)n, rgb);
    opt.width = opt.height = WORLD_SIDE;
    opt.fps_num = WORLD_FPS;
    opt.force = true;
    st = media_open(args[3], &opt, &m, &e);
    for (uint64_t t = 0; st == ST_OK && t < n; t++)
        st = media_frame(m, rgb + t * FRAME_BYTES, &e);
    if (st == ST_OK)
        st = media_close(m, &e);
    free(rgb);
    if (st != ST_OK)
        fprintf(stderr, "demo_world: %s\n", e.text);
    return st;
}

static int video_read(const char *path, uint8_t *rgb, int *n)
{
    struct media_reader *r;
    struct media_info info;
    struct err e = ERR_INIT;
    bool got = true;
    enum status st = media_read_open(path, &r, &e);

    *n = 0;
    if (st == ST_OK) {
        media_read_info(r, &info);
        if (info.width != WORLD_SIDE || info.height != WORLD_SIDE)
            st = err_set(&e, ST_INPUT, "'%s' is %d x %d, not 128 x 128", path,
                         info.width, info.height);
        while (st == ST_OK && got && *n < FRAMES_MAX) {
            st = media_read_frame(r, rgb + (size_t)*n * FRAME_BYTES, &got, &e);
            *n += got;
        }
        media_read_close(r);
    }
    if (st != ST_OK)
        fprintf(stderr, "demo_world: %s\n", e.text);
    return st;
}

static void verdict_print(struct verdict v, const struct world_scene *seen)
{
    printf("background %d colour %d form %d size %d motion %d speed %d; saw ",
           v.background, v.colour, v.form, v.size, v.motion, v.speed);
    for (int i = 0; i < seen->n_shapes; i++)
        printf("a %s %s (%s), ", caption_colour(seen->shape[i].colour),
               caption_form(seen->shape[i].form),
               caption_motion(seen->shape[i].motion));
    printf("%s background\n", caption_colour(seen->background));
}

/* How many clips were judged, and of how many each part was right. */
struct score {
    int clips, background, colour, form, size, motion, speed;
};

static void score_add(struct score *s, struct verdict v)
{
    s->clips++;
    s->background += v.background;
    s->colour += v.colour;
    s->form += v.form;
    s->size += v.size;
    s->motion += v.motion;
    s->speed += v.speed;
}

static void score_print(const struct score *s)
{
    double part = 100.0 / s->clips;

    printf("right %% of %d clips: background %.2f colour %.2f form %.2f size %.2f "
           "motion %.2f speed %.2f\n",
           s->clips, part * s->background, part * s->colour, part * s->form,
           part * s->size, part * s->motion, part * s->speed);
}

/* Judge frames `from` to `to` - 1 of a clip, or to its end, and say what is seen. */
static int clip_judge(const char *path, const char *caption, uint64_t from, uint64_t to,
                      struct score *score)
{
    struct world_scene told, seen;
    uint8_t *rgb;
    int n, st;

    if (!caption_read(caption, &told))
        die("that is no caption of this world");
    rgb = frames_new(FRAMES_MAX);
    st = video_read(path, rgb, &n);
    if (st == 0 && (uint64_t)n > to)
        n = (int)to;
    if (st == 0 && from + 2 > (uint64_t)n)
        die("fewer than two frames to judge");
    if (st == 0 && judge_see(rgb + from * FRAME_BYTES, n - (int)from, &seen)) {
        struct verdict v = judge_compare(&told, &seen);

        score_add(score, v);
        verdict_print(v, &seen);
    }
    free(rgb);
    return st;
}

static int judge(char **args)
{
    struct score score = {0};

    return clip_judge(args[0], args[1], args[2] ? number(args[2]) : 0, FRAMES_MAX,
                      &score);
}

static int judge_all(char **args)
{
    uint64_t from = args[1] ? number(args[1]) : 0;
    uint64_t to = args[1] && args[2] ? number(args[2]) : FRAMES_MAX;
    FILE *f = fopen(args[0], "re");
    struct score score = {0};
    char *line = NULL;
    size_t room = 0;
    int st = 0;

    if (!f)
        die("cannot open the list");
    while (st == 0 && getline(&line, &room, f) > 0) {
        char *tab = strchr(line, '\t');

        if (!tab)
            die("a line of the list lacks a tab");
        *tab = '\0';
        line[strcspn(line, "\n")] = '\0';
        tab[1 + strcspn(tab + 1, "\n")] = '\0';
        printf("%s: %s: ", line, tab + 1);
        st = clip_judge(line, tab + 1, from, to, &score);
    }
    free(line);
    fclose(f);
    if (st == 0 && score.clips > 0)
        score_print(&score);
    return st;
}

static int self(char **args)
{
    uint64_t seed = number(args[0]), count = number(args[1]), n = number(args[2]);
    struct score score = {0};
    uint8_t *rgb;

    if (n < 2 || n > FRAMES_MAX || count < 1)
        die("frames go from 2 to 1024, clips from 1");
    rgb = frames_new((int)n);
    for (uint64_t i = 0; i < count; i++) {
        struct world_scene s, told, seen;
        char text[CAPTION_BYTES];

        world_scene(seed, i, &s);
        caption_write(&s, i, text);
        world_draw(&s, (int)n, rgb);
        if (!caption_read(text, &told) || !judge_see(rgb, (int)n, &seen))
            die(text);
        score_add(&score, judge_compare(&told, &seen));
    }
    free(rgb);
    score_print(&score);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int least, most;
        int (*run)(char **args);
    } table[] = {{"captions", 3, 3, captions},
                 {"draw", 4, 4, draw},
                 {"judge", 2, 3, judge},
                 {"judge_all", 1, 3, judge_all},
                 {"self", 3, 3, self}};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]) && argc > 1; i++)
        if (strcmp(argv[1], table[i].name) == 0 && argc - 2 >= table[i].least &&
            argc - 2 <= table[i].most)
            return table[i].run(argv + 2);
    die("usage: captions SEED FIRST COUNT | draw SEED INDEX FRAMES OUT | "
        "judge VIDEO CAPTION [FROM] | judge_all LIST [FROM [TO]] | "
        "self SEED COUNT FRAMES");
}
