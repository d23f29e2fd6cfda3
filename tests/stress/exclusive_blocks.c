/*
 * Threads acquire, zero, resize, release, discard and drain at random: no two ever own the same
 * block.
 */
#include "tests/stress/stress.h"

enum {
    SLOTS = 12,
    STEPS = 2500
};

static struct host host;

struct slot {
    struct block *b;
    size_t mark;
};

static void fill_slot(struct slot *s, unsigned *seed) {
    bool zeroed = chance(seed, 8) == 0;
    s->b = must_have(&host, any_size(seed), zeroed ? PAGES_ZERO : PAGES_ANY);
    expect(!zeroed || is_stamped(s->b, 0), "zeroed memory is zero");
    stamp(s->b, s->mark);
}

static void resize_slot(struct slot *s, unsigned *seed) {
    struct block *b = host_resize(&host, s->b, any_size(seed), chance(seed, 100));
    expect(b != NULL, "there is memory for a resize");
    s->b = b != NULL ? b : s->b;
    stamp(s->b, s->mark);
}

static void step(struct slot *s, unsigned *seed) {
    if (s->b == NULL) {
        fill_slot(s, seed);
        return;
    }
    expect(is_stamped(s->b, s->mark), "nobody else wrote into an owned block");
    if (chance(seed, 4) == 0) {
        resize_slot(s, seed);
        return;
    }
    struct pool *p = s->b->home;
    bool discard = chance(seed, 10) == 0;
    expect(discard ? pool_discard(p, s->b, &p->own.stats.outgrown_bytes)
                   : host_release(&host, s->b, chance(seed, 100)),
           "an owned block can be released");
    s->b = NULL;
}

static void *live(void *number) {
    unsigned seed = (unsigned)(uintptr_t)number + 1;
    struct slot slots[SLOTS] = {{0}};
    for (size_t i = 0; i < SLOTS; i++) {
        slots[i].mark = ((uintptr_t)number + 1) * 1000 + i;
    }
    int steps = rounds_of(STEPS);
    for (int i = 0; i < steps; i++) {
        step(&slots[chance(&seed, SLOTS)], &seed);
        if (chance(&seed, 500) == 0) {
            (void)host_trim(&host);
        }
    }
    for (size_t i = 0; i < SLOTS; i++) {
        expect(slots[i].b == NULL || host_release(&host, slots[i].b, 0), "all is released");
    }
    return NULL;
}

int main(void) {
    start_host(&host, 40 * MIB);
    run_threads(live);
    expect(pool_is_valid(&host.pools[0]), "the pool is valid");
    expect(gauge_current(&host.pools[0].own.stats.allocated_bytes) == 0, "nothing is live");
    expect(pool_idle_bytes(&host.pools[0]) <= 40 * MIB, "no more is idle than the cap allows");
    return verdict("exclusive_blocks");
}
