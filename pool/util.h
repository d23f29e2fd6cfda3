/*
 * util.h - the few words that every file speaks.
 */
#ifndef POOL_UTIL_H
#define POOL_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TIB ((size_t)1 << 40)

#define PAGE (4 * KIB)

/* Blocks start on a granule: the size of a huge page, and of one entry of the address map. */
#define GRANULE (2 * MIB)

/* The limit of what has none. */
#define UNLIMITED SIZE_MAX

/* What two processors pass back and forth at once. */
#define CACHE_LINE 64

#define MUST_CHECK __attribute__((warn_unused_result))
/* A way that few take, kept apart so that the way of the many needs no stack. */
#define ASIDE __attribute__((noinline))
/* A way of all requests: a call would take a fiftieth of a hit. */
#define HOT static inline __attribute__((always_inline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* The nearest multiple of `unit`, a power of two, that is not below n. Wraps to 0 at the top. */
static inline size_t round_up(size_t n, size_t unit) {
    return (n + unit - 1) & ~(unit - 1);
}

static inline size_t round_down(size_t n, size_t unit) {
    return n & ~(unit - 1);
}

static inline bool is_power_of_two(size_t n) {
    return n != 0 && (n & (n - 1)) == 0;
}

static inline size_t size_min(size_t a, size_t b) {
    return a < b ? a : b;
}

static inline size_t size_max(size_t a, size_t b) {
    return a > b ? a : b;
}

/* a - b, or 0 where that would be negative. */
static inline size_t size_minus(size_t a, size_t b) {
    return a > b ? a - b : 0;
}

#endif
