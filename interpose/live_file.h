/*
 * live_file.h - the name and the life of the live file (pool/live.h).
 *
 *     $XDG_RUNTIME_DIR/bigmalloc/PID-START     where that is a tmpfs of ours, else
 *     /dev/shm/bigmalloc-EUID/PID-START        START: identity.start_ticks
 *
 * The folder is for its owner alone: what is not ours, a link, or open to others is not used, and where no
 * folder is left there is no file, and no word about it. Nor has a program that runs with more rights than
 * its caller one. A process that ends takes its file with it. One that is killed leaves it, for a day, and
 * among the newest 64; then the next process that opens one sweeps it. That takes two steps: a file that is
 * found to be of nobody is marked by taking away the right to write it, and the day counts from there.
 *
 * Functions are thread-safe, not async-signal-safe, and preserve errno. They take no lock of a pool's holder.
 */
#ifndef INTERPOSE_LIVE_FILE_H
#define INTERPOSE_LIVE_FILE_H

#include "pool/live.h"
#include "pool/options.h"

/* One pool after the other, from *cursor on (0 at first); NULL at the end. */
typedef struct pool *live_pools(size_t *cursor);

/* With the constructor: keeps what it needs of the environment, and the options. Without, there will be no file. */
void live_file_load(char *const *environment, const struct options *options);

/* Opens the file of this process with all pools, or not. */
void live_file_open(live_pools *next);

/* A pool that came later; nothing is done where there is no file. */
void live_file_add(struct pool *p);

/* The process ends. Async-signal-safe. */
void live_file_close(void);

void live_file_after_fork_in_child(void);

#endif
