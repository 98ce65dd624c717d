/* test_malformed.c - hostile files, made by tables, each refused in one line
 *
 * usage: test_malformed             judge every file (exit 0: all refused as promised)
 *        test_malformed --write DIR write them as seeds for the fuzz targets
 */
#include <stdio.h>
#include <string.h>

#include "tests/malformed/harness.h"

enum { CASES_MIN = 300 };

int main(int argc, char **argv)
{
    static void (*const families[])(void) = {cases_json,   cases_safetensors,
                                             cases_index,  cases_config,
                                             cases_pickle, cases_pth};
    const char *folder = argc == 3 && strcmp(argv[1], "--write") == 0 ? argv[2] : NULL;

    harness_open(folder);
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        families[i]();
    harness_close();
    printf("%d malformed files, %d not refused as promised\n", harness_cases(),
           harness_failures());
    return harness_failures() || harness_cases() < CASES_MIN;
}
