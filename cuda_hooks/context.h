/*
 * context.h - the CUDA contexts of this process.
 *
 *     contexts   | handle | device | is_shared | gate |   the place of one is that of its pools (cuda_pool.h)
 *                | handle | ...
 *
 * A context is entered here when it is made, since pinned memory of all others can be used in it, or when it first
 * allocates what a pool may hold; and closed when it was destroyed or reset, or its last user has released it: the
 * driver frees what is in it, so no block of it may be handed out again, nor freed.
 *
 * A green context is a share of the processors of the primary one, whose memory and whose waits are its own too.
 * Nothing is pooled under it: what is allocated there stays when it ends.
 *
 * The gate: whoever calls the driver for a context, to wait for it or to allocate and free in it, is inside, and
 * whoever ends the context closes the gate first, so that no such call meets one that is gone. Nobody is inside of
 * two; who ends a green context closes two: its own first.
 *
 * Functions are thread-safe and not async-signal-safe; they may call the driver, and allocate nothing.
 */
#ifndef CUDA_HOOKS_CONTEXT_H
#define CUDA_HOOKS_CONTEXT_H

#include <stdatomic.h>

#include "cuda_hooks/cuda_abi.h"
#include "cuda_hooks/gate.h"
#include "pool/util.h"

enum {
    CONTEXTS = 32, /* more are left to the driver */
    UUID_BYTES = sizeof "GPU-00000000-0000-0000-0000-000000000000",
    PCI_BYTES = sizeof "00000000:00:00.0"
};

struct device {
    CUdevice ordinal; /* as this process sees it: CUDA_VISIBLE_DEVICES renumbers */
    size_t bytes;     /* of memory */
    char uuid[UUID_BYTES];
    char pci_address[PCI_BYTES];
    int node; /* that it is next to; -1: not known */
};

struct context {
    _Atomic(CUcontext) handle; /* NULL: closed; may be another's then */
    CUcontext suspended;       /* the handle, while nobody may find the context by it */
    _Atomic size_t free_bytes; /* of its device's memory, as last told by the driver */

    struct device device;
    atomic_bool is_primary; /* the one that the runtime uses */
    atomic_bool is_green;   /* a share of that: what it allocates is the driver's */
    atomic_bool is_shared;  /* others may use its memory: what it frees goes to the driver */
    atomic_bool is_broken;  /* it failed for good: the same */
    struct gate gate;
};

/* The calling thread's; NULL: it has none. */
CUcontext context_current_handle(void);

/* The calling thread's current context, entered if need be. NULL: it has none, or it cannot be. */
struct context *context_current(void);

/* The same of any context, which is made current for a moment where it is new. */
struct context *context_of(CUcontext handle);

/* One was made: enters it, or notes that there is one of which nothing is known. */
void context_meet(CUcontext handle);
void context_meet_green(CUcontext handle);

/* Is every context known? Else pinned memory may be in use where nobody waits for it. */
bool context_are_all_known(void);

/* One context after the other, from *cursor on (0 at first); NULL at the end. */
struct context *context_next(size_t *cursor);

/* The one that is open under that handle; NULL: none is. */
struct context *context_find(CUcontext handle);

/* The one that is open and the primary one of a device; NULL: none is. */
struct context *context_primary(CUdevice ordinal);

/* Its place among all, below CONTEXTS. Those below context_places() are or were in use. Async-signal-safe. */
size_t context_place(const struct context *c);
size_t context_places(void);

/* Asks the driver for free_bytes. */
void context_note_free(struct context *c);

/* Makes it current in the calling thread, and the old one again. False: that cannot be done, and nothing
 * has changed. */
MUST_CHECK bool context_enter(const struct context *c, bool *pushed);
void context_leave(bool pushed);

/* Waits for all work of the context that was given to the device so far. */
CUresult context_synchronize(const struct context *c);

/* While the driver ends it, after which the handle may be that of a new one, nobody finds it by that; then it is
 * there again, or closed, and its place free. */
void context_suspend(struct context *c) REQUIRES(c->gate);
void context_resume(struct context *c) REQUIRES(c->gate);
void context_close(struct context *c) REQUIRES(c->gate);

/* Is it open, and the calling thread's current one? */
bool context_is_current(const struct context *c);

/* In a forked child: there are none. */
void context_reset_in_child(void);

#endif
