/* fuzz_index.c - shard indices beside two small shards
 *
 * The folder holds a.safetensors (tensor "x") and b.safetensors ("y", "z"); above it
 * lies c.safetensors, which no index may reach. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/weights/safetensors.h"
#include "tests/fuzz/fuzz.h"
#include "tests/scratch.h"

static struct scratch scratch;
static struct folder dir;

static void cleanup(void)
{
    folder_close(&dir);
    scratch_remove(&scratch);
}

static void prepare(void)
{
    static const int64_t dims[] = {2};
    static const char bytes[8] = "abcdefg";
    const struct safetensors_item x = {"x", DT_F32, 1, dims, bytes};
    const struct safetensors_item yz[] = {{"y", DT_U8, 1, dims, bytes},
                                          {"z", DT_U8, 1, dims, bytes}};

    scratch_create(&scratch);
    atexit(cleanup);
    scratch_text(&scratch, "m/seen", "");
    if (safetensors_write(scratch_path(&scratch, "m/a.safetensors"), &x, 1, NULL,
                          NULL) ||
        safetensors_write(scratch_path(&scratch, "m/b.safetensors"), yz, 2, NULL,
                          NULL) ||
        safetensors_write(scratch_path(&scratch, "c.safetensors"), &x, 1, NULL, NULL) ||
        symlink("../c.safetensors", scratch_path(&scratch, "m/l.safetensors")) ||
        folder_open(scratch_path(&scratch, "m"), &dir, NULL))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct source *s = NULL;
    struct err e = ERR_INIT;

    if (!scratch.path[0])
        prepare();
    scratch_write(&scratch, "m/m.index.json", data, bytes);
    fuzz_check(source_open_at(&dir, "m.index.json", &s, &e), &e);
    for (int i = 0; s && i < source_files(s); i++) {
        const char *name = strrchr(source_file(s, i)->path, '/');

        if (strcmp(name, "/a.safetensors") != 0 && strcmp(name, "/b.safetensors") != 0)
            abort();
    }
    source_close(s);
    return 0;
}
