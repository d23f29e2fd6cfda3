/*
 * life.h - from the first instruction of a process to its last.
 *
 *                first large request          exit, or no pools to be had
 *     UNSTARTED ---------------------> LOADING ----------> READY ----------> EXITING
 *                                                          |  ^ first large request
 *                                             in the child v  | of a child
 *                                              of a fork  FORKED
 *
 * In LOADING large requests are jemalloc's, ours and those of other threads, which do not wait: they may hold
 * what the opening needs, as the loader's lock in a constructor. They are counted as passed. In EXITING the
 * threshold is SIZE_MAX: whatever is asked for then is small, and jemalloc's. So no state needs a guard
 * against recursion. A process that never makes a large request never leaves UNSTARTED.
 */
#ifndef INTERPOSE_LIFE_H
#define INTERPOSE_LIFE_H

#include <stdatomic.h>

#include "pool/host.h"
#include "pool/options.h"
#include "pool/util.h"

/* Requests of this size and more are large. */
extern _Atomic size_t life_threshold;

/* The pools, empty until READY. Their arena owns no address before. */
extern struct host life_host;

/* What the user chose: constant once the constructor has run, defaults of zero before. */
extern struct options life_options;

static inline bool life_is_large(size_t bytes) {
    return bytes >= atomic_load_explicit(&life_threshold, memory_order_relaxed);
}

/* Are the pools open? If this is the first large request, opens them. Thread-safe. */
MUST_CHECK bool life_ready(void);

/* Counts a large request that was left to jemalloc, as the pools were just being opened. */
void life_count_passed(void);

/* Was there ever a large request? */
bool life_has_begun(void);

/* The process that our state belongs to, as getpid(2) says it; not that of a vfork child. */
bool life_is_owner(void);

/* The pools of the nodes, then those of CUDA's contexts, from *cursor on (0 at first); NULL at the end.
 * Async-signal-safe. */
struct pool *life_next_pool(size_t *cursor);

/* The process ends, once: what is to be said at exit, and no live file any more. Allocates nothing, takes no
 * lock of ours. */
void life_end(void);

/* Was it made by fork, rather than by exec? Its figures are its own, its threads' and parent's not. */
bool life_is_forked(void);

#endif
