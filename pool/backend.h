/*
 * backend.h - the seam between a pool and the kind of memory that it manages.
 *
 *     +--------+   fill, drain, clear, inherit   +---------+
 *     |  pool  | ------------------------------> | backend |   host memory of one node, device
 *     +--------+   blocks, classes, idle lists   +---------+   memory of one context, ...
 *
 * A backend gives blocks memory and takes it back. It keeps no list of blocks and no statistics.
 * All calls come without a lock held, on a block that nobody else can reach; all are thread-safe
 * for different blocks, and may take as long as a system call takes.
 */
#ifndef POOL_BACKEND_H
#define POOL_BACKEND_H

#include "pool/util.h"

struct block;
struct backend;

enum fill_result {
    FILL_OK,
    FILL_REFUSED,    /* the system has no memory: giving some back may help */
    FILL_NO_ADDRESS, /* no room left in the reserved addresses: nothing will help */
};

struct backend {
    const char *kind; /* "host", for the statistics */
    unsigned id;      /* node number, for the statistics */

    /* Give the block memory for its class, and an address if it has none. dirty_bytes is set. */
    enum fill_result (*fill)(struct backend *self, struct block *b);

    /* Take the memory back; the block keeps its address where addresses are the backend's own. */
    void (*drain)(struct backend *self, struct block *b);

    /* Make the first `bytes` read as zero without making them resident. False: not possible. */
    bool (*clear)(struct backend *self, struct block *b, size_t bytes);

    /* From here on a forked child finds the idle block zero and unshared, or, where `wiped` is
     * false again, a copy of it as usual. False: the system cannot do that. */
    bool (*wipe_on_fork)(struct backend *self, struct block *b, bool wiped);
};

#endif
