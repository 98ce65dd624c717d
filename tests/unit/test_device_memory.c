/* test_device_memory.c - what a device must hold is held against what is free on it
 *
 * The device is one of the host's memory: plans look at the backend's facts alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dist/wire.h"
#include "engine/h5/h5.h"
#include "engine/pipeline/inside.h"
#include "kernels/backend.h"
#include "tests/unit/golden_rig.h"

static struct golden_rig rig = {.backend = "cpu", .precision = PRECISION_FP32};

/* A device of so many bytes: what plans look at, on the memory of the host. */
static size_t device_left;

static size_t left_said(const void *self)
{
    (void)self;
    return device_left;
}

static void device_open(struct engine_options *o, size_t left,
                        struct backend *as_device, struct pipeline **out)
{
    struct err e = ERR_INIT;
    struct pipeline *p;

    assert_int_equal(pipeline_open(o, &p, &e), ST_OK);
    *as_device = *p->ops->backend;
    as_device->facts.space = MEM_DEVICE;
    as_device->mem_left = left_said;
    device_left = left;
    p->ops->backend = as_device;
    p->memory = ops_mem_left(p->ops);
    *out = p;
}

static void refused(struct pipeline *p, const struct job *job, const char *text)
{
    struct err e = ERR_INIT;

    assert_int_equal(pipeline_check_memory(p, job, &e), ST_RESOURCE);
    if (!strstr(e.text, text))
        fail_msg("'%s' is not in '%s'", text, e.text);
}

/* A rank's weights, activations and exchanges are held against what its device has
 * free, before anything is loaded; and the text encoder, which comes before them. */
static void devices_are_checked_first(void **state)
{
    struct engine_options o = {
        .backend = (char[]){"cpu"}, .threads = 2, .vae_chunk = 1};
    struct job job = golden_job();
    struct pipeline_rank_plan need, less;
    struct backend as_device;
    struct err e = ERR_INIT;
    struct pipeline *p;

    (void)state;
    job.num_frames = 33;
    job.output = (char *)(uintptr_t)scratch_path(&rig.dir, "never.y4m");
    assert_int_equal(world_open(&o.world, &e), ST_OK);
    o.model = (char *)(uintptr_t)scratch_path(&rig.dir, "forcing");
    device_open(&o, SIZE_MAX, &as_device, &p);
    assert_int_equal(pipeline_plan_rank(p, &job, 0, &need, &e), ST_OK);
    assert_int_equal(need.exchange_bytes, 0);
    assert_int_equal(need.device_bytes, need.weight_bytes + need.activation_bytes);
    assert_true(need.weight_bytes > 0);
    assert_int_equal(pipeline_check(p, &job, &e), ST_OK);
    job.embeds = (char[]){"given.h5"};
    assert_int_equal(pipeline_plan_rank(p, &job, 0, &less, &e), ST_OK);
    assert_true(need.text_bytes > 0);
    assert_int_equal(less.text_bytes, 0);
    job.embeds = NULL;
    pipeline_close(p);

    device_open(&o, need.device_bytes, &as_device, &p);
    assert_int_equal(pipeline_check(p, &job, &e), ST_OK);
    pipeline_close(p);

    device_open(&o, need.weight_bytes, &as_device, &p);
    assert_int_equal(pipeline_check(p, &job, &e), ST_RESOURCE);
    refused(p, &job, "not enough memory: rank 0 needs ");
    refused(p, &job, " GiB of its gpu (weights ");
    refused(p, &job, "; the text encoder takes 0.00 GiB by itself, --embeds does ");
    job.embeds = (char[]){"given.h5"};
    refused(p, &job, "; not even one frame of ");
    job.embeds = NULL;
    pipeline_close(p);

    device_open(&o, need.text_bytes, &as_device, &p);
    refused(p, &job, "; not even one frame of ");
    pipeline_close(p);
    world_close(o.world);
}

/* Where whole frames do not fit on the device they are cut, where tiles are chosen. */
static void devices_choose_tiles(void **state)
{
    struct engine_options o = {
        .backend = (char[]){"cpu"}, .threads = 2, .vae_chunk = 1};
    struct job job = golden_job();
    struct pipeline_plan whole, tiled;
    struct pipeline_rank_plan need, less;
    struct backend as_device;
    struct err e = ERR_INIT;
    struct pipeline *p;

    (void)state;
    job.size = (struct option_size){1024, 512};
    job.num_frames = 1;
    assert_int_equal(world_open(&o.world, &e), ST_OK);
    o.model = (char *)(uintptr_t)scratch_path(&rig.dir, "forcing");
    device_open(&o, SIZE_MAX, &as_device, &p);
    assert_int_equal(pipeline_plan(p, &job, &whole, &e), ST_OK);
    assert_int_equal(pipeline_plan_rank(p, &job, 0, &need, &e), ST_OK);
    assert_int_equal(whole.tiles, 1);
    pipeline_close(p);
    device_open(&o, need.device_bytes - 1, &as_device, &p);
    assert_int_equal(pipeline_plan(p, &job, &tiled, &e), ST_OK);
    assert_int_equal(pipeline_plan_rank(p, &job, 0, &less, &e), ST_OK);
    assert_true(tiled.tiles > 1);
    assert_true(less.device_bytes < need.device_bytes);
    pipeline_close(p);
    world_close(o.world);
}

/* One rank has nobody to exchange with; a mesh has buffers for each peer. */
static void exchanges_are_estimated(void **state)
{
    const struct mesh alone = {1, 1, 1}, four = {1, 4, 1}, both = {2, 2, 1};

    (void)state;
    assert_int_equal(wire_buffer_bytes(&alone), 0);
    assert_true(wire_buffer_bytes(&four) > wire_buffer_bytes(&both));
    assert_true(wire_buffer_bytes(&both) > 0);
}

static int scratch_make(void **state)
{
    *state = &rig.dir;
    scratch_create(&rig.dir);
    golden_folder(&rig, "forcing", "dit/sky_fps/original");
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_are_checked_first),
        cmocka_unit_test(devices_choose_tiles),
        cmocka_unit_test(exchanges_are_estimated),
    };
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    return cmocka_run_group_tests(tests, scratch_make, scratch_drop);
}
