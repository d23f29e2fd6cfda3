/*
 * small.h - jemalloc, which serves everything below the threshold.
 *
 * Debian's libjemalloc_pic.a is linked in under the prefix jemalloc_, and what it asks of the
 * system is redirected to functions in small.c (scripts/bundle-jemalloc): its mappings come from one range
 * of reserved addresses, so that "is it jemalloc's?" is one compare, and libc alone is needed.
 *
 *     |  used by jemalloc ->        |  reserved, PROT_NONE           |
 *     ^ base                        ^ base + used                    ^ base + bytes
 *
 * jemalloc(3); MALLOC_CONF reaches it as ever.
 */
#ifndef INTERPOSE_SMALL_H
#define INTERPOSE_SMALL_H

#include <stdatomic.h>

#include "pool/util.h"

/* The malloc family of jemalloc. Works from the first instruction, as far as it is called with
 * pointers of its own: it crashes on others. */
void *jemalloc_malloc(size_t bytes);
void *jemalloc_calloc(size_t count, size_t bytes);
void *jemalloc_realloc(void *p, size_t bytes);
void *jemalloc_memalign(size_t alignment, size_t bytes);
void jemalloc_free(void *p);
size_t jemalloc_malloc_usable_size(void *p);

/* Set once by the first allocation. Where no range is to be had, base stays 1 and bytes 0. */
struct small_range {
    _Atomic uintptr_t base; /* set before bytes */
    _Atomic size_t bytes;
    atomic_bool spilled; /* jemalloc has mappings outside too: any stranger may be its own */
};
extern struct small_range small_range;

/* Is p surely jemalloc's? One compare; no for NULL. Async-signal-safe. */
static inline bool small_owns(const void *p) {
    size_t bytes = atomic_load_explicit(&small_range.bytes, memory_order_acquire);
    return (uintptr_t)p - atomic_load_explicit(&small_range.base, memory_order_relaxed) < bytes;
}

/* Starts jemalloc now, with the options of MALLOC_CONF in environ. `on_refusal` (thread-safe, no
 * malloc) is called when the system refuses it memory: true, and it asks once more. */
void small_start(bool (*on_refusal)(void));

/* Gives back addresses that were never used, so that at most `bytes` stay free. Thread-safe. */
void small_shrink(size_t bytes);

/* Lets unused memory that has aged go back to the system. Thread-safe. */
void small_decay(void);

/* Pages that jemalloc keeps though nothing is in them, as of now. Thread-safe. */
size_t small_dirty_pages(void);

/* Gives back all unused memory. False: there was none. Thread-safe. */
bool small_purge(void);

/* Bytes: in the program's hands, in pages that have such, resident, mapped. */
struct small_figures {
    size_t allocated;
    size_t active;
    size_t resident;
    size_t mapped;
};
struct small_figures small_figures(void);

/* jemalloc's own handlers for fork(2), to be called in the order of the lock ranks. */
void small_before_fork(void);
void small_after_fork_in_parent(void);
void small_after_fork_in_child(void);

#endif
