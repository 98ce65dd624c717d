/* command.h - the subcommands
 *
 * Each takes the arguments behind its name and returns a status; main turns that into
 * one line on stderr and an exit code.
 */
#ifndef LAUNCHER_COMMAND_H
#define LAUNCHER_COMMAND_H

#include "kernels/base/err.h"

enum status command_generate(int argc, const char *const *argv, struct err *e);
enum status command_plan(int argc, const char *const *argv, struct err *e);
enum status command_inspect(int argc, const char *const *argv, struct err *e);

#endif
