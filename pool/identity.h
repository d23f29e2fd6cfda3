/*
 * identity.h - which process this is, among all of all machines at all times.
 *
 * Boot id, process id and start time say it together: an id is used again, a start time counts from the
 * boot. Inside a container the id is that of its namespace, which has a number of its own.
 */
#ifndef POOL_IDENTITY_H
#define POOL_IDENTITY_H

#include "pool/util.h"

enum {
    IDENTITY_BOOT_BYTES = 40,
    IDENTITY_HOST_BYTES = 64,
    IDENTITY_COMMAND_BYTES = 16,
    IDENTITY_NO_RANK = -1
};

struct identity {
    size_t pid;
    size_t start_ticks; /* clock ticks from boot to the process' start; 0: not to be had */
    size_t pid_ns;      /* inode of its namespace of process ids; 0: not to be had */
    int32_t rank;       /* among those that a launcher started together, or IDENTITY_NO_RANK */
    char boot_id[IDENTITY_BOOT_BYTES];
    char host[IDENTITY_HOST_BYTES];       /* cut where it is longer */
    char command[IDENTITY_COMMAND_BYTES]; /* the name of the program, as ps has it */
};

/* Keeps the rank that an environment tells. Before others ask, once; not thread-safe. */
void identity_load(char *const *environment);

/* Of the calling process. Reads files of /proc. Async-signal-safe, preserves
 * errno. proc_pid_stat(5), field 22; namespaces(7). */
void identity_read(struct identity *who);

/* When process `pid` started, in clock ticks since boot; 0: there is none, or it hides. The same. */
size_t identity_start_ticks(size_t pid);

/* The rank as its launcher wrote it; NULL: none did. Pure. */
const char *identity_rank_text(char *const *environment);

#endif
