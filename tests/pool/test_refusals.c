/*
 * Every system call of the host's memory is refused once, at every point of a day in its life, and
 * from every point on: nothing crashes, nothing is lost, and afterwards all is well again.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool/host.h"
#include "tests/pool/inject.h"
#include "tests/pool/memory.h"

enum {
    SLOTS = 6
};

/* What the program holds, and the byte that it wrote everywhere. NULL: the request was refused. */
struct slot {
    struct block *b;
    char value;
};

struct day {
    struct host host;
    struct slot slots[SLOTS];
    bool failed;
};

static const struct host_config CONFIG = {.addresses = 256 * MIB,
                                          .cache_max = 12 * MIB,
                                          .memory_limit = 1 * GIB,
                                          .mappings_limit = 40,
                                          .thp = THP_AUTO};

/* Also in forked children, where Criterion's own words are not to be used. */
static void check(struct day *d, bool holds, const char *what) {
    if (!holds && !d->failed) {
        (void)dprintf(STDERR_FILENO, "# %s\n", what);
        d->failed = true;
    }
}

static void check_contents(struct day *d) {
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *s = &d->slots[i];
        if (s->b != NULL) {
            check(d, block_state(s->b) == BLOCK_LIVE, "a held block is live");
            check(d, is_all(s->b->address, s->b->requested_bytes, s->value), "contents are intact");
        }
    }
    check(d, pool_is_valid(&d->host.pools[0]), "the pool is valid");
}

static void acquire(struct day *d, int slot, size_t bytes, bool zeroed) {
    enum fill_result result = FILL_OK;
    struct slot *s = &d->slots[slot];
    s->b = host_acquire(&d->host, bytes, &result);
    if (s->b == NULL) {
        check(d, result == FILL_REFUSED, "a refusal is told as one");
        return;
    }
    if (zeroed) {
        pool_zero(s->b->home, s->b);
        check(d, is_all(s->b->address, bytes, 0), "zeroed memory is zero");
    }
    s->value = (char)(slot + 1);
    memset(s->b->address, s->value, bytes);
    check_contents(d);
}

static void release(struct day *d, int slot) {
    struct slot *s = &d->slots[slot];
    if (s->b != NULL) {
        check(d, host_release(&d->host, s->b, 1), "a live block can be released");
    }
    s->b = NULL;
    check_contents(d);
}

static struct day *forked;

static bool child_is_sound(void) {
    struct day *d = forked;
    host_after_fork_in_child(&d->host);
    d->failed = false;
    check_contents(d);
    for (int i = 0; i < SLOTS; i++) {
        release(d, i);
    }
    acquire(d, 0, 5 * MIB, true);
    acquire(d, 1, 36 * MIB, true);
    acquire(d, 2, 5 * MIB, false);
    return !d->failed;
}

static void fork_once(struct day *d) {
    forked = d;
    host_before_fork(&d->host);
    bool sound = true_in_child(child_is_sound);
    host_after_fork_in_parent(&d->host);
    check(d, sound, "the child is sound");
    check_contents(d);
}

/* Gaps, whole granules, hits, misses, the cap, large zeroing, a fork, and blocks filled again. */
static void live_through(struct day *d) {
    acquire(d, 0, 5 * MIB, true);
    acquire(d, 1, 4 * MIB, false);
    acquire(d, 2, 36 * MIB, true);
    acquire(d, 3, 1 * MIB, false);
    release(d, 1);
    release(d, 0);
    acquire(d, 0, 5 * MIB - 1, true);
    release(d, 3);
    fork_once(d);
    release(d, 2);
    acquire(d, 2, 36 * MIB, true);
    d->host.cache_max = 64 * MIB;
    release(d, 2);
    acquire(d, 2, 36 * MIB, true);
    acquire(d, 4, 4 * MIB, true);
    release(d, 0);
    (void)host_drain(&d->host);
    acquire(d, 5, 5 * MIB, true);
    host_arena_shrink(&d->host.arena, 100 * MIB);
    check_contents(d);
}

/* After the refusals, all that was asked for in vain is to be had. */
static void recover(struct day *d) {
    for (int i = 0; i < SLOTS; i++) {
        release(d, i);
    }
    (void)host_drain(&d->host);
    acquire(d, 0, 5 * MIB, true);
    acquire(d, 1, 4 * MIB, true);
    acquire(d, 2, 36 * MIB, true);
    check(d, d->slots[0].b != NULL && d->slots[1].b != NULL && d->slots[2].b != NULL,
          "there is memory again");
    if (d->slots[0].b != NULL) {
        check(d, !has_flag(d->slots[0].b->address, "wf"), "nothing in use is wiped on fork");
    }
}

static void end(struct day *d) {
    (void)munmap(d->host.arena.base, d->host.arena.bytes);
    (void)munmap((void *)d->host.arena.map, d->host.arena.bytes / GRANULE * sizeof(void *));
}

/* A day on which `count` calls of a kind are refused from the n-th on. How many such calls came? */
static size_t day_with(enum call call, size_t n, size_t count) {
    static struct day d;
    memset(&d, 0, sizeof d);
    inject_nothing();
    cr_assert(host_start(&d.host, &CONFIG));
    inject_failures(call, n, count);
    live_through(&d);
    size_t calls = inject.calls[call];
    inject_nothing();
    recover(&d);
    end(&d);
    cr_assert(not(d.failed), "call %d, refused from number %zu on, %zu times", (int)call, n, count);
    return calls;
}

static void refuse_at_every_point(enum call call, size_t count) {
    size_t calls = day_with(call, 0, 0);
    cr_assert(gt(sz, calls, 0), "a day without such a call shows nothing");
    for (size_t n = 1; n <= calls; n++) {
        (void)day_with(call, n, count);
    }
}

Test(refusals, of_one_mmap_anywhere_cost_nothing_but_that_request) {
    refuse_at_every_point(CALL_MMAP, 1);
}

Test(refusals, of_all_mmaps_from_anywhere_on_are_survived) {
    refuse_at_every_point(CALL_MMAP, SIZE_MAX);
}

Test(refusals, of_one_mprotect_anywhere_cost_nothing_but_that_request) {
    refuse_at_every_point(CALL_MPROTECT, 1);
}

Test(refusals, of_all_mprotects_from_anywhere_on_are_survived) {
    refuse_at_every_point(CALL_MPROTECT, SIZE_MAX);
}

Test(refusals, of_one_madvise_anywhere_cost_nothing) {
    refuse_at_every_point(CALL_MADVISE, 1);
}

Test(refusals, of_all_madvises_from_anywhere_on_are_survived) {
    refuse_at_every_point(CALL_MADVISE, SIZE_MAX);
}

Test(refusals, of_munmap_lose_addresses_only) {
    refuse_at_every_point(CALL_MUNMAP, 1);
}

Test(refusals, of_names_for_mappings_do_not_matter) {
    refuse_at_every_point(CALL_PRCTL, SIZE_MAX);
}

/* All kinds at once, as where the limit of mappings is reached. */
Test(refusals, of_everything_for_a_while_are_survived) {
    static struct day d;
    inject_nothing();
    cr_assert(host_start(&d.host, &CONFIG));
    for (enum call call = CALL_MMAP; call <= CALL_PRCTL; call++) {
        inject_failures(call, 3, 8);
    }
    live_through(&d);
    inject_nothing();
    recover(&d);
    end(&d);
    cr_expect(not(d.failed));
}

static bool starts_after(size_t refused, struct host *h) {
    memset(h, 0, sizeof *h);
    inject_failures(CALL_MMAP, 1, refused);
    bool started = host_start(h, &CONFIG);
    inject_nothing();
    return started;
}

Test(refusals, at_the_start_halve_the_arena_until_it_is_not_worth_having) {
    static struct host h;
    for (size_t refused = 0; refused <= 5; refused++) {
        cr_assert(starts_after(refused, &h), "%zu refused", refused);
        cr_assert(eq(sz, h.arena.bytes, (256 * MIB) >> refused));
    }
    cr_expect(not(starts_after(6, &h)), "4 MiB");
}
