/*
 * quarantine.h - blocks that the program has freed, and whose last use nobody has waited for yet.
 *
 *     newest -> ... -> oldest      numbered as they come, from 1 on
 *
 * Whoever waits asks for the end before and takes what is below it after: what came meanwhile stays, and a
 * block that was handed out and freed again in the meantime is another one. Blocks stay in the list while somebody
 * waits, for those who forget their context.
 *
 * Functions are thread-safe and not async-signal-safe.
 */
#ifndef CUDA_HOOKS_QUARANTINE_H
#define CUDA_HOOKS_QUARANTINE_H

#include "pool/block.h"
#include "pool/lock.h"

/* Zero-initialise. Everything under the lock. */
struct quarantine {
    struct lock lock;
    struct block *newest; /* chained by `older`; each with its number in freed_ms */
    unsigned count;
    size_t bytes;
    uint64_t since_ms; /* when the oldest came */
    uint64_t last;     /* the highest number ever given */
};

/* Takes a block that is held (pool_hold). */
void quarantine_add(struct quarantine *q, struct block *b, uint64_t now_ms) EXCLUDES(q->lock);

/* The number below which all are that are in it now; 0: none is. */
uint64_t quarantine_end(struct quarantine *q) EXCLUDES(q->lock);

/* Takes out those below that number, chained by `older`; NULL: there are none. */
#define QUARANTINE_ALL UINT64_MAX
struct block *quarantine_take(struct quarantine *q, uint64_t below) EXCLUDES(q->lock);

unsigned quarantine_count(struct quarantine *q) EXCLUDES(q->lock);
size_t quarantine_bytes(struct quarantine *q) EXCLUDES(q->lock);

/* Is there a block in it that came before? */
bool quarantine_holds_since(struct quarantine *q, uint64_t before_ms) EXCLUDES(q->lock);

#endif
