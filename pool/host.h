/*
 * host.h - the host's memory: a pool for each NUMA node, on one arena.
 *
 * A request is served, in this order, by
 *   1  an idle block of the node that the thread runs on: no system call
 *   2  pages of idle blocks of that node, and new memory for the rest. Those of other nodes stay where they
 *      are: one that wandered would be remote for as long as it is reused
 *   3  an idle block of another node, the nearest first: better than none, and than giving back all that is
 *      idle. Before 2, where new memory would be more than the process may use
 *   4  2 again, after everything idle has gone back; then ENOMEM
 * and a block goes back to its own node, whoever frees it. realloc keeps it there.
 *
 * Functions are thread-safe, not async-signal-safe, and may change errno, unless said otherwise.
 */
#ifndef POOL_HOST_H
#define POOL_HOST_H

#include "pool/host_backend.h"
#include "pool/placement.h"
#include "pool/pool.h"
#include "pool/pressure.h"
#include "pool/retention.h"

struct host {
    struct arena arena;
    struct meta_records records;
    struct retention retention; /* of all pools together */
    struct retention share;     /* what is right for one by itself, however much the others hold */
    struct lock needed_lock;
    struct needed needed; /* with all pools */
    uint64_t others_ms;   /* when it was asked what the process has besides */
    size_t expected_peak; /* bytes that are expected to be live at once, before any is */
    bool (*give_way)(void);
    size_t (*resident)(void);
    bool is_strict;
    const struct topology_companion *companion;
    unsigned pool_count;
    struct placement placement;
    struct host_backend backends[TOPOLOGY_NODES];
    struct pool pools[TOPOLOGY_NODES];
};

struct host_config {
    size_t addresses; /* reserve at most so many */
    struct retention retention;
    const struct placement *placement;          /* NULL: one pool; copied */
    const struct topology_companion *companion; /* NULL: memory cannot be bound */

    size_t mappings_limit; /* of the process; the pools take half of it at most */
    enum thp_mode thp;
    bool recycle;   /* blocks lend each other their pages */
    bool is_strict; /* the system promises no more memory than it has */
    /* NULL, or asks others to give memory back when the system refuses it; true if they did. Called
     * without a lock. */
    bool (*give_way)(void);
    /* NULL, or the resident bytes of the process; 0: not known. Called with locks held. */
    size_t (*resident)(void);
};

/* Zero-initialised before; once; nobody else may use it yet. False: no addresses are to be had. */
MUST_CHECK bool host_start(struct host *h, const struct host_config *config);

/* A block of at least `bytes`, LIVE. NULL and why not, after everything idle was given back. *result becomes
 * FILL_OK where it has memory of the system, and not where it was idle. Preserves errno. */
MUST_CHECK struct block *host_acquire(struct host *h, size_t bytes, enum pool_pages pages,
                                      enum fill_result *result);

/* The pool that a request of the calling thread would be counted by now. */
struct pool *host_pool_here(struct host *h);

/* Takes a block back. False, and nothing done, when it was not LIVE. Preserves errno. */
MUST_CHECK bool host_release(struct host *h, struct block *b, uint64_t now_ms);

/* A block for `bytes`, at most SIZE_CLASS_MAX, with the contents of the LIVE block b: b itself where it
 * has the room, else another, and b is gone. NULL: there is none, and b is as it was. Preserves errno. */
MUST_CHECK struct block *host_resize(struct host *h, struct block *b, size_t bytes,
                                     uint64_t now_ms);

/* Gives back all idle memory, as the program asks for it; how many bytes that was. */
size_t host_trim(struct host *h);

/* The same, and what the system has promised for blocks that lent their pages, as it has no more, for us or for
 * others. False: there was nothing. */
bool host_step_aside(struct host *h);

/* Gives back what has aged, and what the pressure on memory asks for. When to come again, NEVER:
 * nothing is left that could age. */
uint64_t host_tick(struct host *h, uint64_t now_ms, enum pressure_level level);

/* Gives back what is not in steady use, as nobody may come to do so later. */
void host_before_silence(struct host *h, uint64_t now_ms);

/* So many bytes are expected to be live at once, soon: as much may be idle for them, when memory grows, as had they
 * been. */
void host_expect_peak(struct host *h, size_t bytes, uint64_t now_ms);

/* Gives back addresses that were never used, so that at most `bytes` stay free. */
void host_shrink(struct host *h, size_t bytes);

/* Bytes of idle blocks, and of those in the program's hands besides. Async-signal-safe. */
size_t host_idle_bytes(const struct host *h);
size_t host_held_bytes(const struct host *h);

/* The number of the error for which memory is not bound as planned; 0: none. Async-signal-safe. */
int host_bind_error(const struct host *h);

/* pool_register and pool_unregister for all LIVE, or PARKED, blocks that lie in a range. */
void host_register(struct host *h, const void *address, size_t bytes);
void host_unregister(struct host *h, const void *address, size_t bytes);

/* Around fork(2). The caller holds no lock of ours; see pool.h for what the child finds. Where the system is
 * strict, everything idle goes back before: it would have to promise that to the child, too. */
void host_before_fork(struct host *h);
void host_after_fork_in_parent(struct host *h);
void host_after_fork_in_child(struct host *h);

#endif
