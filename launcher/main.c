/* main.c - finds the subcommand, runs it, and says in one line what went wrong */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/h5/h5.h"
#include "kernels/base/buf.h"
#include "launcher/command.h"
#include "launcher/settings.h"

struct command {
    const char *name;
    /* NULL: known, not built */
    enum status (*run)(struct world *w, int argc, const char *const *argv,
                       struct err *e);
    const char *help;
};

static const struct command commands[] = {
    {"generate", command_generate, "make a video from a prompt"},
    {"resume", command_resume, "go on with a video from its last checkpoint"},
    {"decode", command_decode, "make the video of latents that are finished"},
    {"plan", command_plan, "memory and work of a job, without running it"},
    {"inspect", command_inspect, "what a model, a file or a checkpoint holds"},
    {"bench", command_bench, "how fast a model of a published size runs here"},
    {"compare", command_compare,
     "how far apart two latents, checkpoints or videos are"},
    {"sheet", command_sheet, "frames of a video side by side in one picture"},
    {"convert", NULL, NULL},
    {"doctor", NULL, NULL},
    {"sbatch", NULL, NULL},
};
enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void usage_print(void)
{
    printf("usage: framefleet COMMAND [flags]\n\ncommands\n");
    for (int i = 0; i < N_COMMANDS; i++) {
        if (commands[i].run)
            printf("  %-12s %s\n", commands[i].name, commands[i].help);
    }
    printf("\nframefleet COMMAND --help lists the flags\n");
}

static enum status command_unknown(const char *name, struct err *e)
{
    struct buf known = BUF_INIT;
    enum status st;

    for (int i = 0; i < N_COMMANDS; i++) {
        if (commands[i].run)
            buf_addf(&known, "%s%s", known.len ? ", " : "", commands[i].name);
    }
    st = err_set(e, ST_USAGE, "unknown command '%s': known are %s", name,
                 buf_text(&known));
    buf_release(&known);
    return st;
}

static enum status command_run(struct world *w, int argc, const char *const *argv,
                               struct err *e)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, argv[1]) != 0)
            continue;
        if (!commands[i].run)
            return err_set(e, ST_UNBUILT, "'%s' is not built yet", argv[1]);
        return commands[i].run(w, argc - 2, argv + 2, e);
    }
    return command_unknown(argv[1], e);
}

/* Every rank must have been given the same words; our own version counts as one. */
static enum status arguments_compare(struct world *w, int argc, const char *const *argv,
                                     struct err *e)
{
    struct buf words = BUF_INIT;
    enum status st = ST_OK;

    for (int i = 1; i < argc; i++)
        buf_add(&words, argv[i], strlen(argv[i]) + 1);
    buf_adds(&words, FF_VERSION);
    if (words.failed)
        st = err_set(e, ST_RESOURCE, "out of memory: arguments");
    if (st == ST_OK)
        st = world_same(w, "arguments or another version", words.data, words.len, e);
    buf_release(&words);
    return st;
}

static enum status launch(struct world *w, int argc, const char *const *argv,
                          struct err *e)
{
    bool speaks = world_facts(w)->rank == 0;

    TRY(arguments_compare(w, argc, argv, e));
    if (argc < 2)
        return err_set(e, ST_USAGE, "missing command: framefleet --help lists them");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        if (speaks)
            usage_print();
        return ST_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        if (speaks)
            printf("framefleet %s\n", FF_VERSION);
        return ST_OK;
    }
    return command_run(w, argc, argv, e);
}

/* An empty text: everything is said already. */
static void error_print(const struct err *e)
{
    if (e->text[0])
        fprintf(stderr, "framefleet: %s\n", e->text);
}

/* The end of all ranks: with one verdict, or by force when they cannot agree. */
static enum status world_end(struct world *w, enum status st, struct err *e)
{
    if (world_torn(w)) {
        err_prefix(e, "rank %d on %s", world_facts(w)->rank, world_facts(w)->host);
        error_print(e);
        world_abort(w, status_exit_code(st));
    }
    st = world_agree(w, st, e);
    if (st != ST_OK && world_facts(w)->rank == 0)
        error_print(e);
    fflush(NULL);
    world_close(w);
    return st;
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    struct world *w;
    enum status st;
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    st = world_open(&w, &e);
    if (st != ST_OK) {
        error_print(&e);
        return status_exit_code(st);
    }
    st = launch(w, argc, (const char *const *)argv, &e);
    if (st == ST_OK && (fflush(stdout) != 0 || ferror(stdout)))
        st = err_set(&e, ST_RESOURCE, "cannot write to standard output: %s",
                     strerror(errno));
    return status_exit_code(world_end(w, st, &e));
}
