/*
 * lock.h - a mutex of four bytes: no allocation, no destruction, usable before libc has started.
 *
 * An uncontended pair costs two atomic operations, and none in a process with a single thread
 * (__libc_single_threaded, glibc manual, "Single-Threaded"). A waiter spins for a moment, because
 * holders make no system call (but for fork, and for reservations that grow by gigabytes), then
 * sleeps on a futex (futex(2); the three states are those of Ulrich Drepper, "Futexes Are Tricky",
 * 2011, mutex 2).
 *
 * Not recursive. Not async-signal-safe. After fork() the child calls lock_reset on locks that its
 * parent's fork handlers took. clang checks the discipline (-Wthread-safety).
 */
#ifndef POOL_LOCK_H
#define POOL_LOCK_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/single_threaded.h>

#include "pool/util.h"

#if defined(__clang__)
#define LOCK_ATTRIBUTE(x) __attribute__((x))
#else
#define LOCK_ATTRIBUTE(x)
#endif
#define CAPABILITY(name) LOCK_ATTRIBUTE(capability(name))
#define ACQUIRE(...) LOCK_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) LOCK_ATTRIBUTE(release_capability(__VA_ARGS__))
#define REQUIRES(...) LOCK_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) LOCK_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define EXCLUDES(...) LOCK_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define UNCHECKED_LOCKING LOCK_ATTRIBUTE(no_thread_safety_analysis)

enum lock_state {
    LOCK_FREE,
    LOCK_HELD,
    LOCK_CONTENDED
};

struct CAPABILITY("mutex") lock {
    _Atomic uint32_t state; /* enum lock_state */
};

void lock_wait(struct lock *l) ACQUIRE(*l);
void lock_wake(struct lock *l);
void lock_reset(struct lock *l) RELEASE(*l);

static inline void lock_acquire(struct lock *l) ACQUIRE(*l) UNCHECKED_LOCKING {
    if (__libc_single_threaded) {
        atomic_store_explicit(&l->state, LOCK_HELD, memory_order_relaxed);
        return;
    }
    uint32_t expected = LOCK_FREE;
    if (UNLIKELY(!atomic_compare_exchange_strong_explicit(
            &l->state, &expected, LOCK_HELD, memory_order_acquire, memory_order_relaxed))) {
        lock_wait(l);
    }
}

/* False: somebody has it. */
static inline bool lock_try(struct lock *l) TRY_ACQUIRE(true, *l) UNCHECKED_LOCKING {
    uint32_t expected = LOCK_FREE;
    return atomic_compare_exchange_strong_explicit(&l->state, &expected, LOCK_HELD,
                                                   memory_order_acquire, memory_order_relaxed);
}

static inline void lock_release(struct lock *l) RELEASE(*l) UNCHECKED_LOCKING {
    if (__libc_single_threaded) {
        atomic_store_explicit(&l->state, LOCK_FREE, memory_order_relaxed);
        return;
    }
    if (UNLIKELY(atomic_exchange_explicit(&l->state, LOCK_FREE, memory_order_release) ==
                 LOCK_CONTENDED)) {
        lock_wake(l);
    }
}

#endif
