/* memory.c - reads /proc/meminfo and the limit of the control group */
#include "kernels/base/memory.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number behind `key` at the start of a line of a file; SIZE_MAX: none there. */
static size_t number_behind(const char *path, const char *key)
{
    FILE *f = fopen(path, "re");
    size_t found = SIZE_MAX;
    char line[256];

    if (!f)
        return SIZE_MAX;
    while (found == SIZE_MAX && fgets(line, sizeof(line), f)) {
        const char *digits = line + strlen(key);
        char *end;
        uintmax_t n;

        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        n = strtoumax(digits, &end, 10);
        if (end != digits && n < SIZE_MAX / 1024)
            found = (size_t)n;
    }
    fclose(f);
    return found;
}

size_t memory_available(void)
{
    size_t kib = number_behind("/proc/meminfo", "MemAvailable:");
    size_t system = kib == SIZE_MAX ? SIZE_MAX : kib * 1024;
    size_t group = number_behind("/sys/fs/cgroup/memory.max", "");

    return group < system ? group : system;
}
