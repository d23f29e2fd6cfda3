/*
 * cuda_pool.h - a pool whose blocks are whole allocations of the CUDA driver: memory of a device, or pinned
 * memory of the host.
 *
 *     allocate:   idle block of the class -> the driver, rounded up -> exactly -> room is made, once more
 *     free:       wait -> idle                        the work that uses the block may still be under way
 *                 quarantine -> ... wait -> idle      one wait for many; the only way while a stream is captured
 *
 * Allocations are neither split nor joined, so that what the driver tells of an address, and lets others do
 * with it, stays true. What the driver's own free waits for is not documented but for its having been seen to
 * wait for the context; so do we. Pinned memory can be used from every context: all are waited for.
 *
 * A pool keeps as much idle as was asked for lately (struct demand): under a cache of the program's own, what
 * that gives back reaches the driver.
 *
 * Functions are thread-safe and not async-signal-safe.
 */
#ifndef CUDA_HOOKS_CUDA_POOL_H
#define CUDA_HOOKS_CUDA_POOL_H

#include "cuda_hooks/cuda_backend.h"
#include "cuda_hooks/quarantine.h"
#include "pool/options.h"
#include "pool/pool.h"
#include "pool/profile.h"
#include "pool/retention.h"

struct cuda_pool {
    struct cuda_backend backend; /* first */
    struct lock lock;
    struct demand demand; /* under the lock */
    struct lock
        draining; /* held by who gives memory back: who is short of it waits for what is on its way */
    struct quarantine quarantine;
    struct pool pool;
};

/* What the user wants; outlives all pools. */
void cuda_pool_configure(const struct options *options, const struct cuda_owner *owner);
const struct options *cuda_pool_options(void); /* NULL: it wants no pools */
const struct cuda_owner *cuda_pool_owner(void);

/* What the last run needed, of a process that may use so much memory of the host; both outlive all pools. Once, or
 * NULL in a child. */
void cuda_pool_expect(struct profile *profile, size_t host_bytes);

/* Is anything expected of any pool, or of that one of the context, which has not got it yet? */
bool cuda_pool_any_is_expected(void);
bool cuda_pool_is_expected(const struct context *c, unsigned which);

/* Makes p, zero before, that pool of the context; once. */
void cuda_pool_open(struct cuda_pool *p, struct context *c, unsigned which);

static inline bool cuda_pool_is_pinned(const struct cuda_pool *p) {
    return cuda_backend_is_pinned(&p->backend);
}

/* Why nothing is kept, and the driver serves all requests: others use it, the context has failed, or the process
 * ends. That counter of the pool's; NULL: the pool may serve them. */
const _Atomic size_t *cuda_pool_bypass(struct cuda_pool *p);

/* The driver has served it. Always NULL. */
struct block *cuda_pool_note_bypass(struct cuda_pool *p, const _Atomic size_t *why, size_t bytes);

/* An idle block for `bytes`, now LIVE, which counts as demand; NULL: there is none. */
MUST_CHECK struct block *cuda_pool_acquire(struct cuda_pool *p, size_t bytes, uint64_t now_ms);

/* A new one, if the context is current; NULL, and why not. */
MUST_CHECK struct block *cuda_pool_fill(struct cuda_pool *p, size_t bytes,
                                        enum fill_result *result);

/* Makes a block that is expected, an idle one, where there is plenty of memory; by one thread at a time. False: no
 * more of them are to be made. */
MUST_CHECK bool cuda_pool_make_ahead(struct cuda_pool *p, uint64_t now_ms);

/* The block that begins there, of any kind, or of device or of pinned memory; NULL: none does. */
struct block *cuda_pool_find(const void *address);
struct block *cuda_pool_find_kind(const void *address, bool is_pinned);

/* Is there any, live or not? */
bool cuda_pool_has_blocks(void);

/* Takes back the block that was found at the address, as the driver would: what its wait answers, or that there is
 * nothing to free. */
CUresult cuda_pool_release(struct block *b, const void *address);

/* The driver is about to free by other means what is there of a device. False: it is a block that is free already. */
MUST_CHECK bool cuda_pool_disown(const void *address);

/* The driver has freed what was there behind our back. */
void cuda_pool_drop(const void *address);

/* Everything in quarantine becomes idle, after one wait. Where that fails it stays. */
void cuda_pool_mature(struct cuda_pool *p, uint64_t now_ms);

/* Gives back what is idle and has aged, or is more than there may be at that time. When to come again, NEVER:
 * nothing is left. */
uint64_t cuda_pool_age(struct cuda_pool *p, uint64_t now_ms);

/* Gives back what is idle but for `most` bytes, and how much that was. */
size_t cuda_pool_drain(struct cuda_pool *p, size_t most, const _Atomic size_t *why);

/* The statistics, which cannot ask, are told what the context knows of free memory. */
void cuda_pool_tell_free(struct cuda_pool *p);

/* Bytes that are idle or in quarantine. */
size_t cuda_pool_idle_bytes(struct cuda_pool *p);

/* Its context has ended, and all blocks with it. The gate is closed. */
void cuda_pool_forget(struct cuda_pool *p);

/* In a forked child: each pool, then what they share. There are no blocks and figures. */
void cuda_pool_reset(struct cuda_pool *p);
void cuda_pool_reset_records(void);

#endif
