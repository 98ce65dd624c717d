/* judge.c - from pixels to shapes, from shapes to motions */
#include "tests/demo-model/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

enum {
    PIXELS = WORLD_SIDE * WORLD_SIDE,
    PARTS_MAX = 64,
    AREA_MIN = 24,
    HARMONIC_LO = 3,
    HARMONICS = 3
};

/* One colour's shape in one frame. */
struct sight {
    int frame;
    double area, x, y;
    double harmonic[HARMONICS];
};

struct track {
    int n;
    double area; /* of all frames together */
    struct sight *sight;
};

struct eyes {
    int n; /* frames */
    enum world_colour background;
    struct track track[WORLD_PAINTS];
    uint8_t class[PIXELS];
    int16_t label[PIXELS]; /* 0: background */
    int stack[PIXELS];
};

/* ---- colours --------------------------------------------------------------------- */

static int distance(const uint8_t *a, const uint8_t *b)
{
    int d = 0;

    for (int c = 0; c < 3; c++)
        d += (a[c] - b[c]) * (a[c] - b[c]);
    return d;
}

static int nearest(const uint8_t *p)
{
    int best = 0;

    for (int k = 1; k < COLOUR_COUNT; k++)
        if (distance(p, world_rgb[k]) < distance(p, world_rgb[best]))
            best = k;
    return best;
}

static enum world_colour background_of(const uint8_t *rgb, int n)
{
    long count[COLOUR_COUNT] = {0};
    int best = WORLD_PAINTS;

    for (long i = 0; i < (long)n * PIXELS; i++)
        count[nearest(rgb + 3 * i)]++;
    for (int k = WORLD_PAINTS; k < COLOUR_COUNT; k++)
        if (count[k] > count[best])
            best = k;
    return best;
}

/* A shape's colour where the pixel is nearer to one than to the background; mixtures on
 * edges that look like another background's colour stay background. */
static void classify(struct eyes *eyes, const uint8_t *rgb)
{
    for (int i = 0; i < PIXELS; i++) {
        int k = nearest(rgb + 3 * (long)i);

        eyes->class[i] = (uint8_t)(k < WORLD_PAINTS ? k : (int)eyes->background);
    }
}

/* ---- parts ----------------------------------------------------------------------- */

/* Label what is connected to pixel `start` through corners and sides. */
static int flood(struct eyes *eyes, int start, int16_t label)
{
    int top = 0, area = 0;

    eyes->stack[top++] = start;
    eyes->label[start] = label;
    while (top > 0) {
        int at = eyes->stack[--top], row = at / WORLD_SIDE, col = at % WORLD_SIDE;

        area++;
        for (int k = 0; k < 9; k++) {
            int r = row + k / 3 - 1, c = col + k % 3 - 1, next = r * WORLD_SIDE + c;

            if (r < 0 || c < 0 || r >= WORLD_SIDE || c >= WORLD_SIDE ||
                eyes->label[next] || eyes->class[next] >= WORLD_PAINTS)
                continue;
            eyes->label[next] = label;
            eyes->stack[top++] = next;
        }
    }
    return area;
}

static int colour_of_part(const struct eyes *eyes, int16_t label)
{
    int count[WORLD_PAINTS] = {0}, best = 0;

    for (int i = 0; i < PIXELS; i++)
        if (eyes->label[i] == label)
            count[eyes->class[i]]++;
    for (int k = 1; k < WORLD_PAINTS; k++)
        if (count[k] > count[best])
            best = k;
    return best;
}

/* How much of the pixel the colour covers: its place between the background's colour
 * and the shape's. */
static double coverage(const uint8_t *p, const uint8_t *back, const uint8_t *paint)
{
    double dot = 0, length = 0;

    for (int c = 0; c < 3; c++) {
        dot += (p[c] - back[c]) * (paint[c] - back[c]);
        length += (paint[c] - back[c]) * (paint[c] - back[c]);
    }
    return fmin(1.0, fmax(0.0, dot / length));
}

/* Is the pixel of the part, or beside it and of no other? */
static bool belongs(const struct eyes *eyes, int at, int16_t label)
{
    int row = at / WORLD_SIDE, col = at % WORLD_SIDE;

    if (eyes->label[at])
        return eyes->label[at] == label;
    for (int k = 0; k < 9; k++) {
        int r = row + k / 3 - 1, c = col + k % 3 - 1;

        if (r >= 0 && c >= 0 && r < WORLD_SIDE && c < WORLD_SIDE &&
            eyes->label[r * WORLD_SIDE + c] == label)
            return true;
    }
    return false;
}

/* Weights of a part's pixels, 0 elsewhere. */
static void weights_of(const struct eyes *eyes, const uint8_t *rgb, int16_t label,
                       int colour, float *w)
{
    for (int i = 0; i < PIXELS; i++)
        w[i] = belongs(eyes, i, label)
                   ? (float)coverage(rgb + 3 * (long)i, world_rgb[eyes->background],
                                     world_rgb[colour])
                   : 0;
}

static void centroid(const float *w, struct sight *s)
{
    double x = 0, y = 0;

    s->area = 0;
    for (int i = 0; i < PIXELS; i++) {
        s->area += w[i];
        x += w[i] * (i % WORLD_SIDE + 0.5);
        y += w[i] * (i / WORLD_SIDE + 0.5);
    }
    s->x = x / s->area;
    s->y = y / s->area;
}

static double harmonic(const float *w, const struct sight *s, int m)
{
    double re = 0, im = 0, sum = 0;

    for (int i = 0; i < PIXELS; i++) {
        double x = i % WORLD_SIDE + 0.5 - s->x, y = i / WORLD_SIDE + 0.5 - s->y;
        double r, a;

        if (w[i] == 0)
            continue;
        r = w[i] * pow(hypot(x, y), m);
        a = m * atan2(y, x);
        re += r * cos(a);
        im += r * sin(a);
        sum += r;
    }
    return hypot(re, im) / sum;
}

static void part_see(struct eyes *eyes, const uint8_t *rgb, int frame, int16_t label)
{
    int colour = colour_of_part(eyes, label);
    struct track *t = &eyes->track[colour];
    struct sight s = {.frame = frame};
    float w[PIXELS];

    weights_of(eyes, rgb, label, colour, w);
    centroid(w, &s);
    if (s.area < AREA_MIN)
        return;
    for (int m = 0; m < HARMONICS; m++)
        s.harmonic[m] = harmonic(w, &s, HARMONIC_LO + m);
    /* of one colour the largest part counts */
    if (t->n > 0 && t->sight[t->n - 1].frame == frame) {
        if (t->sight[t->n - 1].area >= s.area)
            return;
        t->area -= t->sight[--t->n].area;
    }
    t->sight[t->n++] = s;
    t->area += s.area;
}

static void frame_see(struct eyes *eyes, const uint8_t *rgb, int frame)
{
    int16_t parts = 0;

    classify(eyes, rgb);
    memset(eyes->label, 0, sizeof(eyes->label));
    for (int i = 0; i < PIXELS && parts < PARTS_MAX; i++)
        if (!eyes->label[i] && eyes->class[i] < WORLD_PAINTS &&
            flood(eyes, i, (int16_t)(parts + 1)) >= AREA_MIN)
            part_see(eyes, rgb, frame, ++parts);
}

/* ---- tracks ---------------------------------------------------------------------- */

static enum world_form form_of(const struct track *t)
{
    static const enum world_form forms[HARMONICS] = {FORM_TRIANGLE, FORM_SQUARE,
                                                     FORM_STAR};
    double sum[HARMONICS] = {0};
    int best = 0;

    for (int i = 0; i < t->n; i++)
        for (int m = 0; m < HARMONICS; m++)
            sum[m] += t->sight[i].harmonic[m] * t->sight[i].area / t->area;
    for (int m = 1; m < HARMONICS; m++)
        if (sum[m] > sum[best])
            best = m;
    return sum[best] < 0.15 ? FORM_CIRCLE : forms[best];
}

/* A straight line through values over seconds: slope and what is left. */
struct line {
    double slope, rest; /* rest: root mean square */
    double lowest, highest;
};

static double value_of(const struct sight *s, int which)
{
    return which == 0 ? s->x : which == 1 ? s->y : 0.5 * log(s->area);
}

static struct line line_fit(const struct track *t, int which)
{
    struct line l = {.lowest = 1e9, .highest = -1e9};
    double st = 0, sv = 0, stt = 0, stv = 0, svv = 0, det, offset;

    for (int i = 0; i < t->n; i++) {
        double s = (double)t->sight[i].frame / WORLD_FPS;
        double v = value_of(&t->sight[i], which);

        st += s, sv += v, stt += s * s, stv += s * v, svv += v * v;
        l.lowest = fmin(l.lowest, v);
        l.highest = fmax(l.highest, v);
    }
    det = t->n * stt - st * st;
    if (det <= 0)
        return l;
    l.slope = (t->n * stv - st * sv) / det;
    offset = (sv - l.slope * st) / t->n;
    l.rest = sqrt(fmax(0, (svv - l.slope * stv - offset * sv) / t->n));
    return l;
}

struct path {
    struct line x, y, growth;
    double seconds, way; /* of the straight part */
    bool moves, bends;
};

static struct path path_of(const struct track *t)
{
    struct path p = {
        .x = line_fit(t, 0), .y = line_fit(t, 1), .growth = line_fit(t, 2)};
    double spread;

    p.seconds = (double)(t->sight[t->n - 1].frame - t->sight[0].frame) / WORLD_FPS;
    p.way = p.seconds * hypot(p.x.slope, p.y.slope);
    spread = hypot(p.x.highest - p.x.lowest, p.y.highest - p.y.lowest);
    p.moves = spread > 5.0 && spread > 3.0 * p.seconds;
    p.bends = hypot(p.x.rest, p.y.rest) > fmax(1.3, 0.04 * p.way);
    return p;
}

static enum world_motion motion_of(const struct path *p)
{
    if (!p->moves) {
        double grown = p->growth.slope * p->seconds;

        return grown > 0.09 ? MOVE_GROW : grown < -0.09 ? MOVE_SHRINK : MOVE_STILL;
    }
    if (p->bends)
        return p->x.highest - p->x.lowest < fmax(4, 0.12 * (p->y.highest - p->y.lowest))
                   ? MOVE_BOUNCE
                   : MOVE_ORBIT;
    return (int)(rint(atan2(p->y.slope, p->x.slope) / (PI / 4)) + 8) % 8;
}

/* The nearest of three rates, by their ratio. */
static int rate_between(double rate, double low, double middle, double high)
{
    return rate < sqrt(low * middle) ? 0 : rate < sqrt(middle * high) ? 1 : 2;
}

#define SPEED_NEAREST(rate, member, unit)                        \
    rate_between((rate) / (unit), world_pace[SPEED_SLOW].member, \
                 world_pace[SPEED_STEADY].member, world_pace[SPEED_FAST].member)

/* The size that the world gives such an area, at the start where it changes. */
static enum world_size size_of(const struct track *t, enum world_motion motion)
{
    bool changes = motion == MOVE_GROW || motion == MOVE_SHRINK;
    double area = changes ? t->sight[0].area : t->area / t->n;

    return rate_between(sqrt(area / PI), world_radius[SIZE_SMALL],
                        world_radius[SIZE_MEDIUM], world_radius[SIZE_LARGE]);
}

/* Length of the path a second, of a track whose jitter is smoothed away. */
static double path_rate(const struct track *t)
{
    enum { STEP = 4 };
    int last = (t->n - 1) / STEP * STEP;
    double way = 0;

    for (int i = STEP; i <= last; i += STEP)
        way += hypot(t->sight[i].x - t->sight[i - STEP].x,
                     t->sight[i].y - t->sight[i - STEP].y);
    return last ? way * WORLD_FPS / (t->sight[last].frame - t->sight[0].frame) : 0;
}

/* What is left of the heights when hops of this rate and phase are fitted to them. */
static double hops_rest(const struct track *t, double rate, double phase)
{
    double su = 0, sy = 0, suu = 0, suy = 0, syy = 0, det, slope;

    for (int i = 0; i < t->n; i++) {
        double y = t->sight[i].y;
        double u = fabs(sin(PI * rate * t->sight[i].frame / WORLD_FPS + phase));

        su += u, sy += y, suu += u * u, suy += u * y, syy += y * y;
    }
    det = t->n * suu - su * su;
    slope = det > 0 ? (t->n * suy - su * sy) / det : 0;
    return syy - slope * suy - (sy - slope * su) / t->n * sy;
}

static enum world_speed hops_speed(const struct track *t)
{
    enum { PHASES = 32 };
    enum world_speed best = SPEED_SLOW;
    double least = 1e30;

    for (int s = 0; s < SPEED_COUNT; s++) {
        for (int k = 0; k < PHASES; k++) {
            double rest = hops_rest(t, world_pace[s].hops, k * PI / PHASES);

            if (rest < least)
                least = rest, best = s;
        }
    }
    return best;
}

/* Growth a second in the first second, before anything reaches its largest size. */
static double growth_rate(const struct track *t)
{
    struct track first = *t;

    if (first.n > WORLD_FPS + 1)
        first.n = WORLD_FPS + 1;
    return fabs(line_fit(&first, 2).slope);
}

static enum world_speed speed_of(const struct track *t, enum world_motion motion,
                                 const struct path *p)
{
    switch (motion) {
    case MOVE_STILL:
        return SPEED_STEADY;
    case MOVE_GROW:
    case MOVE_SHRINK:
        return SPEED_NEAREST(growth_rate(t), growth, 1);
    case MOVE_ORBIT:
        return SPEED_NEAREST(path_rate(t), turns, 2 * PI * WORLD_ORBIT_RADIUS);
    case MOVE_BOUNCE:
        return hops_speed(t);
    default:
        return SPEED_NEAREST(p->way / p->seconds, pixels, 1);
    }
}

static void track_tell(const struct eyes *eyes, int colour, struct world_scene *seen)
{
    const struct track *t = &eyes->track[colour];
    struct path p = path_of(t);
    struct world_shape *s = &seen->shape[seen->n_shapes++];

    *s = (struct world_shape){.colour = colour, .form = form_of(t)};
    s->motion = motion_of(&p);
    s->size = size_of(t, s->motion);
    s->speed = speed_of(t, s->motion, &p);
}

/* The largest tracks first. */
static void tracks_tell(struct eyes *eyes, struct world_scene *seen)
{
    while (seen->n_shapes < WORLD_SHAPES) {
        int best = -1;

        for (int k = 0; k < WORLD_PAINTS; k++)
            if (eyes->track[k].n * 2 > eyes->n &&
                (best < 0 || eyes->track[k].area > eyes->track[best].area))
                best = k;
        if (best < 0)
            return;
        track_tell(eyes, best, seen);
        eyes->track[best].n = 0;
    }
}

int judge_see(const uint8_t *rgb, int n, struct world_scene *seen)
{
    struct eyes *eyes = calloc(1, sizeof(*eyes));
    struct sight *room = calloc((size_t)WORLD_PAINTS * (size_t)n, sizeof(*room));

    memset(seen, 0, sizeof(*seen));
    if (eyes && room) {
        eyes->n = n;
        for (int k = 0; k < WORLD_PAINTS; k++)
            eyes->track[k].sight = room + (long)k * n;
        seen->background = eyes->background = background_of(rgb, n);
        for (int t = 0; t < n; t++)
            frame_see(eyes, rgb + (long)t * 3 * PIXELS, t);
        tracks_tell(eyes, seen);
    }
    free(room);
    free(eyes);
    return eyes && room;
}

/* ---- the verdict ----------------------------------------------------------------- */

struct verdict judge_compare(const struct world_scene *told,
                             const struct world_scene *seen)
{
    struct verdict v = {.background = told->background == seen->background,
                        .colour = told->n_shapes == seen->n_shapes};

    v.form = v.size = v.motion = v.speed = true;
    for (int i = 0; i < told->n_shapes; i++) {
        const struct world_shape *a = &told->shape[i], *b = NULL;

        for (int k = 0; k < seen->n_shapes; k++)
            if (seen->shape[k].colour == a->colour)
                b = &seen->shape[k];
        v.colour &= b != NULL;
        v.form &= b && b->form == a->form;
        v.size &= b && b->size == a->size;
        v.motion &= b && b->motion == a->motion;
        v.speed &= b && b->speed == a->speed;
    }
    return v;
}
