/* caption.c - writing and reading captions
 *
 *     "a small red circle drifting slowly to the left and a large blue star that stays
 *      still, on a black background"
 *
 * Reading goes word by word: a size and a colour belong to the form that follows them,
 * phrases of motion and words of speed to the form before them, a background's colours
 * are not those of shapes.
 */
#include "tests/demo-model/caption.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernels/base/rng.h"

enum { PHRASES = 6 };

struct word {
    int value;
    const char *phrase[PHRASES]; /* the first one is the name */
};

static const struct word forms[] = {
    {FORM_CIRCLE, {"circle", "disc", "ball"}},
    {FORM_SQUARE, {"square", "box"}},
    {FORM_TRIANGLE, {"triangle"}},
    {FORM_STAR, {"star"}},
    {-1, {NULL}},
};

static const struct word colours[] = {
    {RED, {"red"}},
    {ORANGE, {"orange"}},
    {YELLOW, {"yellow"}},
    {GREEN, {"green"}},
    {BLUE, {"blue"}},
    {PURPLE, {"purple", "violet"}},
    {PINK, {"pink"}},
    {WHITE, {"white"}},
    {BLACK, {"black"}},
    {GRAY, {"gray", "grey"}},
    {NAVY, {"navy", "dark blue"}},
    {BROWN, {"brown"}},
    {TEAL, {"teal"}},
    {BEIGE, {"beige", "sand coloured"}},
    {-1, {NULL}},
};

static const struct word sizes[] = {
    {SIZE_SMALL, {"small", "little", "tiny"}},
    {SIZE_MEDIUM, {"medium", "medium-sized", "middle-sized"}},
    {SIZE_LARGE, {"large", "big"}},
    {-1, {NULL}},
};

static const struct word speeds[] = {
    {SPEED_SLOW, {"slowly", "gently"}},
    {SPEED_STEADY, {"steadily", "at a steady pace"}},
    {SPEED_FAST, {"quickly", "fast", "rapidly"}},
    {-1, {NULL}},
};

/* The longer of two phrases that begin alike comes first. */
static const struct word motions[] = {
    {MOVE_UP_LEFT, {"up and to the left", "toward the upper left", "to the top left"}},
    {MOVE_UP_RIGHT,
     {"up and to the right", "toward the upper right", "to the top right"}},
    {MOVE_DOWN_LEFT,
     {"down and to the left", "toward the lower left", "to the bottom left"}},
    {MOVE_DOWN_RIGHT,
     {"down and to the right", "toward the lower right", "to the bottom right"}},
    {MOVE_BOUNCE, {"bouncing", "hopping", "bouncing up and down"}},
    {MOVE_ORBIT, {"orbiting", "circling around", "going around in a circle"}},
    {MOVE_GROW, {"growing", "getting bigger", "expanding"}},
    {MOVE_SHRINK, {"shrinking", "getting smaller", "contracting"}},
    {MOVE_STILL, {"standing still", "staying still", "not moving", "at rest"}},
    {MOVE_LEFT, {"to the left", "left", "leftward"}},
    {MOVE_RIGHT, {"to the right", "right", "rightward"}},
    {MOVE_DOWN, {"down", "downward", "to the bottom"}},
    {MOVE_UP, {"up", "upward", "to the top"}},
    {-1, {NULL}},
};

static const char *const verbs[] = {"moving", "drifting", "sliding", "gliding",
                                    "travelling"};

/* ---- writing --------------------------------------------------------------------- */

struct pen {
    char *out;
    size_t used;
    uint64_t phrasing;
    uint32_t drawn;
};

static int pick(struct pen *p, int n)
{
    const uint32_t counter[4] = {p->drawn++, 0, 0, 0};
    const uint32_t key[2] = {(uint32_t)p->phrasing, (uint32_t)(p->phrasing >> 32)};
    uint32_t word[4];

    philox4x32(counter, key, word);
    return (int)(((uint64_t)word[0] * (uint64_t)n) >> 32);
}

__attribute__((format(printf, 2, 3))) static void say(struct pen *p, const char *format,
                                                      ...)
{
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(p->out + p->used, CAPTION_BYTES - p->used, format, ap);
    va_end(ap);
    p->used += (size_t)n;
}

static const struct word *word_of(const struct word *table, int value)
{
    while (table->value != value)
        table++;
    return table;
}

static const char *phrase(struct pen *p, const struct word *table, int value)
{
    const struct word *w = word_of(table, value);
    int n = 0;

    while (n < PHRASES && w->phrase[n])
        n++;
    return w->phrase[pick(p, n)];
}

static void motion_say(struct pen *p, const struct world_shape *s)
{
    const char *how = phrase(p, motions, s->motion);
    /* the middle speed mostly goes without saying */
    bool silent = s->motion == MOVE_STILL || (s->speed == SPEED_STEADY && pick(p, 4));
    const char *speed = silent ? "" : phrase(p, speeds, s->speed);
    const char *gap = silent ? "" : " ";
    const char *verb = verbs[pick(p, (int)(sizeof(verbs) / sizeof(verbs[0])))];

    if (s->motion >= MOVE_DIRECTIONS)
        say(p, "%s%s%s", how, gap, speed);
    else if (pick(p, 2))
        say(p, "%s%s%s %s", verb, gap, speed, how);
    else
        say(p, "%s %s%s%s", verb, how, gap, speed);
}

static void shape_say(struct pen *p, const struct world_shape *s)
{
    static const char *const joints[] = {" ", " that is ", ", "};

    say(p, "a %s %s %s%s", phrase(p, sizes, s->size), phrase(p, colours, s->colour),
        phrase(p, forms, s->form), joints[pick(p, 3)]);
    motion_say(p, s);
}

static void shapes_say(struct pen *p, const struct world_scene *s)
{
    static const char *const joints[] = {" and ", ", and ", ", with ", " next to "};

    for (int i = 0; i < s->n_shapes; i++) {
        if (i)
            say(p, "%s", joints[pick(p, 4)]);
        shape_say(p, &s->shape[i]);
    }
}

void caption_write(const struct world_scene *s, uint64_t phrasing,
                   char out[CAPTION_BYTES])
{
    static const struct {
        const char *head, *tail;
        bool first;
    } places[] = {
        {"on a ", " background, ", true},          {"a ", " background with ", true},
        {" on a ", " background", false},          {", ", " background", false},
        {" in front of a ", " background", false},
    };
    struct pen p = {.out = out, .phrasing = phrasing};
    const char *colour = phrase(&p, colours, s->background);
    int k = pick(&p, 5);

    out[0] = '\0';
    if (!places[k].first)
        shapes_say(&p, s);
    say(&p, "%s%s%s", places[k].head, colour, places[k].tail);
    if (places[k].first)
        shapes_say(&p, s);
    if (pick(&p, 2))
        say(&p, ".");
    if (pick(&p, 2))
        out[0] = (char)toupper((unsigned char)out[0]);
}

/* ---- reading --------------------------------------------------------------------- */

/* How many bytes of `text` the longest phrase of the table that stands there takes. */
static size_t match(const struct word *table, const char *text, int *value)
{
    size_t best = 0;

    for (; table->value >= 0; table++) {
        for (int i = 0; i < PHRASES && table->phrase[i]; i++) {
            size_t n = strlen(table->phrase[i]);

            if (n > best && strncmp(text, table->phrase[i], n) == 0 &&
                !isalpha((unsigned char)text[n])) {
                best = n;
                *value = table->value;
            }
        }
    }
    return best;
}

struct eye {
    struct world_scene *scene;
    int colour, size, background;
};

static bool form_seen(struct eye *eye, int form)
{
    struct world_scene *s = eye->scene;

    if (s->n_shapes == WORLD_SHAPES || eye->colour < 0 || eye->size < 0)
        return false;
    s->shape[s->n_shapes++] = (struct world_shape){.form = form,
                                                   .colour = eye->colour,
                                                   .size = eye->size,
                                                   .motion = MOVE_COUNT,
                                                   .speed = SPEED_STEADY};
    eye->colour = eye->size = -1;
    return true;
}

/* One phrase at `text`, or one word that says nothing; its bytes, or 0 for a phrase in
 * a wrong place. */
static size_t glance(struct eye *eye, const char *text)
{
    struct world_shape *last = eye->scene->n_shapes
                                   ? &eye->scene->shape[eye->scene->n_shapes - 1]
                                   : NULL;
    int value = 0;
    size_t n;

    if ((n = match(motions, text, &value)) > 0) {
        if (!last || last->motion != MOVE_COUNT)
            return 0;
        last->motion = value;
    } else if ((n = match(speeds, text, &value)) > 0) {
        if (!last)
            return 0;
        last->speed = value;
    } else if ((n = match(sizes, text, &value)) > 0) {
        eye->size = value;
    } else if ((n = match(colours, text, &value)) > 0) {
        *(value < WORLD_PAINTS ? &eye->colour : &eye->background) = value;
    } else if ((n = match(forms, text, &value)) > 0) {
        if (!form_seen(eye, value))
            return 0;
    } else {
        n = strcspn(text, " ");
    }
    return n;
}

bool caption_read(const char *text, struct world_scene *out)
{
    struct eye eye = {out, -1, -1, -1};
    char lower[CAPTION_BYTES];
    size_t n = strlen(text);

    memset(out, 0, sizeof(*out));
    if (n >= sizeof(lower))
        return false;
    for (size_t i = 0; i <= n; i++)
        lower[i] = (char)tolower((unsigned char)text[i]);
    for (const char *p = lower; *p;) {
        size_t step = glance(&eye, p);

        if (step == 0)
            return false;
        p += step;
        p += strspn(p, " ,.");
    }
    out->background = eye.background;
    for (int i = 0; i < out->n_shapes; i++)
        if (out->shape[i].motion == MOVE_COUNT)
            return false;
    return out->n_shapes > 0 && eye.background >= 0;
}

const char *caption_form(enum world_form form)
{
    return word_of(forms, form)->phrase[0];
}

const char *caption_colour(enum world_colour colour)
{
    return word_of(colours, colour)->phrase[0];
}

const char *caption_motion(enum world_motion motion)
{
    return word_of(motions, motion)->phrase[0];
}
