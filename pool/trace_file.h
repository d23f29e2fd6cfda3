/*
 * trace_file.h - a file that is written in pieces, and found again by its name for each of them.
 *
 * No descriptor stays open: programs close all that they do not know, and use the numbers again. So a piece
 * goes into the file that was made, or nowhere; not into another that has its name by now.
 *
 * Functions set errno, are cancellation points, and are async-signal-safe; thread-safe once the file is made.
 */
#ifndef POOL_TRACE_FILE_H
#define POOL_TRACE_FILE_H

#include <limits.h>
#include <sys/stat.h>

#include "pool/trace_ring.h"

struct trace_file {
    char path[PATH_MAX]; /* from the root */
    struct statx
        made; /* which it is: the number of one that is gone may be another's at once, its birth not */
};

/* Makes an empty file, in place of one that was there; errno otherwise. What is there but no plain file stays, EEXIST. */
MUST_CHECK bool trace_file_make(struct trace_file *f, const char *path);

/* False, and errno, ESTALE where the file is no more: not all of it is written. A limit on the size of files is found
 * before the system could end the process for it (EFBIG). */
MUST_CHECK bool trace_file_write(const struct trace_file *f, const struct trace_piece *pieces,
                                 unsigned count);

#endif
