/*
 * trace.h - when the records of BIGMALLOC_TRACE are made (pool/trace.h): samples of all pools, and events.
 *
 * No thread lives for them. A sample is taken by the free, or the request without an idle block, that finds one
 * due, and by the helper thread while it is there; it tells of all that was since the last one. What is
 * entered goes to the file when a chunk is full, and once a second.
 *
 * A child of fork has a file of its own, made when it has something to write.
 * Functions are thread-safe, not async-signal-safe, and preserve errno.
 */
#ifndef INTERPOSE_TRACE_H
#define INTERPOSE_TRACE_H

#include <stdatomic.h>

#include "pool/block.h"
#include "pool/clock.h"
#include "pool/util.h"

extern atomic_bool trace_is_on;

/* Before a request is served: the time, for the functions below; 0: nobody wants to know. */
static inline uint64_t trace_start_ns(void) {
    bool on = atomic_load_explicit(&trace_is_on, memory_order_relaxed);
    return UNLIKELY(on) ? clock_ns() : 0;
}

/* What became of it: b, which may be NULL, with the result of host_acquire; the block at `address` was taken back;
 * the block at `old` is b now. */
ASIDE void trace_acquired(const struct block *b, size_t bytes, enum fill_result result,
                          uint64_t start_ns);
ASIDE void trace_acquired_on_device(const struct block *b, size_t bytes, bool is_new,
                                    uint64_t start_ns);
ASIDE void trace_released(const void *address, uint64_t start_ns);
ASIDE void trace_resized(const void *old, const struct block *b, size_t bytes, uint64_t start_ns);

/* Does what is due. */
void trace_tick(uint64_t now_ms);

/* Writes what is not yet in the file. */
void trace_flush(void);

/* Begins where the user wants it: once, when the pools are there, while requests are passed through. */
void trace_open(void);

/* The last sample, what symbols are found by, and the end. */
void trace_at_exit(void);

/* Around fork(2), innermost. */
void trace_before_fork(void);
void trace_after_fork_in_parent(void);
void trace_after_fork_in_child(void);

#endif
