/*
 * A model of the whole host: threads acquire, resize, release and give back blocks of 1 to 40 MiB at
 * random, so that pages are lent all the time, and every page of every block tells whose it is.
 * First one thread with a look at all figures after each step, then all of them, with forks whose
 * children find the blocks of their parent's thread as they were.
 */
#include <sys/wait.h>

#include "tests/stress/stress.h"

enum {
    SLOTS = 2,
    STEPS_ALONE = 200,
    STEPS = 100,
    FORK_EVERY = 50
};

static struct host host;
static atomic_size_t next_owner = 1;

/* A block that the program holds, and who holds it: nobody else was ever given that number. */
struct slot {
    struct block *b;
    size_t owner;
};

struct program {
    struct slot slots[SLOTS];
    unsigned seed;
    uint64_t now_ms;
};

/* 1 to 40 MiB; small ones are more frequent. */
static size_t some_size(unsigned *seed) {
    return 1 * MIB + size_min(chance(seed, 39 * MIB), chance(seed, 39 * MIB));
}

/* ---- what is in a block ---- */

/* One word of every page, another one in each, up to the last page that was asked for. */
static size_t word_of(size_t owner, size_t offset) {
    return owner << 32 ^ offset;
}

static char *word_at(const struct block *b, size_t offset) {
    return b->address + offset + offset / PAGE * sizeof(size_t) % PAGE;
}

static size_t read_word(const struct block *b, size_t offset) {
    size_t word = 0;
    memcpy(&word, word_at(b, offset), sizeof word);
    return word;
}

static void write_pages(const struct slot *s, size_t from) {
    for (size_t at = round_down(from, PAGE); at < s->b->requested_bytes; at += PAGE) {
        size_t word = word_of(s->owner, at);
        memcpy(word_at(s->b, at), &word, sizeof word);
    }
}

static bool pages_are_ours(const struct slot *s, size_t bytes) {
    for (size_t at = 0; at < bytes; at += PAGE) {
        if (read_word(s->b, at) != word_of(s->owner, at)) {
            return false;
        }
    }
    return true;
}

static bool pages_are_zero(const struct block *b) {
    size_t sum = 0;
    for (size_t at = 0; at < b->requested_bytes; at += PAGE) {
        sum |= read_word(b, at);
    }
    return sum == 0;
}

/* ---- what the program does ---- */

static void acquire(struct program *p, struct slot *s) {
    bool zeroed = chance(&p->seed, 3) == 0;
    s->b = must_have(&host, some_size(&p->seed), zeroed ? PAGES_ZERO : PAGES_ANY);
    s->owner = atomic_fetch_add(&next_owner, 1);
    expect(!zeroed || pages_are_zero(s->b), "memory asked for as zero is zero");
    write_pages(s, 0);
}

static void resize(struct program *p, struct slot *s) {
    size_t old = s->b->requested_bytes;
    size_t bytes = some_size(&p->seed);
    struct block *b = host_resize(&host, s->b, bytes, p->now_ms);
    expect(b != NULL, "there is memory for a resize");
    if (b != NULL) {
        s->b = b;
        expect(pages_are_ours(s, size_min(old, bytes)), "contents come along with a resize");
        write_pages(s, size_min(old, bytes));
    }
}

static void release(struct program *p, struct slot *s) {
    expect(pages_are_ours(s, s->b->requested_bytes), "nobody wrote into a block that is held");
    expect(host_release(&host, s->b, p->now_ms), "a block that is held can be released");
    s->b = NULL;
}

static void give_back(struct program *p) {
    switch (chance(&p->seed, 8)) {
    case 0: (void)host_trim(&host); return;
    case 1: (void)host_tick(&host, p->now_ms, PRESSURE_CLEANUP); return;
    default: (void)host_tick(&host, p->now_ms, PRESSURE_NONE); return;
    }
}

static void step(struct program *p) {
    struct slot *s = &p->slots[chance(&p->seed, SLOTS)];
    p->now_ms += chance(&p->seed, 20);
    if (chance(&p->seed, 20) == 0) {
        give_back(p);
    } else if (s->b == NULL) {
        acquire(p, s);
    } else if (chance(&p->seed, 3) == 0) {
        resize(p, s);
    } else {
        release(p, s);
    }
}

static void release_all(struct program *p) {
    for (int i = 0; i < SLOTS; i++) {
        if (p->slots[i].b != NULL) {
            release(p, &p->slots[i]);
        }
    }
}

/* ---- forks ---- */

static int live_in_child(struct program *p) {
    (void)alarm(SECONDS_MAX / 2);
    host_after_fork_in_child(&host);
    expect(pool_is_valid(&host.pools[0]), "the child's figures agree");
    release_all(p);
    for (int i = 0; i < 10; i++) {
        step(p);
    }
    release_all(p);
    return atomic_load(&stress_failed) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void fork_once(struct program *p) {
    host_before_fork(&host);
    pid_t child = fork();
    if (child == 0) {
        _exit(live_in_child(p));
    }
    host_after_fork_in_parent(&host);
    int status = -1;
    expect(child > 0 && waitpid(child, &status, 0) == child && status == 0, "the child is well");
}

/* ---- one, then all ---- */

static void live_alone(void) {
    struct program p = {.seed = 1};
    for (int i = rounds_of(STEPS_ALONE); i > 0; i--) {
        step(&p);
        expect(pool_is_valid(&host.pools[0]), "the figures agree after each step");
    }
    release_all(&p);
}

static void *live(void *number) {
    struct program p = {.seed = (unsigned)(uintptr_t)number + 2};
    for (int i = rounds_of(STEPS); i > 0; i--) {
        step(&p);
        if (i % FORK_EVERY == 0) {
            fork_once(&p);
        }
    }
    release_all(&p);
    return NULL;
}

int main(void) {
    start_host(&host, 96 * MIB);
    host.retention.decay_ms = 300;
    live_alone();
    expect(stats_read(&host.pools[0].own.stats.recycled_blocks) > 0 ||
               !backend_can_move(&host.backends[0].backend),
           "pages were lent");
    run_threads(live);
    expect(pool_is_valid(&host.pools[0]), "the figures agree");
    expect(gauge_current(&host.pools[0].own.stats.allocated_bytes) == 0, "nothing is live");
    (void)host_trim(&host);
    expect(gauge_current(&host.pools[0].own.stats.reserved_bytes) == 0, "all memory goes back");
    return verdict("lend_model");
}
