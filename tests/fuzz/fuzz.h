/* fuzz.h - one target of the fuzzer
 *
 * Each fuzz_*.c defines LLVMFuzzerTestOneInput for one parser. With clang and FF_FUZZ
 * it is linked with libFuzzer; in every build it is linked with replay.c, which runs
 * the corpus and simple mutations of it.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "engine/weights/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* A file in memory that holds just these bytes, valid until the next call. */
const struct file *fuzz_file(const uint8_t *data, size_t bytes);

/* Abort unless the error of a failed call is one line that is not empty. */
void fuzz_check(enum status st, const struct err *e);

#endif
