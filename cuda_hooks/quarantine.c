#include "cuda_hooks/quarantine.h"

void quarantine_add(struct quarantine *q, struct block *b, uint64_t now_ms) {
    lock_acquire(&q->lock);
    q->since_ms = q->newest == NULL ? now_ms : q->since_ms;
    b->freed_ms = ++q->last;
    b->older = q->newest;
    q->newest = b;
    q->count++;
    q->bytes += extent_bytes(block_held(b));
    lock_release(&q->lock);
}

uint64_t quarantine_end(struct quarantine *q) {
    lock_acquire(&q->lock);
    uint64_t end = q->newest != NULL ? q->last + 1 : 0;
    lock_release(&q->lock);
    return end;
}

/* They are the rest of the list, from some block on. */
struct block *quarantine_take(struct quarantine *q, uint64_t below) {
    lock_acquire(&q->lock);
    struct block **link = &q->newest;
    unsigned stay = 0;
    size_t stay_bytes = 0;
    for (; *link != NULL && (*link)->freed_ms >= below; link = &(*link)->older) {
        stay++;
        stay_bytes += extent_bytes(block_held(*link));
    }
    struct block *taken = *link;
    *link = NULL;
    q->count = stay;
    q->bytes = stay_bytes;
    lock_release(&q->lock);
    return taken;
}

unsigned quarantine_count(struct quarantine *q) {
    lock_acquire(&q->lock);
    unsigned count = q->count;
    lock_release(&q->lock);
    return count;
}

size_t quarantine_bytes(struct quarantine *q) {
    lock_acquire(&q->lock);
    size_t bytes = q->bytes;
    lock_release(&q->lock);
    return bytes;
}

bool quarantine_holds_since(struct quarantine *q, uint64_t before_ms) {
    lock_acquire(&q->lock);
    bool since = q->newest != NULL && q->since_ms < before_ms;
    lock_release(&q->lock);
    return since;
}
