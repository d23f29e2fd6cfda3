/*
 * Blocks are released by other threads than acquired them, as in a queue of a data loader.
 */
#include "tests/stress/stress.h"

enum {
    ROUNDS = 40000,
    LETTERBOXES = 8
};

static struct host host;
static _Atomic(struct block *) letterboxes[LETTERBOXES];

/* The mark of a block is its address: whoever finds another one shares it with somebody. */
static void *exchange(void *number) {
    unsigned seed = (unsigned)(uintptr_t)number + 1;
    int rounds = rounds_of(ROUNDS);
    for (int i = 0; i < rounds; i++) {
        struct block *mine = must_acquire(&host, any_size(&seed));
        stamp(mine, (uintptr_t)mine->address);
        struct block *other = atomic_exchange(&letterboxes[chance(&seed, LETTERBOXES)], mine);
        if (other != NULL) {
            expect(is_stamped(other, (uintptr_t)other->address), "what was sent is received");
            stamp(other, 0);
            expect(host_release(&host, other, (uint64_t)i), "a received block can be released");
        }
    }
    return NULL;
}

int main(void) {
    start_host(&host, 64 * MIB);
    run_threads(exchange);
    for (int i = 0; i < LETTERBOXES; i++) {
        struct block *left = letterboxes[i];
        expect(left == NULL || host_release(&host, left, 0), "what is left can be released");
    }
    expect(pool_is_valid(&host.pools[0]), "the pool is valid");
    expect(gauge_current(&host.pools[0].own.stats.requested_bytes) == 0, "nothing is live");
    return verdict("handed_over_blocks");
}
