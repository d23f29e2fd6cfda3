/*
 * cuda_backend.h - memory of one context of the CUDA driver, in whole allocations: of its device, or pinned memory of
 * the host of one kind.
 *
 * What is asked of the driver is rounded up to what it gives in any case, so that a block can serve many sizes; where
 * that much is refused, it is what was asked for. Functions are thread-safe and not async-signal-safe.
 */
#ifndef CUDA_HOOKS_CUDA_BACKEND_H
#define CUDA_HOOKS_CUDA_BACKEND_H

#include <string.h>

#include "cuda_hooks/address_map.h"
#include "cuda_hooks/context.h"
#include "cuda_hooks/cuda_abi.h"
#include "cuda_hooks/owner.h"
#include "pool/backend.h"
#include "pool/nearby.h"

/* An address of a device as a pointer, which nobody may follow. */
static inline void *cuda_pointer(CUdeviceptr address) {
    void *p = NULL;
    static_assert(sizeof p == sizeof address, "they are the same");
    memcpy(&p, &address, sizeof p);
    return p;
}

/* Pinned memory comes in kinds that must not be mixed: portable, mapped, write-combined. */
enum {
    CUDA_PINNED_FLAGS =
        CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED,
    CUDA_DEVICE_POOL = 0,
    CUDA_PINNED_POOL, /* the first of them, of no flags */
    CUDA_POOLS = CUDA_PINNED_POOL + CUDA_PINNED_FLAGS + 1
};

struct cuda_backend {
    struct backend backend;            /* first */
    _Atomic(struct context *) context; /* NULL: never used; set last */
    unsigned which;                    /* of the context's; of pinned memory it tells the flags */
    const struct cuda_owner *owner;
    struct nearby nearby; /* of pinned memory */
};

static inline bool cuda_backend_is_pinned(const struct cuda_backend *c) {
    return c->which != CUDA_DEVICE_POOL;
}

/* What to ask the driver for, for a request of so many bytes. Pure. */
size_t cuda_backend_rounded(bool is_pinned, size_t bytes);

/* What would be the backend of that pool of the context. */
struct backend cuda_backend_for(const struct context *c, unsigned which);

/* Makes it c, zero before, but for the context, which is for the caller to set. `owner` outlives it. */
void cuda_backend_init(struct cuda_backend *c, const struct context *context, unsigned which,
                       const struct cuda_owner *owner);

/* The driver's answer. */
CUresult cuda_backend_deallocate(const struct cuda_backend *c, void *address);

/* The blocks that have memory, by address, of all contexts. */
extern struct address_map cuda_backend_blocks;

#endif
