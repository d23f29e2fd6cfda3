#include "cuda_hooks/gate.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cuda_hooks/driver.h"

static const uint32_t BARRED = UINT32_C(1) << 31;

/* ---- sleep, futex(2) ---- */

/* Until it is another state, or for no reason. */
static void wait_while(struct gate *g, uint32_t state) {
    int saved_errno = errno;
    (void)syscall(SYS_futex, &g->state, FUTEX_WAIT_PRIVATE, state, NULL, NULL, 0);
    errno = saved_errno;
}

/* Those who want to go in, and those who want to close it: it happens when contexts end. */
static void wake_all(struct gate *g) {
    int saved_errno = errno;
    (void)syscall(SYS_futex, &g->state, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    errno = saved_errno;
}

/* ---- in and out ---- */

/* By as much, unless it is barred. Else the state that it is in. */
static bool add(struct gate *g, uint32_t n, uint32_t *state) {
    *state = atomic_load_explicit(&g->state, memory_order_relaxed);
    while ((*state & BARRED) == 0) {
        if (atomic_compare_exchange_weak(&g->state, state, *state + n)) {
            return true;
        }
    }
    return false;
}

static void add_when_open(struct gate *g, uint32_t n) {
    uint32_t state = 0;
    while (!add(g, n, &state)) {
        wait_while(g, state);
    }
}

void gate_enter(struct gate *g) UNCHECKED_LOCKING {
    add_when_open(g, 1);
    driver_enter();
}

bool gate_enter_unless_barred(struct gate *g) UNCHECKED_LOCKING {
    uint32_t state = 0;
    bool is_open = add(g, 1, &state);
    if (is_open) {
        driver_enter();
    }
    return is_open;
}

void gate_leave(struct gate *g) UNCHECKED_LOCKING {
    driver_leave();
    if (UNLIKELY(atomic_fetch_sub(&g->state, 1) == BARRED + 1)) {
        wake_all(g);
    }
}

/* ---- closing ---- */

void gate_bar(struct gate *g) {
    add_when_open(g, BARRED);
}

bool gate_is_barred(const struct gate *g) {
    return (atomic_load_explicit(&g->state, memory_order_acquire) & BARRED) != 0;
}

bool gate_is_empty(const struct gate *g) {
    return (atomic_load_explicit(&g->state, memory_order_acquire) & ~BARRED) == 0;
}

void gate_close(struct gate *g) UNCHECKED_LOCKING {
    gate_bar(g);
    uint32_t state = atomic_load(&g->state);
    while (state != BARRED) {
        wait_while(g, state);
        state = atomic_load(&g->state);
    }
    driver_enter();
}

void gate_open(struct gate *g) UNCHECKED_LOCKING {
    driver_leave();
    atomic_store(&g->state, 0);
    wake_all(g);
}

void gate_reset(struct gate *g) {
    atomic_store(&g->state, 0);
}
