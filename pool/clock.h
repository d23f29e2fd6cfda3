/*
 * clock.h - the time that policies are given.
 */
#ifndef POOL_CLOCK_H
#define POOL_CLOCK_H

#include <stdint.h>
#include <time.h>

/* A time that does not come. */
#define NEVER UINT64_MAX

/* Milliseconds of the monotonic clock, a tick behind at most: 4 ns, where the exact clock takes 18.
 * Thread-safe, async-signal-safe. clock_gettime(2), CLOCK_MONOTONIC_COARSE. */
static inline uint64_t clock_coarse_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Microseconds of the same clock, exactly. Thread-safe, async-signal-safe. */
static inline uint64_t clock_us(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Nanoseconds of it. */
static inline uint64_t clock_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Microseconds since 1970, as the machine believes. clock_gettime(2), CLOCK_REALTIME. */
static inline uint64_t clock_unix_us(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

#endif
