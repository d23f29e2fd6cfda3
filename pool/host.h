/*
 * host.h - the host's memory: a pool for each NUMA node, on one arena.
 *
 *     request -> node -> pool hit -> fresh memory -> everything idle given back, once more -> ENOMEM
 *
 * Functions are thread-safe, not async-signal-safe, and may change errno, unless said otherwise.
 */
#ifndef POOL_HOST_H
#define POOL_HOST_H

#include "pool/host_backend.h"
#include "pool/pool.h"

enum {
    HOST_NODES = 1
};

struct host {
    struct arena arena;
    struct meta_records records;
    size_t cache_max;    /* idle bytes kept at most */
    size_t memory_limit; /* what this process may use in all */
    bool (*give_way)(void);
    struct host_backend backends[HOST_NODES];
    struct pool pools[HOST_NODES];
};

struct host_config {
    size_t addresses; /* reserve at most so many */
    size_t cache_max;
    size_t memory_limit;
    size_t mappings_limit; /* of the process; the pools take half of it at most */
    enum thp_mode thp;
    /* NULL, or asks others to give memory back when the system refuses it; true if they did. Called
     * without a lock. */
    bool (*give_way)(void);
};

/* Zero-initialised before; once; nobody else may use it yet. False: no addresses are to be had. */
MUST_CHECK bool host_start(struct host *h, const struct host_config *config);

/* A block of at least `bytes`, LIVE. NULL and why not, after everything idle was given back. */
MUST_CHECK struct block *host_acquire(struct host *h, size_t bytes, enum fill_result *result);

/* Takes a block back. False, and nothing done, when it was not LIVE. Preserves errno. */
MUST_CHECK bool host_release(struct host *h, struct block *b, uint64_t now_ms);

/* Gives back all idle memory; how many bytes that was. */
size_t host_drain(struct host *h);

/* Bytes that may stay idle: as many as the option says, and never so many that they and what is
 * live come near the limit of memory. Pure. */
size_t host_idle_allowance(size_t cache_max, size_t memory_limit, size_t live_bytes);

/* Around fork(2). The caller holds no lock of ours; see pool.h for what the child finds. */
void host_before_fork(struct host *h);
void host_after_fork_in_parent(struct host *h);
void host_after_fork_in_child(struct host *h);

#endif
