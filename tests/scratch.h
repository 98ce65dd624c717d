/* scratch.h - a folder of files that a test makes and removes
 *
 * It lies in $TMPDIR or /tmp. Failing calls end the test program with a message: a test
 * cannot go on without its files. Paths are relative to the scratch folder; folders on
 * the way are made.
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <stddef.h>

struct scratch {
    char path[64];
};

void scratch_create(struct scratch *s);
void scratch_remove(struct scratch *s); /* with everything in it */

/* The same as the end of a group of cmocka's tests: of the one that is its state. */
int scratch_drop(void **state);

/* The whole path of `rel`, in one of eight static buffers that take turns. */
const char *scratch_path(const struct scratch *s, const char *rel);

void scratch_write(const struct scratch *s, const char *rel, const void *data,
                   size_t bytes);
void scratch_text(const struct scratch *s, const char *rel, const char *text);
void scratch_copy(const struct scratch *s, const char *rel, const char *from);

/* Copy every regular file of the folder `from` into the folder `rel`. */
void scratch_copy_all(const struct scratch *s, const char *rel, const char *from);

/* The content of a file, NUL-terminated; the caller frees it. */
char *scratch_read(const char *path, size_t *bytes);

#endif
