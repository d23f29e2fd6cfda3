#include "cuda_hooks/visits.h"

#include <stdlib.h>
#include <time.h>

#include "cuda_hooks/capture.h"
#include "cuda_hooks/context.h"
#include "cuda_hooks/driver.h"
#include "cuda_hooks/gate.h"

/* How long threads that are in the driver for us may keep the process from ending, in milliseconds. */
enum {
    PATIENCE_MS = 1000
};

/* Visitors are inside; barred at the end of the process. */
static struct gate gate;

bool visits_begin(CUstreamCaptureMode *mode) UNCHECKED_LOCKING {
    *mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    if (driver_is_entered() || !gate_enter_unless_barred(&gate)) {
        return false;
    }
    capture_exchange_mode(mode);
    return true;
}

void visits_end(CUstreamCaptureMode mode) UNCHECKED_LOCKING {
    capture_exchange_mode(&mode);
    gate_leave(&gate);
}

static void wait_for_those_inside(const struct gate *g, int *left_ms) {
    static const struct timespec a_little = {.tv_nsec = 1000000};
    while (!gate_is_empty(g) && (*left_ms)-- > 0) {
        (void)nanosleep(&a_little, NULL);
    }
}

/* No more calls of the driver by us. Those under way end first, but for one that never would: without us nobody
 * would wait for work that hangs. */
static void stop_at_exit(void) {
    int left_ms = PATIENCE_MS;
    size_t cursor = 0;
    gate_bar(&gate);
    wait_for_those_inside(&gate, &left_ms);
    for (struct context *c = context_next(&cursor); c != NULL; c = context_next(&cursor)) {
        wait_for_those_inside(&c->gate, &left_ms);
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
    return gate_is_barred(&gate);
}

bool visits_allowed(void) {
    return !visits_are_over() && !capture_is_under_way();
}

void visits_reset_in_child(void) {
    gate_reset(&gate);
}
