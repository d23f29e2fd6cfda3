/*
 * Threads fork while others work: every child finds its pools sound, its own blocks intact, and
 * can go on allocating.
 */
#include <sys/wait.h>

#include "tests/stress/stress.h"

enum {
    FORKS = 100,
    HELD = 4
};

static struct host host;
static atomic_int forking = THREADS / 2;

static void hold(struct block *held[HELD], unsigned *seed, size_t mark) {
    for (int i = 0; i < HELD; i++) {
        held[i] = must_acquire(&host, any_size(seed));
        stamp(held[i], mark);
    }
}

static void check_and_let_go(struct block *held[HELD], size_t mark) {
    for (int i = 0; i < HELD; i++) {
        expect(is_stamped(held[i], mark), "held blocks are intact");
        expect(host_release(&host, held[i], 1), "held blocks can be released");
    }
}

/* In the child: what the forking thread holds is there, and idle memory of the parent is zero. */
static int live_in_child(struct block *held[HELD], unsigned *seed, size_t mark) {
    (void)alarm(SECONDS_MAX / 2);
    host_after_fork_in_child(&host);
    expect(pool_is_valid(&host.pools[0]), "the child's pool is valid");
    expect(pool_idle_bytes(&host.pools[0]) == 0, "the child begins without idle blocks");
    check_and_let_go(held, mark);
    (void)host_trim(&host);
    for (int i = 0; i < 20; i++) {
        struct block *b = must_acquire(&host, any_size(seed));
        expect(is_stamped(b, 0), "fresh memory of the child is zero");
        stamp(b, mark);
    }
    expect(pool_is_valid(&host.pools[0]), "the child's pool stays valid");
    return atomic_load(&stress_failed) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void fork_once(unsigned *seed, size_t mark) {
    struct block *held[HELD];
    hold(held, seed, mark);
    host_before_fork(&host);
    pid_t child = fork();
    if (child == 0) {
        _exit(live_in_child(held, seed, mark));
    }
    host_after_fork_in_parent(&host);
    int status = -1;
    expect(child > 0 && waitpid(child, &status, 0) == child && status == 0, "the child is well");
    check_and_let_go(held, mark);
}

static void *work(void *number) {
    size_t mark = (uintptr_t)number + 1;
    unsigned seed = (unsigned)mark;
    if (mark % 2 == 0) {
        int forks = rounds_of(FORKS);
        for (int i = 0; i < forks; i++) {
            fork_once(&seed, mark);
        }
        atomic_fetch_sub(&forking, 1);
        return NULL;
    }
    while (atomic_load(&forking) > 0) {
        struct block *held[HELD];
        hold(held, &seed, mark);
        check_and_let_go(held, mark);
        if (chance(&seed, 20) == 0) {
            (void)host_trim(&host);
        }
    }
    return NULL;
}

int main(void) {
    start_host(&host, SIZE_MAX);
    run_threads(work);
    expect(pool_is_valid(&host.pools[0]), "the pool is valid");
    expect(gauge_current(&host.pools[0].own.stats.allocated_bytes) == 0, "nothing is live");
    return verdict("forks_amid_threads");
}
