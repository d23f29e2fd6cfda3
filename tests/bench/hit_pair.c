/*
 * hit_pair.c - the price of malloc(n) + free(n) when the block is at hand, memory untouched: one
 * thread from 1 MiB to 1 GiB, then two threads at 8 MiB each. The median of batches, since an
 * interrupt among pairs of nanoseconds would otherwise decide the figure.
 */
#include "tests/bench/measure.h"

#include <pthread.h>

enum {
    BATCHES = 51,
    BATCH_NS = 500000,
    WARM_PAIRS = 200
};

static pthread_barrier_t together;

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void pairs(size_t size, long n) {
    for (long i = 0; i < n; i++) {
        void *p = malloc(size);
        keep(p);
        free(p);
    }
}

/* Batches of equal time, so that pairs of 10 ns and of 10 us are measured equally long. */
static double pair_ns(size_t size) {
    double ns[BATCHES];
    double start = now_ns();
    pairs(size, WARM_PAIRS);
    const long n = 1 + (long)(BATCH_NS * WARM_PAIRS / (now_ns() - start));
    for (int i = 0; i < BATCHES; i++) {
        start = now_ns();
        pairs(size, n);
        ns[i] = (now_ns() - start) / (double)n;
    }
    qsort(ns, BATCHES, sizeof ns[0], compare);
    return ns[BATCHES / 2];
}

static void one_thread(size_t size) {
    char row[32];
    snprintf(row, sizeof row, size < GIB ? "%zu MiB" : "%zu GiB", size / (size < GIB ? MIB : GIB));
    pairs(size, WARM_PAIRS);
    print_time(row, pair_ns(size));
}

static void *one_of_two(void *ns) {
    pairs(8 * MIB, WARM_PAIRS);
    pthread_barrier_wait(&together);
    *(double *)ns = pair_ns(8 * MIB);
    return NULL;
}

static void two_threads(void) {
    pthread_t threads[2];
    double ns[2];
    pthread_barrier_init(&together, NULL, 2);
    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, one_of_two, &ns[i]);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    print_time("8 MiB, 2 threads", (ns[0] + ns[1]) / 2);
}

int main(void) {
    for (size_t size = MIB; size <= GIB; size *= 2) {
        one_thread(size);
    }
    two_threads();
    return 0;
}
