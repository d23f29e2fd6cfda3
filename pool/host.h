/*
 * host.h - the host's memory: a pool for each NUMA node, on one arena.
 *
 *     request -> node -> pool hit -> pages of idle blocks, fresh memory for the rest
 *                     -> everything idle given back, once more -> ENOMEM
 *
 * Functions are thread-safe, not async-signal-safe, and may change errno, unless said otherwise.
 */
#ifndef POOL_HOST_H
#define POOL_HOST_H

#include "pool/host_backend.h"
#include "pool/pool.h"
#include "pool/pressure.h"
#include "pool/retention.h"

enum {
    HOST_NODES = 1
};

struct host {
    struct arena arena;
    struct meta_records records;
    struct retention retention;
    bool (*give_way)(void);
    struct host_backend backends[HOST_NODES];
    struct pool pools[HOST_NODES];
};

struct host_config {
    size_t addresses; /* reserve at most so many */
    struct retention retention;
    size_t mappings_limit; /* of the process; the pools take half of it at most */
    enum thp_mode thp;
    bool recycle; /* blocks lend each other their pages */
    /* NULL, or asks others to give memory back when the system refuses it; true if they did. Called
     * without a lock. */
    bool (*give_way)(void);
};

/* Zero-initialised before; once; nobody else may use it yet. False: no addresses are to be had. */
MUST_CHECK bool host_start(struct host *h, const struct host_config *config);

/* A block of at least `bytes`, LIVE. NULL and why not, after everything idle was given back.
 * Preserves errno. */
MUST_CHECK struct block *host_acquire(struct host *h, size_t bytes, enum pool_pages pages,
                                      enum fill_result *result);

/* Takes a block back. False, and nothing done, when it was not LIVE. Preserves errno. */
MUST_CHECK bool host_release(struct host *h, struct block *b, uint64_t now_ms);

/* A block for `bytes`, at most SIZE_CLASS_MAX, with the contents of the LIVE block b: b itself where it
 * has the room, else another, and b is gone. NULL: there is none, and b is as it was. Preserves errno. */
MUST_CHECK struct block *host_resize(struct host *h, struct block *b, size_t bytes,
                                     uint64_t now_ms);

/* Gives back all idle memory, for the reason given; how many bytes that was. */
enum host_cause {
    HOST_TRIMMED, /* the program asks for it */
    HOST_REFUSED  /* the system has none, for us or for others */
};
size_t host_drain(struct host *h, enum host_cause cause);

/* Gives back what has aged, and what the pressure on memory asks for. When to come again, NEVER:
 * nothing is left that could age. */
uint64_t host_tick(struct host *h, uint64_t now_ms, enum pressure_level level);

/* Gives back what is not in steady use, as nobody may come to do so later. */
void host_before_silence(struct host *h, uint64_t now_ms);

/* Makes a piece of the reserve resident, as an idle block. False: all of it is there, or refused. */
MUST_CHECK bool host_prefault(struct host *h, uint64_t now_ms);

/* Bytes of idle blocks. Async-signal-safe. */
size_t host_idle_bytes(const struct host *h);

/* Around fork(2). The caller holds no lock of ours; see pool.h for what the child finds. */
void host_before_fork(struct host *h);
void host_after_fork_in_parent(struct host *h);
void host_after_fork_in_child(struct host *h);

#endif
