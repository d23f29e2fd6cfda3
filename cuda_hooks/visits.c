#include "cuda_hooks/visits.h"

#include <stdlib.h>
#include <time.h>

#include "cuda_hooks/capture.h"
#include "cuda_hooks/context.h"

static atomic_bool stopped;

/* How long a thread that is in the driver for us may keep the process from ending, in milliseconds. */
enum {
    PATIENCE_MS = 1000
};

static _Atomic unsigned under_way;

bool visits_begin(void) {
    atomic_fetch_add(&under_way, 1);
    bool may = !atomic_load(&stopped);
    if (!may) {
        atomic_fetch_sub(&under_way, 1);
    }
    return may;
}

void visits_end(void) {
    atomic_fetch_sub(&under_way, 1);
}

/* No more calls of the driver by us. Those under way end first, but for one that never would: without us nobody
 * would wait for work that hangs. */
static void stop_at_exit(void) {
    static const struct timespec a_little = {.tv_nsec = 1000000};
    int left_ms = PATIENCE_MS;
    size_t cursor = 0;
    atomic_store(&stopped, true);
    while (atomic_load(&under_way) != 0 && left_ms-- > 0) {
        (void)nanosleep(&a_little, NULL);
    }
    for (struct context *c = context_next(&cursor); c != NULL; c = context_next(&cursor)) {
        bool passed = false;
        while (!(passed = lock_try(&c->gate)) && left_ms-- > 0) {
            (void)nanosleep(&a_little, NULL);
        }
        if (passed) {
            lock_release(&c->gate);
        }
    }
}

/* Handlers run in the reverse order: before those of the driver, which is loaded. */
void visits_register_end(void) {
    static atomic_flag registered = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&registered)) {
        (void)atexit(stop_at_exit);
    }
}

bool visits_are_over(void) {
    return atomic_load_explicit(&stopped, memory_order_relaxed);
}

bool visits_allowed(void) {
    return !atomic_load_explicit(&stopped, memory_order_acquire) && !capture_is_under_way();
}

void visits_reset_in_child(void) {
    atomic_store(&under_way, 0);
}
