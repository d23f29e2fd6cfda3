#include "cuda_hooks/capture.h"

#include <stdatomic.h>

#include "cuda_hooks/driver.h"
#include "pool/lock.h"

struct capture {
    CUstream stream;
    CUcontext context;
};

/* More at once than anybody has been seen to make; those beyond are taken for over. */
enum {
    CAPTURES = 256
};

/* Streams that each thread has under the same name are in it once for each. */
static struct capture captures[CAPTURES];
static _Atomic size_t count; /* of them; written under the lock */
static struct lock lock;

bool capture_is_under_way(void) {
    return atomic_load_explicit(&count, memory_order_relaxed) != 0;
}

void capture_begin(CUstream stream, CUcontext context) {
    lock_acquire(&lock);
    if (count < CAPTURES) {
        captures[count++] = (struct capture){.stream = stream, .context = context};
    }
    lock_release(&lock);
}

/* The last one takes its place. */
static void take_out(size_t i) REQUIRES(lock) {
    captures[i] = captures[--count];
}

void capture_end(CUstream stream) {
    lock_acquire(&lock);
    size_t i = 0;
    while (i < count && captures[i].stream != stream) {
        i++;
    }
    if (i < count) {
        take_out(i);
    }
    lock_release(&lock);
}

void capture_end_context(CUcontext context) {
    lock_acquire(&lock);
    for (size_t i = count; i-- > 0;) {
        if (captures[i].context == context) {
            take_out(i);
        }
    }
    lock_release(&lock);
}

void capture_exchange_mode(CUstreamCaptureMode *mode) {
    if (driver()->cuThreadExchangeStreamCaptureMode != NULL) {
        (void)driver()->cuThreadExchangeStreamCaptureMode(mode);
    }
}

void capture_reset_in_child(void) UNCHECKED_LOCKING {
    lock_reset(&lock);
    count = 0;
}
