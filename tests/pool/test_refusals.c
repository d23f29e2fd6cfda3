/*
 * Every system call of the host's memory is refused once, at every point of a day in its life, and
 * from every point on: nothing crashes, nothing is lost, and afterwards all is well again.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
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
    size_t bytes;
    char value;
};

struct day {
    struct host host;
    struct slot slots[SLOTS];
    bool failed;
};

static const struct host_config CONFIG = {
    .addresses = 256 * MIB,
    .retention = {.cache_max = 12 * MIB, .memory_limit = 1 * GIB, .decay_ms = 10000},
    .mappings_limit = 40,
    .thp = THP_AUTO,
    .recycle = true};

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
    s->b = host_acquire(&d->host, bytes, zeroed ? PAGES_ZERO : PAGES_ANY, &result);
    if (s->b == NULL) {
        check(d, result == FILL_REFUSED, "a refusal is told as one");
        return;
    }
    if (zeroed) {
        check(d, is_all(s->b->address, bytes, 0), "zeroed memory is zero");
    }
    s->bytes = bytes;
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

/* As realloc does it. The program writes into what is new. */
static void resize(struct day *d, int slot, size_t bytes) {
    struct slot *s = &d->slots[slot];
    struct block *b = s->b != NULL ? host_resize(&d->host, s->b, bytes, 1) : NULL;
    if (b != NULL) {
        check(d, b->requested_bytes == bytes, "a block serves what it was asked for");
        size_t kept = size_min(bytes, s->bytes);
        check(d, is_all(b->address, kept, s->value), "contents come along");
        memset(b->address, s->value, bytes);
        s->b = b;
        s->bytes = bytes;
    }
    check_contents(d);
}

/* Pages are lent, whole blocks and parts of them, and come and go with the data of realloc. */
static void live_by_lending(struct day *d) {
    d->host.retention.cache_max = d->host.share.cache_max = 64 * MIB;
    acquire(d, 0, 9 * MIB, false);
    acquire(d, 1, 16 * MIB, false);
    release(d, 0);
    acquire(d, 2, 6 * MIB, true);
    release(d, 1);
    acquire(d, 3, 12 * MIB, false);
    acquire(d, 4, 9 * MIB, true);
    resize(d, 2, 20 * MIB);
    resize(d, 3, 3 * MIB);
    acquire(d, 0, 8 * MIB, true);
    resize(d, 4, 18 * MIB);
    fork_once(d);
    resize(d, 2, 1 * MIB);
    release(d, 4);
    acquire(d, 5, 24 * MIB, true);
    (void)host_tick(&d->host, 20000, PRESSURE_NONE);
    acquire(d, 1, 16 * MIB, true);
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
    d->host.retention.cache_max = d->host.share.cache_max = 64 * MIB;
    release(d, 2);
    acquire(d, 2, 36 * MIB, true);
    acquire(d, 4, 4 * MIB, true);
    release(d, 0);
    (void)host_trim(&d->host);
    acquire(d, 5, 5 * MIB, true);
    host_shrink(&d->host, 100 * MIB);
    check_contents(d);
}

/* After the refusals, all that was asked for in vain is to be had. */
static void recover(struct day *d) {
    for (int i = 0; i < SLOTS; i++) {
        release(d, i);
    }
    (void)host_trim(&d->host);
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

static void (*life)(struct day *d) = live_through;
static enum hole hole;
static int error;

/* A day on which `count` calls of a kind are refused from the n-th on. How many such calls came? */
static size_t day_with(enum call call, size_t n, size_t count) {
    static struct day d;
    memset(&d, 0, sizeof d);
    inject_nothing();
    cr_assert(host_start(&d.host, &CONFIG));
    inject.mremap_hole = hole;
    inject.error = error;
    inject_failures(call, n, count);
    life(&d);
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

static void lend_and_refuse(enum call call, size_t count, enum hole what_is_left) {
    life = live_by_lending;
    hole = what_is_left;
    refuse_at_every_point(call, count);
}

Test(refusals, of_one_mmap_cost_nothing_where_pages_are_lent) {
    lend_and_refuse(CALL_MMAP, 1, HOLE_NONE);
}

Test(refusals, of_all_mmaps_from_anywhere_on_are_survived_where_pages_are_lent) {
    lend_and_refuse(CALL_MMAP, SIZE_MAX, HOLE_NONE);
}

Test(refusals, of_one_mprotect_cost_nothing_where_pages_are_lent) {
    lend_and_refuse(CALL_MPROTECT, 1, HOLE_NONE);
}

Test(refusals, of_all_mprotects_from_anywhere_on_are_survived_where_pages_are_lent) {
    lend_and_refuse(CALL_MPROTECT, SIZE_MAX, HOLE_NONE);
}

Test(refusals, of_one_madvise_cost_nothing_where_pages_are_lent) {
    lend_and_refuse(CALL_MADVISE, 1, HOLE_NONE);
}

Test(refusals, of_all_madvises_from_anywhere_on_are_survived_where_pages_are_lent) {
    lend_and_refuse(CALL_MADVISE, SIZE_MAX, HOLE_NONE);
}

Test(refusals, of_one_mremap_that_unmapped_nothing_cost_nothing) {
    lend_and_refuse(CALL_MREMAP, 1, HOLE_NONE);
}

Test(refusals, of_one_mremap_for_its_pages_alone_cost_nothing) {
    error = EFAULT;
    lend_and_refuse(CALL_MREMAP, 1, HOLE_LEFT);
}

Test(refusals, of_all_mremaps_for_their_pages_from_anywhere_on_are_survived) {
    error = EFAULT;
    lend_and_refuse(CALL_MREMAP, SIZE_MAX, HOLE_LEFT);
}

Test(refusals, of_one_mremap_for_its_pages_whose_hole_a_stranger_took_cost_only_addresses) {
    error = EFAULT;
    lend_and_refuse(CALL_MREMAP, 1, HOLE_TAKEN);
}

Test(refusals, of_one_mremap_that_left_a_hole_cost_nothing) {
    lend_and_refuse(CALL_MREMAP, 1, HOLE_LEFT);
}

Test(refusals, of_one_mremap_whose_hole_a_stranger_took_cost_nothing_but_addresses) {
    lend_and_refuse(CALL_MREMAP, 1, HOLE_TAKEN);
}

Test(refusals, of_all_mremaps_from_anywhere_on_are_survived) {
    lend_and_refuse(CALL_MREMAP, SIZE_MAX, HOLE_LEFT);
}

Test(refusals, of_two_mremaps_with_strangers_in_their_holes_are_survived) {
    lend_and_refuse(CALL_MREMAP, 2, HOLE_TAKEN);
}

/* A hole that cannot be mapped again is nobody's. */
Test(refusals, of_mremap_and_what_would_mend_it_are_survived) {
    static struct day d;
    for (size_t n = 1; n <= 12; n++) {
        memset(&d, 0, sizeof d);
        inject_nothing();
        cr_assert(host_start(&d.host, &CONFIG));
        inject.mremap_hole = HOLE_LEFT;
        inject_failures(CALL_MREMAP, n, SIZE_MAX);
        inject_failures(CALL_MMAP, 3 + n, 4);
        live_by_lending(&d);
        inject_nothing();
        recover(&d);
        end(&d);
        cr_assert(not(d.failed), "from number %zu on", n);
    }
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
