/* fuzz_y4m.c - videos as .y4m: frames that come out were in the file */
#include <stdlib.h>

#include "engine/media/media.h"
#include "tests/fuzz/fuzz.h"
#include "tests/scratch.h"

static struct scratch scratch;

static void cleanup(void)
{
    scratch_remove(&scratch);
}

static void frames_read(struct media_reader *r, size_t bytes)
{
    struct media_info info;
    struct err e = ERR_INIT;
    uint8_t *rgb;
    bool got = true;
    size_t sum = 0;

    media_read_info(r, &info);
    if (info.width < 1 || info.height < 1 || info.fps_num < 1 || info.fps_den < 1)
        abort();
    if ((int64_t)info.width * info.height > 1 << 20)
        return;
    rgb = malloc((size_t)info.width * (size_t)info.height * 3);
    while (rgb && got) {
        enum status st = media_read_frame(r, rgb, &got, &e);

        fuzz_check(st, &e);
        if (st != ST_OK)
            break;
        sum += got ? (size_t)info.width * (size_t)info.height : 0;
        if (sum > bytes) /* every pixel has a byte of brightness at least */
            abort();
    }
    free(rgb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct media_reader *r;
    struct err e = ERR_INIT;
    enum status st;

    if (!scratch.path[0]) {
        scratch_create(&scratch);
        atexit(cleanup);
    }
    scratch_write(&scratch, "input.y4m", data, bytes);
    st = media_read_open(scratch_path(&scratch, "input.y4m"), &r, &e);
    fuzz_check(st, &e);
    if (st != ST_OK)
        return 0;
    frames_read(r, bytes);
    media_read_close(r);
    return 0;
}
