/*
 * whole_file.h - a file that its readers see whole or not at all: written beside its name, then renamed.
 *
 * What is no regular file (a FIFO, a device, a link), or stands in a folder that is not ours to write to,
 * is written in place. Functions are async-signal-safe, and preserve errno.
 */
#ifndef POOL_WHOLE_FILE_H
#define POOL_WHOLE_FILE_H

#include "pool/util.h"

enum {
    WHOLE_FILE_PATH = 1152
};

struct whole_file {
    int fd;                       /* to be written to by the owner */
    const char *path;             /* the caller's */
    char beside[WHOLE_FILE_PATH]; /* "": in place */
};

/* Opens it, with mode 0644 less the program's mask. `number` tells writers of one process apart. False: it
 * cannot be written. */
MUST_CHECK bool whole_file_open(struct whole_file *f, const char *path, size_t number);

/* Closes it. Where all of it was written it takes its name, else nothing of it is left. False: it does not
 * stand there. */
MUST_CHECK bool whole_file_close(struct whole_file *f, bool written);

#endif
