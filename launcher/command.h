/* command.h - the subcommands
 *
 * Each takes the arguments behind its name and returns a status; main turns that into
 * one line on stderr and an exit code. Every rank of the world runs those that take
 * it; rank 0 alone runs the others, and alone prints and writes in all of them.
 */
#ifndef LAUNCHER_COMMAND_H
#define LAUNCHER_COMMAND_H

#include "dist/world.h"

enum status command_generate(struct world *w, int argc, const char *const *argv,
                             struct err *e);
enum status command_resume(struct world *w, int argc, const char *const *argv,
                           struct err *e);
enum status command_decode(struct world *w, int argc, const char *const *argv,
                           struct err *e);
enum status command_plan(struct world *w, int argc, const char *const *argv,
                         struct err *e);
enum status command_bench(struct world *w, int argc, const char *const *argv,
                          struct err *e);
enum status command_inspect(struct world *w, int argc, const char *const *argv,
                            struct err *e);
enum status command_compare(struct world *w, int argc, const char *const *argv,
                            struct err *e);
enum status command_sheet(struct world *w, int argc, const char *const *argv,
                          struct err *e);

#endif
