/*
 * pressure_watch.h - systemd's word that memory is short. https://systemd.io/MEMORY_PRESSURE
 *
 *     MEMORY_PRESSURE_WATCH   a PSI file: it fires with POLLPRI; a FIFO or a stream socket: with
 *                             POLLIN, and what came is read away; /dev/null: there is no watch
 *     MEMORY_PRESSURE_WRITE   in base64, what is written to it first: the trigger of a PSI file
 *
 * The descriptor stays open between two looks. A daemon closes all that it does not know, and the
 * number may then be a file of its own: it is touched only while it is still the file that was
 * opened. (What another thread does between that check and the call after it is not seen.)
 *
 * Nothing here blocks, raises a signal or changes errno. One caller at a time.
 */
#ifndef POOL_PRESSURE_WATCH_H
#define POOL_PRESSURE_WATCH_H

#include "pool/util.h"

#include <sys/types.h>

enum {
    WATCH_PATH = 1024,
    WATCH_TRIGGER = 256
};

/* What the environment said. */
struct pressure_watch_config {
    char path[WATCH_PATH]; /* empty: no watch */
    unsigned char trigger[WATCH_TRIGGER];
    size_t trigger_length;
};

struct pressure_watch {
    int fd;       /* negative: none, or no longer */
    short events; /* those of poll(2) that say so */
    dev_t device; /* what fd was when it was opened */
    ino_t inode;
};

/* No watch where environment names none, or anything in it is no value of its variable. Pure. */
void pressure_watch_load(struct pressure_watch_config *config, char *const *environment);

/* No descriptor where the file is of none of these kinds, or refuses anything. */
void pressure_watch_open(struct pressure_watch *w, const struct pressure_watch_config *config);

/* Did it fire since the last look? */
MUST_CHECK bool pressure_watch_fired(struct pressure_watch *w);

/* Closes what is still ours; there is no watch afterwards. */
void pressure_watch_close(struct pressure_watch *w);

/* Decodes base64 of at most `size` bytes, RFC 4648. False: it is none, or too much. Pure. */
MUST_CHECK bool pressure_watch_decode(const char *text, unsigned char *bytes, size_t size,
                                      size_t *length);

#endif
