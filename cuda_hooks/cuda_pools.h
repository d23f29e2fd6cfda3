/*
 * cuda_pools.h - the pools of all contexts together: what one lacks, another may have idle.
 *
 * Functions are thread-safe and, unless said otherwise, not async-signal-safe.
 */
#ifndef CUDA_HOOKS_CUDA_POOLS_H
#define CUDA_HOOKS_CUDA_POOLS_H

#include "cuda_hooks/cuda_pool.h"

/* Where memory is: the number of a device, or one of these. */
enum {
    CUDA_HOST = -1, /* pinned memory */
    CUDA_ANYWHERE = -2
};

/* The pool of a context: CUDA_DEVICE_POOL, or CUDA_PINNED_POOL and flags. NULL: no memory for it. */
struct cuda_pool *cuda_pools_of(struct context *c, unsigned which);

/* A context has begun: opens those of its pools of which something is expected. */
void cuda_pools_expect_in(CUcontext handle);

/* cuda_pool_make_ahead of the first for which it makes a block. False: there is none. */
MUST_CHECK bool cuda_pools_make_ahead(uint64_t now_ms);

/* A block for `bytes`, LIVE, and whether the driver was asked for it; NULL: the driver has to see for itself. */
MUST_CHECK struct block *cuda_pools_acquire(struct cuda_pool *p, size_t bytes, bool *is_new);

/* Gives back `bytes` or more of what is idle there. False: there was nothing. */
MUST_CHECK bool cuda_pools_make_room(int where, size_t bytes);

/* The driver has told how much of the context's device is free. */
void cuda_pools_tell_free(struct context *c, size_t bytes);

/* cuda_pool_age of all, and all that is idle, how much that was. */
uint64_t cuda_pools_age(uint64_t now_ms);
size_t cuda_pools_trim(void);

/* Bytes that are idle or in quarantine there. */
size_t cuda_pools_idle_bytes(int where);

/*
 * Around a call of the driver that ends a context, and frees all that is in it, as it does with context_primary's
 * on a device: the first waits for calls of ours that are under way. Of NULL, which has no pools, nothing.
 */
struct context *cuda_pools_before_end(struct context *c);
void cuda_pools_after_end(struct context *c, bool has_ended);

/* One pool after the other that was ever used, from *cursor on (0 at first), also those of contexts that ended;
 * NULL at the end. Async-signal-safe. */
struct pool *cuda_pools_next(size_t *cursor);

/* In a forked child: there are no contexts, blocks and figures. */
void cuda_pools_reset_in_child(void);

#endif
