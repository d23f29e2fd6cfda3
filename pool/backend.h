/*
 * backend.h - the seam between a pool and the kind of memory that it manages.
 *
 *     +--------+   fill, drain, move, ...        +---------+
 *     |  pool  | ------------------------------> | backend |   host memory of one node, device
 *     +--------+   blocks, classes, idle lists   +---------+   memory of one context, ...
 *
 * A backend gives blocks memory, takes it back and moves it. It keeps no list of blocks and no
 * statistics. All calls come without a lock held, on blocks that nobody else can reach; all are
 * thread-safe for different blocks, and may take as long as a system call takes.
 */
#ifndef POOL_BACKEND_H
#define POOL_BACKEND_H

#include <stdatomic.h>

#include "pool/util.h"

struct block;
struct backend;
struct nearby;

enum fill_result {
    FILL_OK,
    FILL_REFUSED,    /* the system has no memory: giving some back may help */
    FILL_NO_ADDRESS, /* no room left in the reserved addresses: nothing will help */
    FILL_LOST,       /* the block cannot be used any more: another will do */
};

/* `bytes` of one block, from offset `from_at` on, to offset `to_at` of another: whole granules to whole granules, or
 * a range of a tail to all that the other has room for in its own. */
struct move {
    struct block *to;
    struct block *from;
    size_t to_at;
    size_t from_at;
    size_t bytes;
    size_t moved; /* so many are done */
};

enum move_result {
    MOVE_OK,
    MOVE_CANNOT,  /* moving is not to be had here, or its means are used up */
    MOVE_REFUSED, /* these pages cannot be moved, others may. Both blocks are as before */
    MOVE_LOST,    /* addresses of `to` fell to a stranger: nobody may use that block any more */
};

struct backend {
    const char *kind;        /* "host", for the statistics */
    unsigned id;             /* node number, for the statistics */
    _Atomic size_t mappings; /* of the process that its blocks cost, as if none ever merged */
    atomic_bool cannot_move; /* nobody wants it, or the system does not know how */
    unsigned variant; /* of memory that is never mixed with that of another; 0: there is but one */
    bool is_whole;    /* a block has all its memory or none: nothing comes with the first touch */
    const char *uuid; /* of the device, and where it is plugged in; NULL: it has none */
    const char *pci_address;
    const struct nearby *nearby; /* of host memory for a device: where it lies; NULL: it is none */
    size_t device_bytes;         /* of memory, on the whole device; 0: it has none of its own */

    /* What is taken for so many bytes where is_whole is set; the class is of that. Pure. */
    size_t (*rounded)(const struct backend *self, size_t bytes);

    /* Give the block memory for its class, or for `bytes` of it at least, and an address if it has none.
     * What it holds is set. */
    enum fill_result (*fill)(struct backend *self, struct block *b, size_t bytes);

    /* Take the memory back; the block keeps its address where addresses are the backend's own, and is
     * altered no more. False: it could not be taken, and the block holds what it held, or is altered. */
    bool (*drain)(struct backend *self, struct block *b);

    /* Make bytes from `from` to `to` read as zero without making them resident. False: not possible.
     * NULL, as all below, where is_whole is set. */
    bool (*clear)(struct backend *self, struct block *b, size_t from, size_t to);

    /* Move pages, contents and all, between blocks that have memory. Where they were reads as zero
     * then. After another result than MOVE_OK the first m->moved bytes are done all the same. What the blocks hold is for the caller to set. Not called where cannot_move is set. */
    enum move_result (*move)(struct backend *self, struct move *m);

    /* From here on a forked child finds the idle block zero and unshared, or, where `wiped` is
     * false again, a copy of it as usual. False: the system cannot do that. */
    bool (*wipe_on_fork)(struct backend *self, struct block *b, bool wiped);
};

/* Can blocks lend each other pages, as far as the means of the backend allow? */
static inline bool backend_can_move(const struct backend *b) {
    return !atomic_load_explicit(&b->cannot_move, memory_order_relaxed);
}

#endif
