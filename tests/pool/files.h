/*
 * files.h - a tree of files in a temporary folder, in place of /proc and /sys.
 */
#ifndef TESTS_POOL_FILES_H
#define TESTS_POOL_FILES_H

#include "pool/util.h"

/* The folder, without a slash at its end. */
extern char files_root[64];

/* At the beginning and the end of a test. */
void files_make(void);
void files_remove(void);

/* The same, where they are what the library reads, and no call is refused. */
void files_start(void);
void files_stop(void);

/* Writes the file at root + name, and makes the folders above it. */
void files_put(const char *name, const char *text);
void files_put_bytes(const char *name, const void *bytes, size_t count);

/* root + name, until the next call. */
const char *files_path(const char *name);

/* Descriptors that this process has open. */
size_t files_open(void);

#endif
