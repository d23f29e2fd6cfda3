/*
 * figures.h - the figures of one pool, as they lie in memory and in the live file.
 *
 *     sequence | who: kind, id, uuid ... | idle_bytes | device | figures of stats.def | those of each class
 *
 * The layout is that of the pool records of the live file (live.h): other programs read it.
 *
 * They are written by the holder of the pool's lock, between figures_begin and figures_end, and read by
 * anybody at any time, also by a signal handler and by other processes. The sequence is odd while they
 * change: who finds it even and the same before and after has read what was there at one instant.
 * (A seqlock, with the fences of Hans Boehm, "Can seqlocks get along with programming language memory
 * models?", MSPC 2012, figure 6: on x86 none of them is an instruction.)
 */
#ifndef POOL_FIGURES_H
#define POOL_FIGURES_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "pool/size_class.h"
#include "pool/stats.h"

enum {
    FIGURES_KIND_BYTES = 8,
    FIGURES_UUID_BYTES = 48,
    FIGURES_PCI_BYTES = 16
};

/* Of one class, and within one line of the processor's cache. */
struct class_figures {
    alignas(CACHE_LINE / 2) _Atomic size_t hits; /* requests served by an idle block */
    _Atomic size_t misses;                       /* requests served by memory of the system */
    _Atomic size_t idle;                         /* idle blocks */
    _Atomic size_t live;                         /* blocks in the program's hands */
};

struct figures {
    alignas(CACHE_LINE) _Atomic uint64_t sequence; /* odd while a holder of the lock writes */
    char kind[FIGURES_KIND_BYTES];                 /* who: set before anybody can read it */
    uint32_t id;
    _Atomic uint32_t in_use; /* 0: nothing below counts */
    char uuid[FIGURES_UUID_BYTES];
    char pci_address[FIGURES_PCI_BYTES];
    _Atomic size_t idle_bytes; /* the pool's own idle_bytes, for readers */
    size_t device_bytes;       /* of memory, on the whole device; 0: it has none of its own */
    _Atomic size_t device_free_bytes; /* of that, as last told by the driver */
    uint64_t reserved[2];
    struct stats stats; /* begins with the two gauges that change with every request */
    struct class_figures classes[SIZE_CLASSES];
};

static_assert(sizeof(size_t) == sizeof(uint64_t), "figures are of eight bytes");
static_assert(offsetof(struct figures, idle_bytes) == 88, "as documented in live.h");
static_assert(offsetof(struct figures, device_bytes) == 96, "the same");
static_assert(offsetof(struct figures, stats) == 128, "as documented in live.h");

/* Around changes, by the holder of the lock. */
static inline void figures_begin(struct figures *f) {
    uint64_t even = atomic_load_explicit(&f->sequence, memory_order_relaxed);
    atomic_store_explicit(&f->sequence, even + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

static inline void figures_end(struct figures *f) {
    uint64_t odd = atomic_load_explicit(&f->sequence, memory_order_relaxed);
    atomic_store_explicit(&f->sequence, odd + 1, memory_order_release);
}

/* Around reading: was what lies between of one instant? */
static inline uint64_t figures_before(const struct figures *f) {
    return atomic_load_explicit(&f->sequence, memory_order_acquire);
}

static inline bool figures_are_whole(const struct figures *f, uint64_t before) {
    atomic_thread_fence(memory_order_acquire);
    return before % 2 == 0 && atomic_load_explicit(&f->sequence, memory_order_relaxed) == before;
}

#endif
