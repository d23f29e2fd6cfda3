/*
 * stress.h - what the programs of this directory share: threads, chance, and the verdict.
 *
 * Every program prints one line of TAP and ends within seconds also under the thread sanitizer,
 * which is the judge of races; the program itself judges whether blocks have one owner each.
 */
#ifndef TESTS_STRESS_STRESS_H
#define TESTS_STRESS_STRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/host.h"

enum {
    THREADS = 4,
    SECONDS_MAX = 600 /* a program that hangs is one that fails, however slow a machine is */
};

/* A race ends the program at once, before it says "ok". */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "halt_on_error=1";
}

static atomic_bool stress_failed;

static inline void expect(bool holds, const char *what) {
    if (!holds && !atomic_exchange(&stress_failed, true)) {
        (void)fprintf(stderr, "# %s\n", what);
    }
}

/* The program's exit status. */
static inline int verdict(const char *name) {
    bool failed = atomic_load(&stress_failed);
    (void)printf("%s %s\n", failed ? "not ok" : "ok", name);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Of that many rounds as many as the machine can do: STRESS_PERCENT in the environment. */
static inline int rounds_of(int usual) {
    const char *percent = getenv("STRESS_PERCENT");
    return percent == NULL ? usual : usual * atoi(percent) / 100;
}

static inline size_t chance(unsigned *seed, size_t n) {
    return (size_t)rand_r(seed) % n;
}

/* Sizes of a few neighbouring classes, so that threads fight for the same buckets. */
static inline size_t any_size(unsigned *seed) {
    return 256 * KIB + chance(seed, 3 * MIB);
}

static inline void start_host(struct host *h, size_t cache_max) {
    struct host_config config = {
        .addresses = 16 * GIB,
        .retention = {.cache_max = cache_max, .memory_limit = SIZE_MAX, .decay_ms = NEVER},
        .mappings_limit = 1000,
        .thp = THP_AUTO,
        .recycle = true};
    if (!host_start(h, &config)) {
        (void)printf("Bail out! no addresses\n");
        exit(EXIT_FAILURE);
    }
}

static inline struct block *must_have(struct host *h, size_t bytes, enum pool_pages pages) {
    enum fill_result result = FILL_OK;
    struct block *b = host_acquire(h, bytes, pages, &result);
    if (b == NULL) {
        (void)printf("Bail out! no memory\n");
        exit(EXIT_FAILURE);
    }
    return b;
}

static inline struct block *must_acquire(struct host *h, size_t bytes) {
    return must_have(h, bytes, PAGES_ANY);
}

/* The owner's mark in the first and the last word of what it asked for. */
static inline void stamp(const struct block *b, size_t mark) {
    memcpy(b->address, &mark, sizeof mark);
    memcpy(b->address + b->requested_bytes - sizeof mark, &mark, sizeof mark);
}

static inline bool is_stamped(const struct block *b, size_t mark) {
    return memcmp(b->address, &mark, sizeof mark) == 0 &&
           memcmp(b->address + b->requested_bytes - sizeof mark, &mark, sizeof mark) == 0;
}

/* Threads number 0 to THREADS - 1, each with its number as the argument, run to their ends. */
static inline void run_threads(void *(*body)(void *number)) {
    pthread_t threads[THREADS];
    (void)alarm(SECONDS_MAX);
    for (size_t i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, body, (void *)i) != 0) {
            (void)printf("Bail out! no threads\n");
            exit(EXIT_FAILURE);
        }
    }
    for (size_t i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

#endif
