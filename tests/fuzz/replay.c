/* replay.c - runs one fuzz target over a corpus without a fuzzer
 *
 * usage: replay_NAME MUTATIONS FILE_OR_FOLDER...
 *
 * Every file is run as it is and with MUTATIONS simple changes (a byte flipped,
 * removed, doubled, the end cut off), which are the same in every run. Crashes and
 * aborts end the program; a clean end prints how many inputs ran.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"
#include "tests/scratch.h"

static uint64_t state = 88172645463325252ULL;
static long inputs;

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return below ? state % below : 0;
}

/* The input in memory of exactly its size, so that the sanitizer sees its end. */
static void run_exact(const char *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);

    if (!copy)
        exit(1);
    memcpy(copy, data, bytes);
    LLVMFuzzerTestOneInput(copy, bytes);
    free(copy);
    inputs++;
}

static void run_mutated(const char *data, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    size_t at = draw(bytes), n = bytes;

    if (!copy)
        exit(1);
    memcpy(copy, data, bytes);
    switch (draw(4)) {
    case 0:
        copy[at] = (char)(copy[at] ^ (1 << draw(8)));
        break;
    case 1:
        memmove(copy + at, copy + at + 1, bytes - at - 1);
        n = bytes - 1;
        break;
    case 2:
        memmove(copy + at + 1, copy + at, bytes - at);
        n = bytes + 1;
        break;
    default:
        n = at;
    }
    run_exact(copy, n);
    free(copy);
}

static void run_file(const char *path, long mutations)
{
    size_t bytes;
    char *data = scratch_read(path, &bytes);

    run_exact(data, bytes);
    for (long i = 0; bytes && i < mutations; i++)
        run_mutated(data, bytes);
    free(data);
}

static void run_folder(const char *path, long mutations)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);

    if (n < 0) {
        fprintf(stderr, "cannot open '%s'\n", path);
        exit(1);
    }
    for (int i = 0; i < n; i++) {
        char file[1024];
        struct stat st;

        snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
        if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
            run_file(file, mutations);
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    long mutations = argc > 1 ? strtol(argv[1], NULL, 10) : 0;

    for (int i = 2; i < argc; i++) {
        struct stat st;

        if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
            run_folder(argv[i], mutations);
        else
            run_file(argv[i], mutations);
    }
    printf("%ld inputs\n", inputs);
    return inputs > 0 ? 0 : 1;
}
