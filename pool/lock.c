#include "pool/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * A waiter looks again after 4, 8, ... processor pauses, some 10 us in all, before it sleeps. Looking
 * seldom lets the holder's thread take the lock many times while its cache lines are at home: two
 * threads that want nothing else take half the time of a waiter that looks all the time. (Thomas
 * Anderson, "The Performance of Spin Lock Alternatives", IEEE TPDS 1(1), 1990: exponential backoff.)
 */
static const int FIRST_PAUSE = 4;
static const int LAST_PAUSE = 256;

static inline void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool take(struct lock *l) {
    uint32_t expected = LOCK_FREE;
    return atomic_load_explicit(&l->state, memory_order_relaxed) == LOCK_FREE &&
           atomic_compare_exchange_weak_explicit(&l->state, &expected, LOCK_HELD,
                                                 memory_order_acquire, memory_order_relaxed);
}

static bool spin(struct lock *l) {
    for (int pause = FIRST_PAUSE; pause <= LAST_PAUSE; pause *= 2) {
        for (int i = 0; i < pause; i++) {
            cpu_relax();
        }
        if (take(l)) {
            return true;
        }
    }
    return false;
}

void lock_wait(struct lock *l) UNCHECKED_LOCKING {
    if (spin(l)) {
        return;
    }
    int saved_errno = errno;
    while (atomic_exchange_explicit(&l->state, LOCK_CONTENDED, memory_order_acquire) != LOCK_FREE) {
        (void)syscall(SYS_futex, &l->state, FUTEX_WAIT_PRIVATE, LOCK_CONTENDED, NULL, NULL, 0);
    }
    errno = saved_errno;
}

void lock_wake(struct lock *l) {
    int saved_errno = errno;
    (void)syscall(SYS_futex, &l->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved_errno;
}

void lock_reset(struct lock *l) UNCHECKED_LOCKING {
    atomic_store_explicit(&l->state, LOCK_FREE, memory_order_relaxed);
}
