/* checkpoint_probe.c - saves small checkpoints in a folder, to be watched while it does
 *
 *     checkpoint_probe FOLDER COUNT     become the writer and save that many
 *     checkpoint_probe FOLDER           print the row of the newest valid one, 0: none
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/checkpoint/store.h"
#include "engine/h5/h5.h"

static enum status probe_save(struct checkpoint_store *s, int row, struct err *e)
{
    struct checkpoint ck = {.kind = CHECKPOINT_ENCODED,
                            .rows_total = row,
                            .rows_done = row,
                            .segments_total = 1};
    enum status st;

    TRY(checkpoint_config(&ck, "{}", NULL, e));
    TRY(checkpoint_floats_size(&ck.cond, (int64_t[]){1, 2, 1, 1}, e));
    ck.cond.data[0] = ck.cond.data[1] = (float)row;
    st = checkpoint_save(s, &ck, NULL, e);
    checkpoint_release(&ck);
    return st;
}

static enum status newest_print(struct checkpoint_store *s, struct err *e)
{
    struct checkpoint ck = {0};
    char name[CHECKPOINT_NAME_BYTES];
    bool found = false;

    TRY(checkpoint_newest(s, NULL, NULL, &ck, name, &found, e));
    printf("%lld\n", found ? (long long)ck.rows_done : 0);
    checkpoint_release(&ck);
    return ST_OK;
}

static enum status rows_save(struct checkpoint_store *s, long rows, struct err *e)
{
    TRY(checkpoint_claim(s, e));
    for (int row = 1; row <= rows; row++)
        TRY(probe_save(s, row, e));
    return ST_OK;
}

int main(int argc, char **argv)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    struct checkpoint_store *s = NULL;
    struct err e = ERR_INIT;
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    if (argc < 2 || argc > 3)
        return 2;
    if (checkpoint_store_open(argv[1], true, &o, &s, &e) == ST_OK) {
        if (argc == 2)
            newest_print(s, &e);
        else
            rows_save(s, strtol(argv[2], NULL, 10), &e);
    }
    checkpoint_store_close(s);
    if (e.status != ST_OK)
        fprintf(stderr, "%s\n", e.text);
    return status_exit_code(e.status);
}
