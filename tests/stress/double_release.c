/*
 * All threads release the same block at once: exactly one succeeds, and nobody owns it twice.
 */
#include "tests/stress/stress.h"

enum {
    ROUNDS = 10000
};

static struct host host;
static pthread_barrier_t barrier;
static struct block *contested;
static atomic_int winners;

static void *release_at_once(void *number) {
    int rounds = rounds_of(ROUNDS);
    for (int i = 0; i < rounds; i++) {
        if (number == NULL) {
            contested = must_acquire(&host, 1 * MIB);
            atomic_store(&winners, 0);
        }
        (void)pthread_barrier_wait(&barrier);
        if (host_release(&host, contested, (uint64_t)i)) {
            atomic_fetch_add(&winners, 1);
        }
        (void)pthread_barrier_wait(&barrier);
        expect(atomic_load(&winners) == 1, "one release succeeds");
        (void)pthread_barrier_wait(&barrier);
    }
    return NULL;
}

int main(void) {
    start_host(&host, SIZE_MAX);
    (void)pthread_barrier_init(&barrier, NULL, THREADS);
    run_threads(release_at_once);
    expect(pool_is_valid(&host.pools[0]), "the pool is valid");
    expect(pool_idle_bytes(&host.pools[0]) == 1 * MIB, "there is one block");
    return verdict("double_release");
}
