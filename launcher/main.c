/* main.c - finds the subcommand, runs it, and says in one line what went wrong */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/h5/h5.h"
#include "launcher/command.h"
#include "launcher/interrupt.h"
#include "launcher/settings.h"

struct command {
    const char *name;
    enum status (*run)(int argc, const char *const *argv,
                       struct err *e); /* NULL: known,
                                         not built */
    const char *help;
};

static const struct command commands[] = {
    {"generate", command_generate, "make a video from a prompt"},
    {"plan", command_plan, "memory and work of a job, without running it"},
    {"inspect", command_inspect, "what a model folder or file holds"},
    {"resume", NULL, NULL},
    {"decode", NULL, NULL},
    {"convert", NULL, NULL},
    {"doctor", NULL, NULL},
    {"bench", NULL, NULL},
    {"compare", NULL, NULL},
    {"sbatch", NULL, NULL},
};
enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void usage_print(FILE *out)
{
    fprintf(out, "usage: framefleet COMMAND [flags]\n\ncommands\n");
    for (int i = 0; i < N_COMMANDS; i++) {
        if (commands[i].run)
            fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
    }
    fprintf(out, "\nframefleet COMMAND --help lists the flags\n");
}

static enum status command_run(int argc, const char *const *argv, struct err *e)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, argv[1]) != 0)
            continue;
        if (!commands[i].run)
            return err_set(e, ST_UNBUILT, "'%s' is not built yet", argv[1]);
        return commands[i].run(argc - 2, argv + 2, e);
    }
    return err_set(e, ST_USAGE,
                   "unknown command '%s': known are generate, plan and inspect",
                   argv[1]);
}

int main(int argc, char **argv)
{
    const char *const *args = (const char *const *)argv;
    struct err e = ERR_INIT;
    enum status st;
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    if (argc < 2 || strcmp(args[1], "--help") == 0 || strcmp(args[1], "help") == 0) {
        usage_print(argc < 2 ? stderr : stdout);
        return argc < 2 ? status_exit_code(ST_USAGE) : EXIT_SUCCESS;
    }
    if (strcmp(args[1], "--version") == 0) {
        printf("framefleet %s\n", FF_VERSION);
        return EXIT_SUCCESS;
    }
    st = command_run(argc, args, &e);
    if (st != ST_OK)
        fprintf(stderr, "framefleet: %s\n", e.text);
    if (st == ST_STOPPED)
        interrupt_die();
    return status_exit_code(st);
}
