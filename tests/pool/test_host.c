#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "pool/host.h"
#include "tests/pool/host_blocks.h"
#include "tests/pool/inject.h"
#include "tests/pool/memory.h"

static struct host host;

static void start_with(struct host_config config) {
    inject_nothing();
    cr_assert(host_start(&host, &config));
}

static void start(void) {
    start_with((struct host_config){.addresses = 1 * GIB,
                                    .retention = {.cache_max = SIZE_MAX,
                                                  .memory_limit = SIZE_MAX,
                                                  .reserve = 1 * GIB,
                                                  .decay_ms = 10000},
                                    .mappings_limit = 1000,
                                    .thp = THP_AUTO,
                                    .recycle = true});
}

static void stop(void) {
    inject_nothing();
    cr_expect(pool_is_valid(&host.pools[0]));
}

TestSuite(host, .init = start, .fini = stop);
TestSuite(host_fork, .init = start, .fini = stop);

static struct stats *stats(void) {
    return &host.pools[0].own.stats;
}

static struct block *acquire(size_t bytes) {
    return must_acquire(&host, bytes);
}

static void release(struct block *b, uint64_t now_ms) {
    must_release(&host, b, now_ms);
}

static void use(struct block *b, char value) {
    memset(b->address, value, b->requested_bytes);
}

/* ---- acquire and release ---- */

Test(host, gives_fresh_memory_first_and_the_same_again) {
    struct block *b = acquire(8 * MIB);
    cr_expect(is_all(b->address, 8 * MIB, 0));
    cr_expect(arena_owns(&host.arena, b->address));
    cr_expect(eq(ptr, arena_find(&host.arena, b->address + 8 * MIB - 1), b));
    use(b, 7);
    release(b, 1);
    cr_expect(eq(ptr, acquire(8 * MIB), b));
    cr_expect(is_all(b->address, 8 * MIB, 7), "its pages are still warm");
}

Test(host, releases_a_block_only_once) {
    struct block *b = acquire(8 * MIB);
    release(b, 1);
    cr_expect(not(host_release(&host, b, 2)));
}

Test(host, registers_all_blocks_of_a_range) {
    struct block *first = acquire(8 * MIB);
    struct block *second = acquire(8 * MIB);
    struct block *third = acquire(8 * MIB);
    cr_assert(eq(ptr, second->address, first->address + 8 * MIB), "neighbours");
    host_register(&host, first->address + 5 * MIB, 4 * MIB);
    cr_expect(eq(uint, first->registrations, 1));
    cr_expect(eq(uint, second->registrations, 1));
    cr_expect(eq(uint, third->registrations, 0));
    host_unregister(&host, first->address + 5 * MIB, 4 * MIB);
    cr_expect(eq(uint, first->registrations + second->registrations, 0));
}

Test(host, registers_nothing_outside_of_its_addresses) {
    static char elsewhere[4 * MIB];
    host_register(&host, elsewhere, sizeof elsewhere);
    host_register(&host, NULL, 16 * MIB);
}

Test(host, drains_all_that_is_idle_and_says_how_much) {
    struct block *a = acquire(8 * MIB);
    struct block *b = acquire(1 * MIB);
    struct block *live = acquire(2 * MIB);
    use(a, 1);
    use(live, 2);
    release(a, 1);
    release(b, 2);
    cr_expect(eq(sz, host_trim(&host), 9 * MIB));
    cr_expect(eq(sz, resident_bytes(a->address, 8 * MIB), 0));
    cr_expect(is_all(live->address, 2 * MIB, 2));
    cr_expect(eq(sz, host_trim(&host), 0));
    cr_expect(eq(sz, stats_read(&stats()->trimmed_bytes), 9 * MIB));
    cr_expect(eq(sz, stats_read(&stats()->released_bytes), 9 * MIB));
    cr_expect(eq(sz, stats_read(&stats()->released_blocks), 2));
}

Test(host, steps_aside_with_idle_memory_and_with_promises) {
    struct block *lender = acquire(8 * MIB);
    release(lender, 1000);
    struct block *b = acquire(16 * MIB);
    cr_assert(lender->committed && block_state(lender) == BLOCK_EMPTY);
    cr_expect(host_step_aside(&host));
    cr_expect(not(lender->committed));
    release(b, 1001);
    cr_expect(host_step_aside(&host));
    cr_expect(eq(sz, stats_read(&stats()->refused_bytes), 16 * MIB));
    cr_expect(not(host_step_aside(&host)), "nothing is left");
}

Test(host, a_refused_request_makes_it_give_back_idle_memory_and_try_again) {
    struct block *idle = acquire(64 * MIB);
    release(idle, 1);
    inject_failures(CALL_MPROTECT, 1, 1);
    struct block *b = acquire(8 * MIB);
    inject_nothing();
    cr_expect(is_writable(b->address));
    cr_expect(eq(int, block_state(idle), BLOCK_EMPTY));
    cr_expect(eq(sz, stats_read(&stats()->refused_bytes), 64 * MIB));
    cr_expect(eq(sz, stats_read(&stats()->oom_retries), 1));
    cr_expect(eq(sz, stats_read(&stats()->failures), 0));
}

Test(host, a_request_refused_twice_fails_and_is_counted) {
    release(acquire(64 * MIB), 1);
    enum fill_result result = FILL_OK;
    inject_failures(CALL_MPROTECT, 1, 2);
    cr_expect(eq(ptr, host_acquire(&host, 8 * MIB, PAGES_ANY, &result), NULL));
    inject_nothing();
    cr_expect(eq(int, result, FILL_REFUSED));
    cr_expect(eq(sz, stats_read(&stats()->oom_retries), 1));
    cr_expect(eq(sz, stats_read(&stats()->failures), 1));
    cr_expect(is_writable(acquire(8 * MIB)->address), "later there is memory again");
}

Test(host, a_refused_request_with_nothing_to_give_back_is_not_tried_again) {
    enum fill_result result = FILL_OK;
    (void)acquire(1 * MIB);
    inject_failures(CALL_MPROTECT, 1, 1);
    cr_expect(eq(ptr, host_acquire(&host, 8 * MIB, PAGES_ANY, &result), NULL));
    cr_expect(eq(sz, inject.calls[CALL_MPROTECT], 1));
    cr_expect(eq(int, result, FILL_REFUSED));
    cr_expect(eq(sz, stats_read(&stats()->oom_retries), 0));
    cr_expect(eq(sz, stats_read(&stats()->failures), 1));
}

static size_t asked;
static bool others_had_some;

static bool give_way(void) {
    asked++;
    return others_had_some;
}

Test(host, a_refused_request_is_tried_again_when_others_give_way) {
    host.give_way = give_way;
    others_had_some = true;
    (void)acquire(1 * MIB);
    inject_failures(CALL_MPROTECT, 1, 1);
    (void)acquire(8 * MIB);
    inject_nothing();
    cr_expect(eq(sz, asked, 1));
    cr_expect(eq(sz, stats_read(&stats()->oom_retries), 1));
}

static bool take_five_milliseconds(void) {
    uint64_t end_us = clock_us() + 5000;
    while (clock_us() < end_us) {
    }
    return true;
}

Test(host, the_time_that_a_miss_takes_is_counted_and_that_of_a_hit_is_not) {
    host.give_way = take_five_milliseconds;
    (void)acquire(1 * MIB);
    size_t before_us = stats_read(&stats()->miss_us);
    inject_failures(CALL_MPROTECT, 1, 1);
    uint64_t start_us = clock_us();
    struct block *b = acquire(8 * MIB);
    uint64_t took_us = clock_us() - start_us;
    inject_nothing();
    size_t counted_us = stats_read(&stats()->miss_us) - before_us;
    cr_expect(ge(sz, counted_us, 5000));
    cr_expect(le(sz, counted_us, took_us));
    release(b, 1);
    cr_expect(eq(ptr, acquire(8 * MIB), b));
    cr_expect(eq(sz, stats_read(&stats()->miss_us), before_us + counted_us));
}

Test(host, a_refused_request_fails_when_nobody_has_anything_to_give) {
    enum fill_result result = FILL_OK;
    host.give_way = give_way;
    (void)acquire(1 * MIB);
    inject_failures(CALL_MPROTECT, 1, 1);
    cr_expect(eq(ptr, host_acquire(&host, 8 * MIB, PAGES_ANY, &result), NULL));
    inject_nothing();
    cr_expect(eq(sz, asked, 1));
    cr_expect(eq(sz, stats_read(&stats()->failures), 1));
}

Test(host, gives_back_its_own_idle_memory_also_where_others_gave_way) {
    host.give_way = give_way;
    others_had_some = true;
    struct block *idle = acquire(64 * MIB);
    release(idle, 1);
    inject_failures(CALL_MPROTECT, 1, 1);
    (void)acquire(8 * MIB);
    inject_nothing();
    cr_expect(eq(int, block_state(idle), BLOCK_EMPTY));
}

Test(host, nobody_is_asked_to_give_way_to_a_request_beyond_the_addresses) {
    enum fill_result result = FILL_OK;
    host.give_way = give_way;
    cr_expect(eq(ptr, host_acquire(&host, 2 * GIB, PAGES_ANY, &result), NULL));
    cr_expect(eq(int, result, FILL_NO_ADDRESS));
    cr_expect(eq(sz, asked, 0));
}

Test(host, a_request_beyond_the_addresses_keeps_what_is_idle) {
    struct block *idle = acquire(512 * MIB);
    release(idle, 1);
    enum fill_result result = FILL_OK;
    cr_expect(eq(ptr, host_acquire(&host, 1 * GIB, PAGES_ANY, &result), NULL));
    cr_expect(eq(int, result, FILL_NO_ADDRESS));
    cr_expect(eq(int, block_state(idle), BLOCK_IDLE));
    cr_expect(eq(sz, stats_read(&stats()->passed), 1));
    cr_expect(eq(sz, stats_read(&stats()->failures), 0));
}

Test(host, release_preserves_errno_also_when_it_gives_memory_back) {
    struct block *b = acquire(8 * MIB);
    host.retention.cache_max = host.share.cache_max = 0;
    errno = 66;
    inject_failures(CALL_MMAP, 1, 1);
    inject_failures(CALL_MADVISE, 1, 1);
    release(b, 1);
    cr_expect(eq(int, errno, 66));
    cr_expect(gt(sz, inject.calls[CALL_MMAP] + inject.calls[CALL_MADVISE], 0));
}

Test(host, without_addresses_does_not_start) {
    static struct host other;
    struct host_config config = {.addresses = 1 * GIB};
    inject_failures(CALL_MMAP, 1, 100);
    cr_expect(not(host_start(&other, &config)));
    inject_nothing();
    cr_expect(not(arena_owns(&other.arena, NULL)));
    cr_expect(host_start(&other, &config), "and a second try is as good as the first");
}

/* ---- the cap ---- */

Test(host, a_release_over_the_cap_gives_back_the_oldest) {
    host.retention.cache_max = host.share.cache_max = 10 * MIB;
    struct block *a = acquire(8 * MIB);
    struct block *b = acquire(1 * MIB);
    struct block *c = acquire(4 * MIB);
    release(b, 1);
    release(a, 2);
    cr_expect(eq(int, block_state(b), BLOCK_IDLE), "9 MiB are not over 10");
    release(c, 3);
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    cr_expect(eq(u32, a->granules, 3), "12 MiB without b still are: the end of a");
    cr_expect(eq(u32, c->granules, 2), "the newest stays");
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 10 * MIB));
}

Test(host, exactly_the_cap_may_stay) {
    host.retention.cache_max = host.share.cache_max = 9 * MIB;
    struct block *a = acquire(8 * MIB);
    struct block *b = acquire(1 * MIB);
    release(a, 1);
    release(b, 2);
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 9 * MIB));
}

Test(host, with_a_cap_of_nothing_keeps_nothing) {
    host.retention.cache_max = host.share.cache_max = 0;
    struct block *b = acquire(8 * MIB);
    use(b, 7);
    release(b, 1);
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    cr_expect(eq(sz, resident_bytes(b->address, 8 * MIB), 0));
}

Test(host, lends_what_is_idle_before_it_asks_for_fresh_memory) {
    struct block *lender = acquire(32 * MIB);
    use(lender, 7);
    release(lender, 1);
    struct block *b = acquire(56 * MIB);
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY));
    cr_expect(is_all(b->address, 32 * MIB, 7), "the pages of the other one");
    cr_expect(is_all(b->address + 32 * MIB, 24 * MIB, 0), "and fresh ones");
    cr_expect(eq(sz, stats_read(&stats()->reserved_bytes.peak), 56 * MIB));
    cr_expect(eq(sz, stats_read(&stats()->recycled_bytes), 32 * MIB));
}

Test(host, asked_for_fresh_pages_lends_none) {
    enum fill_result result = FILL_OK;
    struct block *other = acquire(32 * MIB);
    use(other, 7);
    release(other, 1);
    struct block *b = host_acquire(&host, 56 * MIB, PAGES_FRESH, &result);
    cr_expect(eq(sz, resident_bytes(b->address, 56 * MIB), 0));
    cr_expect(eq(int, block_state(other), BLOCK_IDLE));
}

static void start_without_lending(void) {
    memset(&host, 0, sizeof host);
    start_with((struct host_config){
        .addresses = 1 * GIB,
        .retention = {.cache_max = SIZE_MAX, .memory_limit = 100 * MIB, .decay_ms = 10000},
        .mappings_limit = 1000,
        .thp = THP_AUTO});
}

Test(host, that_may_not_lend_keeps_what_is_idle_below_the_limit) {
    start_without_lending(); /* 90 MiB for live and idle */
    struct block *idle = acquire(32 * MIB);
    release(idle, 1);
    struct block *b = acquire(56 * MIB);
    cr_expect(eq(int, block_state(idle), BLOCK_IDLE), "88 MiB in all");
    release(b, 2);
    cr_assert(eq(ptr, acquire(56 * MIB), b));
    (void)acquire(8 * MIB);
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 26 * MIB), "its end goes");
    cr_expect(eq(sz, gauge_current(&stats()->reserved_bytes), 90 * MIB));
}

Test(host, that_may_not_lend_leaves_idle_blocks_whole) {
    start_without_lending();
    struct block *idle = acquire(5 * MIB);
    use(idle, 7);
    release(idle, 1);
    (void)acquire(8 * MIB);
    cr_expect(is_all(idle->address, 5 * MIB, 7), "its tail too");
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 5 * MIB));
}

/* Tails alone are never lent. Do 8 MiB of them stay idle when memory grows by so much? */
static bool tails_stay_idle_beside(size_t bytes) {
    host.retention.reserve = 0;
    struct block *small[8];
    for (int i = 0; i < 8; i++) {
        small[i] = acquire(1 * MIB);
    }
    for (uint64_t i = 0; i < 8; i++) {
        release(small[i], i);
    }
    (void)acquire(bytes);
    return pool_idle_bytes(&host.pools[0]) == 8 * MIB;
}

Test(host, that_may_lend_keeps_a_little_that_it_could_not_lend) {
    cr_expect(tails_stay_idle_beside(64 * MIB));
}

Test(host, that_may_lend_gives_back_more_than_a_little_when_memory_grows) {
    cr_expect(not(tails_stay_idle_beside(80 * MIB)));
}

static size_t resident;

static size_t resident_bytes_told(void) {
    return resident;
}

/* Until what was needed so long ago does not count any more. */
static void pass(uint64_t ms) {
    for (uint64_t start = clock_coarse_ms(); clock_coarse_ms() - start <= ms;) {
    }
}

/* Blocks of many sizes, one at a time, of which none can be had before some lend. How much is held after that. */
static size_t held_after_many_sizes(void) {
    static const size_t mib[] = {8, 12, 18, 26, 40, 56, 88, 112};
    for (int i = 0; i < 8; i++) {
        release(acquire(mib[i] * MIB), 2);
    }
    return host_held_bytes(&host);
}

/* It is known when memory grows next. */
static void need_once(size_t bytes) {
    host.retention.reserve = 0;
    release(acquire(bytes), 1);
    release(acquire(4 * MIB), 1);
}

Test(host, holds_what_was_needed_lately) {
    need_once(256 * MIB);
    cr_expect(eq(sz, held_after_many_sizes(), 256 * MIB));
}

Test(host, gives_back_what_was_needed_long_ago) {
    host.retention.decay_ms = 1;
    need_once(256 * MIB);
    pass(2 * host.retention.decay_ms);
    cr_expect(le(sz, held_after_many_sizes(), 114 * MIB));
}

Test(host, forgets_nothing_that_was_needed_where_nothing_ages) {
    host.retention.decay_ms = NEVER;
    need_once(256 * MIB);
    pass(2);
    cr_expect(eq(sz, held_after_many_sizes(), 256 * MIB));
}

Test(host, holds_less_when_the_process_has_more_besides) {
    host.resident = resident_bytes_told;
    resident = 500 * MIB;
    need_once(256 * MIB);
    pass(60);
    resident += host_held_bytes(&host) + 100 * MIB;
    cr_expect(eq(sz, held_after_many_sizes(), 158 * MIB), "100 MiB less, and a little more");
}

Test(host, holds_what_was_needed_where_it_is_not_known_what_else_there_is) {
    host.resident = resident_bytes_told;
    need_once(256 * MIB);
    pass(60);
    cr_expect(eq(sz, held_after_many_sizes(), 256 * MIB));
    cr_expect(zero(host.needed.others));
}

Test(host, a_request_for_more_than_there_is_gives_nothing_back) {
    host.retention.reserve = 0;
    host.retention.memory_limit = host.share.memory_limit = 512 * MIB;
    struct block *idle = acquire(1 * MIB);
    release(idle, 1);
    (void)acquire(640 * MIB);
    cr_expect(eq(int, block_state(idle), BLOCK_IDLE), "it is meant to stay empty");
}

/* ---- resize ---- */

Test(host, resizes_within_the_class_in_place) {
    struct block *b = acquire(8 * MIB - PAGE);
    use(b, 7);
    cr_expect(eq(ptr, host_resize(&host, b, 8 * MIB, 1), b));
    cr_expect(is_all(b->address, 8 * MIB - PAGE, 7));
    cr_expect(is_all(b->address + 8 * MIB - PAGE, PAGE, 0));
}

Test(host, grows_by_moving_the_pages) {
    struct block *b = acquire(9 * MIB);
    use(b, 7);
    struct block *larger = host_resize(&host, b, 64 * MIB, 1);
    cr_assert(not(eq(ptr, larger, NULL)));
    cr_expect(is_all(larger->address, 9 * MIB, 7));
    cr_expect(is_all(larger->address + 9 * MIB, 55 * MIB, 0));
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    cr_expect(eq(sz, resident_bytes(b->address, 10 * MIB), 0));
    cr_expect(eq(sz, gauge_current(&stats()->reserved_bytes), 64 * MIB));
    cr_expect(eq(sz, stats_read(&stats()->moved_blocks), 1));
}

Test(host, shrinks_in_place_and_makes_an_idle_block_of_the_rest) {
    struct block *b = acquire(32 * MIB);
    use(b, 7);
    cr_expect(eq(ptr, host_resize(&host, b, 8 * MIB, 1), b));
    cr_expect(is_all(b->address, 8 * MIB, 7));
    cr_expect(eq(sz, resident_bytes(b->address + 8 * MIB, 24 * MIB), 0));
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 24 * MIB));
    struct block *rest = acquire(24 * MIB);
    cr_expect(is_all(rest->address, 24 * MIB, 7), "as warm as it was");
}

Test(host, a_block_that_cannot_grow_is_as_it_was) {
    struct block *b = acquire(8 * MIB);
    use(b, 7);
    cr_expect(eq(ptr, host_resize(&host, b, 2 * GIB, 1), NULL), "beyond the addresses");
    cr_expect(eq(int, block_state(b), BLOCK_LIVE));
    cr_expect(eq(sz, b->requested_bytes, 8 * MIB));
    cr_expect(is_all(b->address, 8 * MIB, 7));
}

/* ---- ticks ---- */

Test(host, a_tick_gives_back_what_has_aged) {
    host.retention.reserve = 0;
    struct block *old = acquire(8 * MIB);
    struct block *young = acquire(16 * MIB);
    release(old, 1000);
    release(young, 1001);
    cr_expect(eq(u64, host_tick(&host, 11000, PRESSURE_NONE), 11001), "when the old one is due");
    cr_expect(eq(int, block_state(old), BLOCK_IDLE), "for exactly the decay time");
    cr_expect(eq(u64, host_tick(&host, 11001, PRESSURE_NONE), 11002));
    cr_expect(eq(int, block_state(old), BLOCK_EMPTY));
    cr_expect(eq(int, block_state(young), BLOCK_IDLE));
    cr_expect(eq(u64, host_tick(&host, 11002, PRESSURE_NONE), NEVER));
    cr_expect(eq(sz, stats_read(&stats()->aged_bytes), 24 * MIB));
}

static void prepare_two_idle_blocks(void) {
    struct block *small = acquire(8 * MIB);
    struct block *large = acquire(16 * MIB);
    release(small, 1000);
    release(large, 2000);
}

Test(host, a_tick_leaves_the_reserve) {
    host.retention.reserve = 20 * MIB;
    prepare_two_idle_blocks();
    (void)host_tick(&host, 100000, PRESSURE_NONE);
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 20 * MIB), "the end of the largest");
}

Test(host, a_tick_ends_the_promises_for_blocks_that_lent_everything) {
    struct block *lender = acquire(8 * MIB);
    release(lender, 1000);
    (void)acquire(16 * MIB);
    cr_assert(lender->committed && block_state(lender) == BLOCK_EMPTY);
    (void)host_tick(&host, 11000, PRESSURE_NONE);
    cr_expect(lender->committed);
    (void)host_tick(&host, 11001, PRESSURE_NONE);
    cr_expect(not(lender->committed));
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY));
    cr_expect(not(is_readable(lender->address)));
}

Test(host, a_promise_that_could_not_be_ended_is_left_alone_until_the_system_refuses_something) {
    struct block *lender = acquire(8 * MIB);
    release(lender, 1000);
    (void)acquire(16 * MIB);
    inject_failures(CALL_MMAP, 1, 1);
    (void)host_tick(&host, 11001, PRESSURE_NONE);
    cr_assert(lender->committed, "no hole was to be had");
    inject_nothing();
    (void)host_tick(&host, 12000, PRESSURE_NONE);
    cr_expect(lender->committed);
    cr_expect(eq(sz, inject.calls[CALL_MMAP] + inject.calls[CALL_MADVISE], 0));
    cr_expect(host_step_aside(&host));
    cr_expect(not(lender->committed));
}

Test(host, a_block_of_such_a_promise_ages_like_any_in_its_next_life) {
    host.retention.reserve = 0;
    struct block *lender = acquire(8 * MIB);
    release(lender, 1000);
    (void)acquire(16 * MIB);
    inject_failures(CALL_MMAP, 1, 1);
    (void)host_tick(&host, 11001, PRESSURE_NONE);
    inject_nothing();
    cr_assert(eq(ptr, acquire(8 * MIB), lender));
    inject_failures(CALL_MMAP, 1, 1);
    inject_failures(CALL_MADVISE, 1, 1);
    cr_assert(pool_discard(lender->home, lender, &stats()->outgrown_bytes));
    inject_nothing();
    cr_assert(eq(int, block_state(lender), BLOCK_IDLE), "nothing could be given back");
    (void)host_tick(&host, 12000, PRESSURE_NONE);
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY));
}

Test(host, when_memory_is_short_what_was_idle_for_a_second_goes) {
    struct block *old = acquire(8 * MIB);
    struct block *young = acquire(16 * MIB);
    release(old, 1000);
    release(young, 1001);
    (void)host_tick(&host, 2001, PRESSURE_CLEANUP);
    cr_expect(eq(int, block_state(old), BLOCK_EMPTY), "the reserve does not help it");
    cr_expect(eq(int, block_state(young), BLOCK_IDLE));
    cr_expect(eq(sz, stats_read(&stats()->pressed_bytes), 8 * MIB));
    cr_expect(eq(sz, stats_read(&stats()->pressure_events), 1));
    cr_expect(eq(sz, stats_read(&stats()->emergencies), 0));
}

Test(host, in_an_emergency_everything_idle_goes) {
    prepare_two_idle_blocks();
    (void)host_tick(&host, 2000, PRESSURE_EMERGENCY);
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 0));
    cr_expect(eq(sz, stats_read(&stats()->pressed_bytes), 24 * MIB));
    cr_expect(eq(sz, stats_read(&stats()->emergencies), 1));
}

/* ---- silence ---- */

Test(host, before_silence_gives_back_what_was_idle_for_more_than_a_tenth_of_a_second) {
    host.retention.reserve = 0;
    struct block *old = acquire(8 * MIB);
    struct block *young = acquire(16 * MIB);
    release(old, 1000);
    release(young, 1001);
    host_before_silence(&host, 1101);
    cr_expect(eq(int, block_state(old), BLOCK_EMPTY));
    cr_expect(eq(int, block_state(young), BLOCK_IDLE), "for exactly that long");
    cr_expect(eq(sz, stats_read(&stats()->aged_bytes), 8 * MIB));
}

Test(host, before_silence_leaves_the_reserve) {
    host.retention.reserve = 20 * MIB;
    prepare_two_idle_blocks();
    host_before_silence(&host, 100000);
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 20 * MIB));
}

/* ---- altered blocks ---- */

Test(host, an_altered_block_gives_its_memory_back_when_it_is_released) {
    struct block *b = acquire(8 * MIB);
    use(b, 7);
    cr_assert(eq(int, mprotect(b->address, 2 * MIB, PROT_READ), 0));
    b->is_altered = true;
    errno = 77;
    release(b, 1);
    cr_expect(eq(int, errno, 77));
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    cr_expect(eq(sz, resident_bytes(b->address, 8 * MIB), 0));
    cr_expect(eq(sz, stats_read(&stats()->altered_bytes), 8 * MIB));
    cr_expect(eq(sz, stats_read(&stats()->outgrown_bytes), 0));
    cr_expect(eq(ptr, acquire(8 * MIB), b));
    cr_expect(is_writable(b->address));
    release(b, 2);
    cr_expect(eq(int, block_state(b), BLOCK_IDLE), "for its next owner it is like any");
}

Test(host, an_altered_block_lends_nothing_when_it_is_made_smaller) {
    struct block *b = acquire(16 * MIB);
    use(b, 7);
    b->is_altered = true;
    cr_expect(eq(ptr, host_resize(&host, b, 4 * MIB, 1), b));
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 0));
    cr_expect(eq(sz, resident_bytes(b->address, 16 * MIB), 4 * MIB));
}

Test(host, what_grows_by_moving_altered_pages_is_altered) {
    struct block *b = acquire(8 * MIB);
    use(b, 7);
    b->is_altered = true;
    struct block *grown = host_resize(&host, b, 32 * MIB, 1);
    cr_assert(not(eq(ptr, grown, b)));
    cr_expect(grown->is_altered);
    cr_expect(not(b->is_altered));
}

Test(host, a_hit_gives_nothing_back) {
    struct block *a = acquire(8 * MIB);
    struct block *b = acquire(1 * MIB);
    release(a, 1);
    release(b, 2);
    host.retention.cache_max = host.share.cache_max = 0;
    cr_expect(eq(ptr, acquire(1 * MIB), b));
    cr_expect(eq(int, block_state(a), BLOCK_IDLE));
}

/* ---- a real fork ---- */

static struct block *live;
static struct block *idle;

/* in_child begins with the child's own handler, as pthread_atfork would have it. */
static bool fork_with(bool (*in_child)(void)) {
    host_before_fork(&host);
    bool result = true_in_child(in_child);
    host_after_fork_in_parent(&host);
    return result;
}

static void prepare_idle(size_t bytes) {
    live = acquire(8 * MIB);
    idle = acquire(bytes);
    use(live, 1);
    use(idle, 2);
    release(idle, 1);
}

static void prepare(void) {
    prepare_idle(5 * MIB);
}

static bool child_owns_live_blocks_and_no_idle_one(void) {
    host_after_fork_in_child(&host);
    return pool_is_valid(&host.pools[0]) && is_all(live->address, 8 * MIB, 1) &&
           block_state(live) == BLOCK_LIVE && block_state(idle) == BLOCK_EMPTY &&
           resident_bytes(idle->address, 5 * MIB) == 0 && pool_idle_bytes(&host.pools[0]) == 0 &&
           gauge_current(&stats()->reserved_bytes) == 8 * MIB;
}

Test(host_fork, leaves_a_child_the_live_blocks_and_no_idle_memory) {
    prepare();
    cr_expect(fork_with(child_owns_live_blocks_and_no_idle_one));
    cr_expect(is_all(live->address, 8 * MIB, 1));
    cr_expect(is_all(idle->address, 5 * MIB, 2), "the parent's pages are as warm as before");
    cr_expect(eq(ptr, acquire(5 * MIB), idle));
}

static bool child_allocates_as_ever(void) {
    enum fill_result result = FILL_OK;
    host_after_fork_in_child(&host);
    struct block *b = host_acquire(&host, 5 * MIB, PAGES_ANY, &result);
    bool zero = b == idle && is_all(b->address, 5 * MIB, 0);
    use(b, 3);
    struct block *fresh = host_acquire(&host, 16 * MIB, PAGES_ANY, &result);
    use(fresh, 4);
    return zero && host_release(&host, live, 1) && host_release(&host, b, 2) &&
           !host_release(&host, live, 3) && host_acquire(&host, 5 * MIB, PAGES_ANY, &result) == b &&
           is_all(b->address, 5 * MIB, 3) && is_all(fresh->address, 16 * MIB, 4) &&
           host_trim(&host) == 8 * MIB && pool_is_valid(&host.pools[0]);
}

Test(host_fork, a_child_allocates_and_releases_as_ever) {
    prepare();
    cr_expect(fork_with(child_allocates_as_ever));
    cr_expect(is_all(live->address, 8 * MIB, 1));
}

static bool grandchild_finds_the_data_of_its_parent(void) {
    host_after_fork_in_child(&host);
    return is_all(idle->address, 5 * MIB, 3) && is_all(live->address, 8 * MIB, 1) &&
           pool_is_valid(&host.pools[0]);
}

static bool child_forks_again(void) {
    enum fill_result result = FILL_OK;
    host_after_fork_in_child(&host);
    struct block *b = host_acquire(&host, 5 * MIB, PAGES_ANY, &result);
    use(b, 3);
    host_before_fork(&host);
    bool good = b == idle && true_in_child(grandchild_finds_the_data_of_its_parent);
    host_after_fork_in_parent(&host);
    return good && is_all(b->address, 5 * MIB, 3);
}

Test(host_fork, a_grandchild_finds_what_the_child_wrote_into_a_wiped_block) {
    prepare();
    cr_expect(fork_with(child_forks_again));
}

static bool no_block_in_use_is_marked(void) {
    enum fill_result result = FILL_OK;
    host_after_fork_in_child(&host);
    inject_nothing();
    for (int i = 0; i < 4; i++) {
        struct block *b = host_acquire(&host, 4 * MIB, PAGES_ANY, &result);
        if (b == NULL || has_flag(b->address, "wf")) {
            return false;
        }
    }
    return pool_is_valid(&host.pools[0]);
}

Test(host_fork, marks_that_do_not_come_off_cost_no_data_anywhere) {
    prepare_idle(4 * MIB);
    inject.madvise_advice = MADV_KEEPONFORK;
    inject_failures(CALL_MADVISE, 1, SIZE_MAX);
    cr_expect(fork_with(no_block_in_use_is_marked));
    inject_nothing();
    cr_expect(pool_is_valid(&host.pools[0]));
    struct block *b = acquire(4 * MIB);
    cr_expect(not(has_flag(b->address, "wf")), "a block in use would be zero in the next child");
}

/* Neither does the mark come off, nor is a hole to be had, which would take it away. */
static void prepare_a_mark_that_stays(void) {
    prepare_idle(4 * MIB);
    host.backends[0].mappings_budget = 0;
    inject.madvise_advice = MADV_KEEPONFORK;
    inject_failures(CALL_MADVISE, 1, SIZE_MAX);
}

Test(host_fork, a_child_that_cannot_take_a_mark_off_uses_other_blocks) {
    prepare_a_mark_that_stays();
    cr_expect(fork_with(no_block_in_use_is_marked));
}

Test(host_fork, a_block_retired_by_the_parent_is_not_used_by_a_later_child_either) {
    prepare_a_mark_that_stays();
    cr_expect(fork_with(no_block_in_use_is_marked));
    cr_expect(fork_with(no_block_in_use_is_marked), "the second child");
}

Test(host_fork, without_marks_a_child_is_as_good_and_only_copies_more) {
    prepare();
    inject.madvise_advice = MADV_WIPEONFORK;
    inject_failures(CALL_MADVISE, 1, SIZE_MAX);
    cr_expect(fork_with(child_owns_live_blocks_and_no_idle_one));
    inject_nothing();
    cr_expect(is_all(idle->address, 5 * MIB, 2));
}

static bool true_with_locks_free(void) {
    host_after_fork_in_child(&host);
    return host.arena.lock.state == LOCK_FREE && host.records.lock.state == LOCK_FREE &&
           host.pools[0].lock.state == LOCK_FREE;
}

static size_t idle_amid_a_fork(void) {
    release(acquire(8 * MIB), 1);
    host_before_fork(&host);
    size_t bytes = host_idle_bytes(&host);
    host_after_fork_in_parent(&host);
    return bytes;
}

/* All that is writable is promised to the child, too. */
Test(host_fork, gives_back_what_is_idle_before_where_the_system_is_strict) {
    cr_expect(eq(sz, idle_amid_a_fork(), 8 * MIB));
    host.is_strict = true;
    cr_expect(eq(sz, idle_amid_a_fork(), 0));
    cr_expect(eq(sz, stats_read(&stats()->refused_bytes), 8 * MIB));
}

Test(host_fork, takes_every_lock_and_frees_it_on_both_sides) {
    host_before_fork(&host);
    cr_expect(eq(u32, host.arena.lock.state, LOCK_HELD));
    cr_expect(eq(u32, host.records.lock.state, LOCK_HELD));
    cr_expect(eq(u32, host.pools[0].lock.state, LOCK_HELD));
    cr_expect(true_in_child(true_with_locks_free));
    host_after_fork_in_parent(&host);
    cr_expect(eq(u32, host.arena.lock.state, LOCK_FREE));
    cr_expect(eq(u32, host.records.lock.state, LOCK_FREE));
    cr_expect(eq(u32, host.pools[0].lock.state, LOCK_FREE));
}
