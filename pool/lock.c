#include "pool/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Longer than any critical section of ours, shorter than a trip into the kernel. */
static const int SPINS = 200;

static inline void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool spin(struct lock *l) {
    for (int i = 0; i < SPINS; i++) {
        uint32_t expected = LOCK_FREE;
        if (atomic_load_explicit(&l->state, memory_order_relaxed) == LOCK_FREE &&
            atomic_compare_exchange_weak_explicit(&l->state, &expected, LOCK_HELD,
                                                  memory_order_acquire, memory_order_relaxed)) {
            return true;
        }
        cpu_relax();
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
