/*
 * live_reader.h - a reader of live files that knows no more than their documentation.
 */
#ifndef TESTS_PRELOAD_LIVE_READER_H
#define TESTS_PRELOAD_LIVE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the only file in $XDG_RUNTIME_DIR/bigmalloc whose name begins with the id of this process: its path,
 * until the next call; NULL: there is none. */
const char *live_path(void);

/* Files in that folder. */
size_t live_files(void);

/* The name that a file of this process has to have. */
const char *live_name(void);

/* Reads it into memory; a failed CHECK where it cannot be, or is of no version that we know. */
void live_read(void);

/* Of what was read: a half at a place in the header; whether it was read before and is the same now. */
uint32_t live_half(size_t offset);
bool live_is_unchanged(void);

/* A word of a figure of the first pool, as the schema has it; of a class, by its bytes. */
uint64_t live_figure(const char *name, size_t word);
uint64_t live_class(size_t bytes, size_t word);

/* hits + misses over all classes, failures and passed. */
uint64_t live_requests(void);

#endif
