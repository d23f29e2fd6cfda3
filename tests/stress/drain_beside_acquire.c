/*
 * Half of the threads give back all idle memory all the time, while the others use it.
 */
#include "tests/stress/stress.h"

enum {
    ROUNDS = 1000
};

static struct host host;
static atomic_int users = THREADS / 2;

static void use_blocks(size_t mark) {
    unsigned seed = (unsigned)mark;
    int rounds = rounds_of(ROUNDS);
    for (int i = 0; i < rounds; i++) {
        bool zeroed = chance(&seed, 4) == 0;
        struct block *b = must_have(&host, any_size(&seed), zeroed ? PAGES_ZERO : PAGES_ANY);
        expect(!zeroed || is_stamped(b, 0), "zeroed memory is zero");
        stamp(b, mark);
        expect(is_stamped(b, mark), "a drain leaves live blocks alone");
        expect(host_release(&host, b, (uint64_t)i), "a live block can be released");
    }
    atomic_fetch_sub(&users, 1);
}

static void *work(void *number) {
    if ((uintptr_t)number % 2 == 0) {
        use_blocks((uintptr_t)number + 1);
        return NULL;
    }
    while (atomic_load(&users) > 0) {
        (void)host_trim(&host);
        (void)host_tick(&host, UINT64_MAX - 1, PRESSURE_CLEANUP);
    }
    return NULL;
}

int main(void) {
    start_host(&host, SIZE_MAX);
    run_threads(work);
    (void)host_trim(&host);
    expect(pool_is_valid(&host.pools[0]), "the pool is valid");
    expect(gauge_current(&host.pools[0].own.stats.reserved_bytes) == 0, "all memory went back");
    return verdict("drain_beside_acquire");
}
