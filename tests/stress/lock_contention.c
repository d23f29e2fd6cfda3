/*
 * Threads that fight for one lock lose no increment, whether they spin or sleep for it.
 */
#include "pool/lock.h"
#include "tests/stress/stress.h"

enum {
    ROUNDS = 500000
};

static struct lock lock;
static size_t counter;

/* Now and then the lock is held for longer than a waiter spins. */
static void hold_for_long(unsigned *seed) {
    volatile size_t idle = chance(seed, 20000);
    while (idle > 0) {
        idle--;
    }
}

static void *count(void *number) {
    unsigned seed = (unsigned)(uintptr_t)number;
    for (int i = 0; i < ROUNDS; i++) {
        lock_acquire(&lock);
        counter++;
        if (chance(&seed, 1000) == 0) {
            hold_for_long(&seed);
        }
        lock_release(&lock);
    }
    return NULL;
}

int main(void) {
    run_threads(count);
    expect(counter == (size_t)THREADS * ROUNDS, "every increment counts");
    expect(lock.state == LOCK_FREE, "the lock is free at the end");
    return verdict("lock_contention");
}
