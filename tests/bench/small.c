/*
 * small.c - programs of small blocks only, 16 B to 32 KiB, which a pool of large blocks must leave
 * as fast as they were: random lifetimes in a table of slots, and LIFO lifetimes as in a recursion;
 * in one thread and in two.
 */
#include "tests/bench/measure.h"

#include <pthread.h>

enum {
    SLOTS = 8192,
    DEPTH = 64,
    OPERATIONS = 4000000
};

typedef void *worker(void *seed);

/* Every power of two from 16 B to 16 KiB equally often, and up to twice that inside each. */
static void *small_block(uint64_t random) {
    size_t power = (size_t)16 << (random & 0xFFFF) % 11;
    char *p = malloc(power + (random >> 16) % power);
    p[0] = 1;
    return p;
}

static void *random_lifetimes(void *seed) {
    uint64_t state = (uint64_t)(uintptr_t)seed;
    void **slots = calloc(SLOTS, sizeof *slots);
    for (long i = steps_wanted(OPERATIONS); i > 0; i--) {
        uint64_t random = random_next(&state);
        void **slot = &slots[(random >> 40) % SLOTS];
        free(*slot);
        *slot = small_block(random);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        free(slots[i]);
    }
    free(slots);
    return NULL;
}

static void *lifo_lifetimes(void *seed) {
    uint64_t state = (uint64_t)(uintptr_t)seed;
    void *stack[DEPTH];
    for (long i = steps_wanted(OPERATIONS) / DEPTH; i > 0; i--) {
        for (size_t depth = 0; depth < DEPTH; depth++) {
            stack[depth] = small_block(random_next(&state));
        }
        for (size_t depth = DEPTH; depth > 0; depth--) {
            free(stack[depth - 1]);
        }
    }
    return NULL;
}

static void measure(const char *row, worker *work, size_t threads) {
    pthread_t started[2];
    struct usage start = usage_now(RUSAGE_SELF);
    for (size_t i = 1; i < threads; i++) {
        pthread_create(&started[i], NULL, work, (void *)(uintptr_t)(i + 1));
    }
    work((void *)(uintptr_t)1);
    for (size_t i = 1; i < threads; i++) {
        pthread_join(started[i], NULL);
    }
    struct usage used = usage_since(start, RUSAGE_SELF);
    double steps = (double)steps_wanted(OPERATIONS);
    print_row(row, used.ns / steps, used, steps);
}

int main(void) {
    measure("random lifetimes", random_lifetimes, 1);
    measure("LIFO", lifo_lifetimes, 1);
    measure("random lifetimes, 2 threads", random_lifetimes, 2);
    measure("LIFO, 2 threads", lifo_lifetimes, 2);
    return 0;
}
