/* cmd_sheet.c - framefleet sheet: frames of a video side by side in one picture
 *
 *     framefleet sheet video.mp4                        video.mp4.png
 *     framefleet sheet video.y4m sheet.png --columns 4 --rows 2 --shrink 2
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/media/media.h"
#include "kernels/base/buf.h"
#include "kernels/base/option.h"
#include "launcher/command.h"

struct sheet_settings {
    int64_t columns, rows, shrink;
    bool force, help;
};

#define AT(member) offsetof(struct sheet_settings, member)

static const struct option table[] = {
    {"columns", NULL, OPT_INT, AT(columns), 1, 1000, NULL, "N", "frames in a row, 5"},
    {"rows", NULL, OPT_INT, AT(rows), 1, 1000, NULL, "N", "rows, 1"},
    {"shrink", NULL, OPT_INT, AT(shrink), 1, 64, NULL, "N",
     "by which whole factor frames are smaller, 1"},
    {"force", NULL, OPT_FLAG, AT(force), 0, 0, NULL, NULL,
     "replace a picture that is there"},
    {"help", NULL, OPT_FLAG, AT(help), 0, 0, NULL, NULL, "print this"},
};
enum { N_OPTIONS = sizeof(table) / sizeof(table[0]), PATHS_MAX = 16 };

static void help_print(void)
{
    printf(
        "usage: framefleet sheet VIDEO [PICTURE.png] [flags]\n\n"
        "A contact sheet: frames spread evenly over a video (.y4m, .mp4), the first\n"
        "and the last among them. The picture is VIDEO.png unless it is named.\n\n");
    option_help(table, N_OPTIONS, stdout);
}

static enum status sheet_write(const struct sheet_settings *s, const char *video,
                               const char *picture, struct err *e)
{
    const struct sheet_options opt = {.columns = (int)s->columns,
                                      .rows = (int)s->rows,
                                      .shrink = (int)s->shrink,
                                      .force = s->force};
    struct buf name = BUF_INIT;
    enum status st;

    if (picture)
        buf_adds(&name, picture);
    else
        buf_addf(&name, "%s.png", video);
    if (name.failed)
        st = err_set(e, ST_RESOURCE, "out of memory: the name of a picture");
    else
        st = media_sheet_of(video, buf_text(&name), &opt, e);
    buf_release(&name);
    return st;
}

static enum status parse_and_write(struct option_set *set, int argc,
                                   const char *const *argv, struct err *e)
{
    const struct sheet_settings *s = set->settings;
    const char *path[PATHS_MAX];
    int n;

    TRY(option_parse_few(set, argc, argv, PATHS_MAX, path, &n, e));
    if (s->help) {
        help_print();
        return ST_OK;
    }
    if (n < 1 || n > 2)
        return err_set(e, ST_USAGE,
                       "say what to show: framefleet sheet VIDEO [PICTURE.png]");
    return sheet_write(s, path[0], n == 2 ? path[1] : NULL, e);
}

enum status command_sheet(struct world *w, int argc, const char *const *argv,
                          struct err *e)
{
    struct sheet_settings settings = {.columns = 5, .rows = 1, .shrink = 1};
    struct option_set set;
    enum status st;

    if (world_facts(w)->rank > 0)
        return ST_OK;
    TRY(option_set_init(&set, table, N_OPTIONS, &settings, e));
    st = parse_and_write(&set, argc, argv, e);
    option_set_release(&set);
    return st;
}
