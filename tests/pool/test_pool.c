#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "pool/reclaim.h"
#include "pool/resize.h"
#include "tests/pool/fake_pool.h"
#include "tests/pool/inject.h"
#include "tests/pool/memory.h"

TestSuite(pool, .init = start_without_memory, .fini = expect_valid);
TestSuite(pool_zero, .init = start_with_memory, .fini = expect_valid);
TestSuite(pool_fork, .init = start_without_memory);

static size_t drain_all(void) {
    return reclaim_beyond(&pool, 0, &pool.own.stats.trimmed_bytes);
}

static void expect_gauges(size_t allocated, size_t reserved, size_t requested) {
    cr_expect(eq(sz, gauge_current(&pool.own.stats.allocated_bytes), allocated));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.reserved_bytes), reserved));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.requested_bytes), requested));
    cr_expect(eq(sz, pool_idle_bytes(&pool), reserved - allocated));
    expect_valid();
}

/* ---- acquire ---- */

Test(pool, that_is_new_has_no_block) {
    cr_expect(eq(ptr, acquire(8 * MIB), NULL));
    cr_expect(eq(sz, pool_idle_bytes(&pool), 0));
    cr_expect(eq(sz, fake.fills, 0), "an acquire never asks the system");
}

Test(pool, a_filled_block_is_live_and_the_program_s) {
    struct block *b = fill(8 * MIB - 5);
    cr_expect(eq(int, block_state(b), BLOCK_LIVE));
    cr_expect(eq(ptr, b->home, &pool));
    cr_expect(eq(sz, b->requested_bytes, 8 * MIB - 5));
    cr_expect(eq(sz, block_bytes(b), 8 * MIB));
    cr_expect(eq(ptr, acquire(8 * MIB), NULL), "nobody else gets it");
}

Test(pool, an_idle_block_is_handed_out_again) {
    struct block *b = fill(8 * MIB);
    release(b, 1);
    cr_expect(eq(int, block_state(b), BLOCK_IDLE));
    cr_expect(eq(sz, b->requested_bytes, 0));
    cr_expect(eq(ptr, acquire(8 * MIB - 100), b));
    cr_expect(eq(int, block_state(b), BLOCK_LIVE));
    cr_expect(eq(sz, b->requested_bytes, 8 * MIB - 100));
    cr_expect(eq(sz, fake.fills, 1));
}

Test(pool, the_newest_idle_block_goes_first) {
    struct block *a = fill(8 * MIB);
    struct block *b = fill(8 * MIB);
    struct block *c = fill(8 * MIB);
    release(b, 1);
    release(c, 2);
    release(a, 3);
    cr_expect(eq(ptr, acquire(8 * MIB), a));
    cr_expect(eq(ptr, acquire(8 * MIB), c));
    cr_expect(eq(ptr, acquire(8 * MIB), b));
    cr_expect(eq(ptr, acquire(8 * MIB), NULL));
}

Test(pool, a_request_may_take_a_larger_block_which_goes_back_to_where_it_belongs) {
    struct block *b = fill(9 * MIB);
    release(b, 1);
    cr_expect(eq(ptr, acquire(8 * MIB), b));
    cr_expect(eq(sz, figure(&pool.own.classes[56].hits), 1), "counted where it was asked for");
    cr_expect(eq(sz, figure(&pool.own.classes[57].hits), 0));
    release(b, 2);
    cr_expect(eq(ptr, pool.buckets[57].newest, b));
}

Test(pool, its_own_class_goes_before_larger_ones) {
    struct block *larger = fill(9 * MIB);
    struct block *exact = fill(8 * MIB);
    release(exact, 1);
    release(larger, 2);
    cr_expect(eq(ptr, acquire(8 * MIB), exact));
}

Test(pool, a_request_may_take_a_block_two_classes_larger_and_none_beyond) {
    struct block *third = idle_since(11 * MIB, 1);
    cr_expect(eq(ptr, acquire(8 * MIB), NULL));
    struct block *second = idle_since(10 * MIB, 2);
    cr_expect(eq(ptr, acquire(8 * MIB), second));
    cr_expect(eq(ptr, acquire(8 * MIB + 1), third), "a class further");
}

Test(pool, a_request_of_the_last_class_of_a_doubling_reaches_into_the_next) {
    struct block *b = idle_since(18 * MIB, 1);
    cr_expect(eq(ptr, acquire(15 * MIB), b));
}

Test(pool, the_smallest_block_that_fits_goes_first) {
    struct block *small = fill(9 * MIB);
    struct block *large = fill(10 * MIB);
    release(small, 1);
    release(large, 2);
    cr_expect(eq(ptr, acquire(8 * MIB), small));
    cr_expect(eq(ptr, acquire(8 * MIB), large));
}

Test(pool, a_request_never_takes_a_block_that_is_too_small) {
    release(fill(8 * MIB), 1);
    cr_expect(eq(ptr, acquire(8 * MIB + 1), NULL));
}

Test(pool, the_largest_class_has_none_above) {
    cr_expect(eq(ptr, acquire(SIZE_CLASS_MAX), NULL));
    struct block *b = fill(SIZE_CLASS_MAX);
    release(b, 1);
    cr_expect(eq(ptr, acquire(SIZE_CLASS_MAX), b));
}

/* ---- release ---- */

Test(pool, a_block_is_released_only_once) {
    struct block *b = fill(8 * MIB);
    release(b, 1);
    cr_expect(not(pool_release(&pool, b, 2)));
    cr_expect(eq(u64, b->freed_ms, 1));
    cr_expect(eq(sz, pool_idle_bytes(&pool), 8 * MIB));
    cr_expect(eq(sz, figure(&pool.own.classes[56].idle), 1));
}

Test(pool, an_empty_block_cannot_be_released) {
    struct block *b = fill(8 * MIB);
    release(b, 1);
    cr_assert(eq(sz, drain_all(), 8 * MIB));
    cr_expect(not(pool_release(&pool, b, 2)));
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
}

Test(pool, a_released_block_holds_the_granules_that_were_asked_for) {
    struct block *b = idle_since(8 * MIB - 5000, 1);
    cr_expect(eq(u32, b->granules, 4));
    cr_expect(eq(u32, b->tail_bytes, 0));
}

Test(pool, a_released_block_with_a_gap_holds_its_tail_to_the_end_of_the_page) {
    struct block *b = idle_since(9 * MIB - 5000, 1);
    cr_expect(eq(u32, b->granules, 4));
    cr_expect(eq(u32, b->tail_bytes, 1 * MIB - 4096));
    cr_expect(eq(sz, pool_idle_bytes(&pool), 9 * MIB - 4096));
    cr_assert(eq(ptr, acquire(8 * MIB + 1), b));
    release(b, 2);
    cr_expect(eq(u32, b->tail_bytes, 1 * MIB - 4096), "a shorter use leaves the rest as it was");
}

Test(pool, a_block_that_lent_pages_is_no_hit) {
    struct block *lender = idle_since(8 * MIB, 1);
    (void)borrow(2 * MIB);
    cr_assert(eq(u32, lender->granules, 3));
    cr_expect(eq(ptr, acquire(8 * MIB), NULL));
    cr_expect(eq(ptr, acquire(7 * MIB), NULL), "four granules too");
}

Test(pool, a_fill_with_fresh_pages_takes_no_block_that_holds_any) {
    struct block *whole = idle_since(8 * MIB, 1);
    cr_expect(not(eq(ptr, fill(8 * MIB), whole)));
    struct block *lender = idle_since(9 * MIB, 2);
    (void)borrow(2 * MIB);
    cr_expect(not(eq(ptr, fill(9 * MIB), lender)));
}

Test(pool, makes_idle_blocks_before_anybody_asks) {
    start_with_memory();
    cr_expect(pool_prefault(&pool, 8 * MIB, 5));
    cr_expect(pool_prefault(&pool, 8 * MIB, 6), "another one");
    expect_gauges(0, 16 * MIB, 0);
    cr_expect(eq(u64, pool.buckets[56].oldest->freed_ms, 5));
    cr_expect(eq(sz, figure(&pool.own.stats.prefaulted_bytes), 16 * MIB));
    cr_expect(not(eq(ptr, acquire(8 * MIB), NULL)));
}

Test(pool, that_is_refused_makes_no_idle_block) {
    fake.refuse_fill = 1;
    cr_expect(not(pool_prefault(&pool, 8 * MIB, 5)));
    expect_gauges(0, 0, 0);
    cr_expect(eq(int, block_state(pool.buckets[56].empty), BLOCK_EMPTY));
}

Test(pool, a_fill_takes_the_address_that_still_holds_a_part) {
    struct block *lender = idle_since(8 * MIB, 1);
    struct block *borrower = borrow(2 * MIB);
    cr_assert(eq(ptr, borrow(8 * MIB), lender));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.allocated_bytes), 10 * MIB));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.reserved_bytes), 10 * MIB));
    cr_expect(eq(int, block_state(borrower), BLOCK_LIVE));
}

/* ---- discard ---- */

Test(pool, a_discarded_block_gives_its_memory_back_at_once) {
    struct block *other = fill(8 * MIB);
    struct block *b = fill(8 * MIB);
    release(other, 1);
    cr_expect(discard(b));
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    cr_expect(eq(sz, fake.drains, 1));
    cr_expect(eq(ptr, (void *)(uintptr_t)fake.drained[0], b));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.reserved_bytes), 8 * MIB), "the other one's");
    cr_expect(eq(sz, gauge_current(&pool.own.stats.allocated_bytes), 0));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.requested_bytes), 0));
    cr_expect(eq(sz, figure(&pool.own.stats.outgrown_bytes), 8 * MIB));
    cr_expect(eq(ptr, acquire(8 * MIB), other));
    cr_expect(eq(ptr, fill(8 * MIB), b), "its address is used again");
}

Test(pool, an_altered_block_that_keeps_its_mappings_is_nobodys_any_more) {
    struct block *b = fill(8 * MIB);
    b->is_altered = true;
    fake.refuse_drain = true;
    cr_expect(discard(b));
    fake.refuse_drain = false;
    cr_expect(eq(int, block_state(b), BLOCK_LOST));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.reserved_bytes), 0));
    cr_expect(eq(sz, figure(&pool.own.stats.lost_blocks), 1));
    cr_expect(eq(sz, figure(&pool.own.stats.released_bytes), 0));
    cr_expect(not(eq(ptr, fill(8 * MIB), b)));
}

/* ---- blocks whose pages a device knows ---- */

Test(pool, a_registered_block_is_parked_when_it_is_discarded) {
    struct block *b = fill(8 * MIB);
    pool_register(&pool, b);
    cr_expect(discard(b));
    cr_expect(eq(int, block_state(b), BLOCK_PARKED));
    cr_expect(eq(ptr, acquire(8 * MIB), NULL), "it is not idle");
    cr_expect(eq(sz, gauge_current(&pool.figures->stats.reserved_bytes), 8 * MIB),
              "but it is still there");
    cr_expect(not(discard(b)), "a second free is one too many");
}

Test(pool, a_parked_block_goes_back_after_its_last_registration) {
    struct block *b = fill(8 * MIB);
    pool_register(&pool, b);
    pool_register(&pool, b);
    cr_assert(discard(b));
    pool_unregister(&pool, b);
    cr_expect(eq(int, block_state(b), BLOCK_PARKED));
    pool_unregister(&pool, b);
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    cr_expect(eq(sz, gauge_current(&pool.figures->stats.reserved_bytes), 0));
    cr_expect(eq(sz, figure(&pool.figures->stats.altered_bytes), 8 * MIB));
    expect_valid();
}

Test(pool, a_block_that_was_registered_lives_on) {
    struct block *b = fill(8 * MIB);
    pool_register(&pool, b);
    pool_unregister(&pool, b);
    cr_expect(eq(int, block_state(b), BLOCK_LIVE));
    pool_unregister(&pool, b);
    cr_expect(eq(uint, b->registrations, 0), "once too often changes nothing");
    cr_expect(discard(b));
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
}

Test(pool, what_was_registered_more_often_than_can_be_counted_stays) {
    struct block *b = fill(8 * MIB);
    for (int i = 0; i < 300; i++) {
        pool_register(&pool, b);
    }
    cr_assert(discard(b));
    for (int i = 0; i < 400; i++) {
        pool_unregister(&pool, b);
    }
    cr_expect(eq(int, block_state(b), BLOCK_PARKED));
}

Test(pool, only_a_live_block_can_be_registered) {
    struct block *b = idle_since(8 * MIB, 1);
    pool_register(&pool, b);
    cr_expect(eq(uint, b->registrations, 0));
}

Test(pool, only_a_live_block_can_be_discarded) {
    struct block *b = fill(8 * MIB);
    release(b, 1);
    cr_expect(not(discard(b)));
    cr_expect(eq(int, block_state(b), BLOCK_IDLE));
    cr_assert(eq(sz, drain_all(), 8 * MIB));
    cr_expect(not(discard(b)));
    cr_expect(eq(sz, fake.drains, 1));
}

/* ---- refusals ---- */

Test(pool, a_refused_fill_says_why_and_keeps_the_address_for_the_next) {
    enum fill_result result = FILL_OK;
    fake.refuse_fill = 1;
    cr_expect(eq(ptr, pool_fill(&pool, 8 * MIB, PAGES_FRESH, &result), NULL));
    cr_expect(eq(int, result, FILL_REFUSED));
    struct block *kept = pool.buckets[56].empty;
    cr_assert(not(eq(ptr, kept, NULL)));
    cr_expect(eq(int, block_state(kept), BLOCK_EMPTY));
    cr_expect(eq(ptr, fill(8 * MIB), kept));
}

Test(pool, a_refused_fill_changes_no_figure) {
    enum fill_result result = FILL_OK;
    fake.refuse_fill = 1;
    cr_assert(eq(ptr, pool_fill(&pool, 8 * MIB, PAGES_FRESH, &result), NULL));
    cr_expect(eq(sz, figure(&pool.own.stats.reserved_bytes.allocated), 0));
    cr_expect(eq(sz, figure(&pool.own.stats.allocated_bytes.allocated), 0));
    cr_expect(eq(sz, figure(&pool.own.stats.requested_bytes.allocated), 0));
    cr_expect(eq(sz, figure(&pool.own.classes[56].misses), 0));
}

Test(pool, many_refused_fills_use_up_one_record) {
    enum fill_result result = FILL_OK;
    fake.refuse_all_fills = true;
    fake.refusal = FILL_NO_ADDRESS;
    for (int i = 0; i < 10; i++) {
        cr_assert(eq(ptr, pool_fill(&pool, 8 * MIB, PAGES_FRESH, &result), NULL));
        cr_assert(eq(int, result, FILL_NO_ADDRESS));
    }
    cr_assert(not(eq(ptr, pool.buckets[56].empty, NULL)));
    cr_expect(eq(ptr, pool.buckets[56].empty->older, NULL));
}

Test(pool, without_memory_for_records_a_fill_is_refused) {
    enum fill_result result = FILL_OK;
    inject_failures(CALL_MMAP, 1, 1);
    cr_expect(eq(ptr, pool_fill(&pool, 8 * MIB, PAGES_FRESH, &result), NULL));
    cr_expect(eq(int, result, FILL_REFUSED));
    inject_nothing();
    cr_expect(eq(sz, fake.fills, 0));
    (void)fill(8 * MIB);
}

/* ---- figures ---- */

Test(pool, the_gauges_hold_after_each_step_of_a_life) {
    expect_gauges(0, 0, 0);
    struct block *a = fill(8 * MIB - 1);
    expect_gauges(8 * MIB, 8 * MIB, 8 * MIB - 1);
    struct block *b = fill(9 * MIB);
    expect_gauges(17 * MIB, 17 * MIB, 17 * MIB - 1);
    release(b, 1);
    expect_gauges(8 * MIB, 17 * MIB, 8 * MIB - 1);
    cr_assert(eq(ptr, acquire(8 * MIB), b));
    expect_gauges(17 * MIB, 17 * MIB, 16 * MIB - 1);
    cr_assert(resize_in_place(&pool, b, 9 * MIB - 5));
    expect_gauges(17 * MIB, 17 * MIB, 17 * MIB - 6);
    release(a, 2);
    release(b, 3);
    expect_gauges(0, 17 * MIB, 0);
    cr_assert(eq(sz, reclaim_beyond(&pool, 9 * MIB, &pool.own.stats.capped_bytes), 8 * MIB));
    expect_gauges(0, 9 * MIB, 0);
    cr_assert(eq(sz, drain_all(), 9 * MIB));
    expect_gauges(0, 0, 0);
    cr_expect(eq(sz, figure(&pool.own.stats.reserved_bytes.peak), 17 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.allocated_bytes.peak), 17 * MIB));
}

Test(pool, hits_and_misses_are_counted_for_the_class_that_was_asked_for) {
    struct block *b = fill(8 * MIB);
    release(b, 1);
    cr_assert(eq(ptr, acquire(8 * MIB), b));
    cr_expect(eq(sz, figure(&pool.own.classes[56].misses), 1));
    cr_expect(eq(sz, figure(&pool.own.classes[56].hits), 1));
    cr_expect(eq(sz, figure(&pool.own.stats.missed_bytes), 8 * MIB));
}

Test(pool, failures_and_retries_are_counted_when_told) {
    pool_add(&pool, &pool.own.stats.failures, 1);
    pool_add(&pool, &pool.own.stats.oom_retries, 1);
    pool_add(&pool, &pool.own.stats.oom_retries, 1);
    cr_expect(eq(sz, figure(&pool.own.stats.failures), 1));
    cr_expect(eq(sz, figure(&pool.own.stats.oom_retries), 2));
}

Test(pool, that_lost_a_block_is_not_valid) {
    struct block *b = fill(8 * MIB);
    release(b, 1);
    block_set_state(b, BLOCK_LIVE);
    cr_expect(not(pool_is_valid(&pool)));
    block_set_state(b, BLOCK_IDLE);
    pool.buckets[56].idle++;
    cr_expect(not(pool_is_valid(&pool)));
    pool.buckets[56].idle--;
    gauge_add(&pool.own.stats.reserved_bytes, 1);
    cr_expect(not(pool_is_valid(&pool)));
    gauge_sub(&pool.own.stats.reserved_bytes, 1);
}

/* ---- zero ---- */

static struct block *dirty(size_t bytes) {
    struct block *b = fill(bytes);
    memset(b->address, 7, bytes);
    release(b, 1);
    return b;
}

Test(pool_zero, leaves_a_fresh_block_untouched) {
    (void)zeroed(64 * MIB);
    cr_expect(eq(sz, fake.clears, 0));
    cr_expect(eq(sz, figure(&pool.own.stats.zeroed_bytes), 0));
}

Test(pool_zero, writes_zeros_into_a_warm_block) {
    struct block *b = dirty(8 * MIB);
    cr_assert(eq(ptr, zeroed(8 * MIB), b));
    cr_expect(is_all(b->address, 8 * MIB, 0));
    cr_expect(eq(sz, fake.clears, 0));
    cr_expect(eq(sz, figure(&pool.own.stats.zeroed_bytes), 8 * MIB));
}

/* Half a gibibyte is not written for a test: its first and its last byte stand for the rest. */
static struct block *dirty_at_its_ends(size_t bytes) {
    struct block *b = fill(bytes);
    b->address[0] = 7;
    b->address[bytes - 1] = 7;
    release(b, 1);
    return b;
}

static bool ends_are_zero(const struct block *b, size_t bytes) {
    return b->address[0] == 0 && b->address[bytes - 1] == 0;
}

Test(pool_zero, takes_fresh_pages_from_512_mib_on) {
    struct block *b = dirty_at_its_ends(512 * MIB);
    cr_assert(eq(ptr, zeroed(512 * MIB), b));
    cr_expect(eq(sz, fake.clears, 1));
    cr_expect(eq(sz, fake.cleared_to, 512 * MIB));
    cr_expect(ends_are_zero(b, 512 * MIB));
}

Test(pool_zero, writes_a_page_less_than_512_mib) {
    struct block *b = dirty_at_its_ends(512 * MIB);
    cr_assert(eq(ptr, zeroed(512 * MIB - PAGE), b));
    cr_expect(eq(sz, fake.clears, 0));
    cr_expect(eq(chr, b->address[0], 0));
    cr_expect(eq(chr, b->address[512 * MIB - 1], 7), "what nobody asked for stays");
}

Test(pool_zero, clears_all_that_is_dirty_also_where_less_was_asked_for) {
    struct block *b = dirty_at_its_ends(640 * MIB);
    cr_assert(eq(ptr, zeroed(576 * MIB + 1), b));
    cr_expect(eq(sz, fake.cleared_to, 640 * MIB));
    cr_expect(ends_are_zero(b, 640 * MIB));
}

Test(pool_zero, writes_zeros_where_the_system_refuses_fresh_pages) {
    struct block *b = dirty_at_its_ends(512 * MIB);
    fake.refuse_clear = true;
    cr_assert(eq(ptr, zeroed(512 * MIB), b));
    cr_expect(ends_are_zero(b, 512 * MIB));
    cr_expect(eq(sz, block_held_end(b), 512 * MIB), "nobody knows what the program writes next");
}

Test(pool_zero, writes_only_as_far_as_the_block_is_dirty) {
    struct block *b = dirty(8 * MIB + 516 * KIB);
    cr_assert(eq(ptr, zeroed(9 * MIB), b));
    cr_expect(is_all(b->address, 9 * MIB, 0));
    cr_expect(eq(sz, figure(&pool.own.stats.zeroed_bytes), 8 * MIB + 516 * KIB));
}

Test(pool_zero, of_a_shorter_request_and_then_a_longer_one_makes_all_of_both_zero) {
    struct block *b = dirty(8 * MIB);
    cr_assert(eq(ptr, zeroed(7 * MIB + 512 * KIB + 1), b));
    memset(b->address, 9, 7 * MIB + 512 * KIB + 1);
    release(b, 2);
    cr_assert(eq(ptr, zeroed(8 * MIB), b));
    cr_expect(is_all(b->address, 8 * MIB, 0), "the sevens behind the nines too");
}

Test(pool_zero, of_a_drained_block_has_nothing_to_do) {
    struct block *b = dirty(8 * MIB);
    cr_assert(eq(sz, drain_all(), 8 * MIB));
    cr_assert(eq(ptr, zeroed(8 * MIB), b));
    cr_expect(eq(sz, figure(&pool.own.stats.zeroed_bytes), 0));
    cr_expect(is_all(b->address, 8 * MIB, 0));
}

Test(pool_zero, of_a_block_that_could_not_be_drained_writes_zeros) {
    struct block *b = dirty(8 * MIB);
    fake.refuse_drain = true;
    cr_assert(eq(sz, drain_all(), 0));
    cr_assert(eq(ptr, zeroed(8 * MIB), b));
    cr_expect(is_all(b->address, 8 * MIB, 0));
}

Test(pool_zero, of_borrowed_pages_writes_zeros) {
    (void)dirty(8 * MIB);
    struct block *b = zeroed(6 * MIB);
    cr_assert(eq(sz, fake.granules, 3));
    cr_expect(is_all(b->address, 6 * MIB, 0));
    cr_expect(eq(sz, figure(&pool.own.stats.zeroed_bytes), 6 * MIB));
}

Test(pool_zero, of_fresh_pages_behind_borrowed_ones_writes_the_borrowed_only) {
    (void)dirty(2 * MIB);
    struct block *b = zeroed(8 * MIB);
    cr_expect(is_all(b->address, 8 * MIB, 0));
    cr_expect(eq(sz, figure(&pool.own.stats.zeroed_bytes), 2 * MIB));
}

Test(pool_zero, of_what_is_exchanged_holds_no_more_than_what_was_asked_for) {
    struct block *b = dirty_at_its_ends(640 * MIB);
    cr_assert(eq(ptr, zeroed(576 * MIB + 1), b));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.allocated_bytes), 578 * MIB));
    expect_valid();
    release(b, 2);
    cr_expect(eq(sz, pool_idle_bytes(&pool), 578 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.exchanged_bytes), 62 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.released_bytes), 62 * MIB));
}

Test(pool_zero, clears_whole_pages_where_the_request_ends_inside_one) {
    struct block *b = dirty(8 * MIB);
    cr_assert(eq(ptr, zeroed(8 * MIB - 1), b));
    cr_expect(is_all(b->address, 8 * MIB, 0), "usable to the end of the page");
}

/* ---- fork: the parent ---- */

Test(pool_fork, marks_idle_blocks_and_takes_the_marks_off_in_the_parent) {
    struct block *live = fill(8 * MIB);
    struct block *a = fill(8 * MIB);
    struct block *b = fill(1 * MIB);
    release(a, 1);
    release(b, 2);

    pool_before_fork(&pool);
    cr_expect(eq(sz, fake.marks, 2));
    cr_expect(a->wiped_on_fork && b->wiped_on_fork && !live->wiped_on_fork);
    cr_expect(eq(u32, pool.lock.state, LOCK_HELD));

    pool_after_fork_in_parent(&pool);
    cr_expect(eq(sz, fake.unmarks, 2));
    cr_expect(not(a->wiped_on_fork || b->wiped_on_fork));
    cr_expect(eq(ptr, acquire(8 * MIB), a));
    expect_valid();
}

Test(pool_fork, a_block_that_could_not_be_marked_is_not_unmarked) {
    struct block *a = fill(8 * MIB);
    release(a, 1);
    fake.refuse_mark = true;
    fake.refuse_unmark = true;
    pool_before_fork(&pool);
    cr_expect(not(a->wiped_on_fork));
    pool_after_fork_in_parent(&pool);
    cr_expect(eq(ptr, acquire(8 * MIB), a), "it is as good as before");
    expect_valid();
}

Test(pool_fork, a_block_that_keeps_its_mark_is_never_handed_out_by_the_parent) {
    struct block *marked = fill(8 * MIB);
    struct block *other = fill(8 * MIB);
    release(marked, 1);
    fake.refuse_unmark = true;
    pool_before_fork(&pool);
    pool_after_fork_in_parent(&pool);
    fake.refuse_unmark = false;
    release(other, 2);
    cr_expect(eq(ptr, acquire(8 * MIB), other));
    cr_expect(eq(ptr, acquire(8 * MIB), NULL));
}

Test(pool_fork, a_block_that_keeps_its_mark_is_no_idle_memory_any_more) {
    release(fill(8 * MIB), 1);
    fake.refuse_unmark = true;
    pool_before_fork(&pool);
    pool_after_fork_in_parent(&pool);
    cr_expect(eq(sz, pool_idle_bytes(&pool), 0));
    expect_valid();
}

/* ---- fork: the child, whose steps are taken here without one ---- */

Test(pool_fork, a_child_keeps_live_blocks_and_empties_idle_ones) {
    struct block *live = fill(8 * MIB - 1);
    struct block *idle = fill(8 * MIB);
    release(idle, 1);
    pool_before_fork(&pool);
    pool_after_fork_in_child(&pool);
    pool_adopt(&pool, live);
    pool_adopt(&pool, idle);

    cr_expect(eq(int, block_state(live), BLOCK_LIVE));
    cr_expect(eq(int, block_state(idle), BLOCK_EMPTY));
    cr_expect(eq(sz, fake.unmarks, 1), "the child's own children must not lose it");
    cr_expect(eq(sz, fake.drains, 0), "it is zero already");
    cr_expect(eq(sz, block_held_end(idle), 0));
    expect_gauges(8 * MIB, 8 * MIB, 8 * MIB - 1);
    cr_expect(eq(ptr, fill(8 * MIB), idle));
}

Test(pool_fork, a_child_begins_with_figures_of_its_own) {
    struct block *live = fill(8 * MIB);
    release(fill(8 * MIB), 1);
    cr_assert(eq(sz, drain_all(), 8 * MIB));
    pool_add(&pool, &pool.own.stats.failures, 1);
    pool_before_fork(&pool);
    pool_after_fork_in_child(&pool);
    pool_adopt(&pool, live);
    cr_expect(eq(sz, figure(&pool.own.classes[56].misses), 0));
    cr_expect(eq(sz, figure(&pool.own.stats.failures), 0));
    cr_expect(eq(sz, figure(&pool.own.stats.released_bytes), 0));
    cr_expect(eq(sz, figure(&pool.own.stats.allocated_bytes.peak), 8 * MIB));
    release(live, 2);
    expect_gauges(0, 8 * MIB, 0);
}

Test(pool_fork, a_child_drains_an_idle_block_that_could_not_be_marked) {
    struct block *idle = fill(8 * MIB);
    release(idle, 1);
    fake.refuse_mark = true;
    pool_before_fork(&pool);
    pool_after_fork_in_child(&pool);
    pool_adopt(&pool, idle);
    cr_expect(eq(sz, fake.drains, 1));
    cr_expect(eq(int, block_state(idle), BLOCK_EMPTY));
    expect_gauges(0, 0, 0);
}

Test(pool_fork, a_child_finds_what_a_thread_of_its_parent_had_in_its_hands) {
    struct block *moving = fill(8 * MIB);
    release(moving, 1);
    pool_before_fork(&pool);
    moving->wiped_on_fork = false; /* as the thread had taken it out before */
    block_set_state(moving, BLOCK_MOVING);
    pool_after_fork_in_child(&pool);
    pool_adopt(&pool, moving);
    cr_expect(eq(sz, fake.drains, 1));
    cr_expect(eq(int, block_state(moving), BLOCK_EMPTY));
    cr_expect(eq(ptr, fill(8 * MIB), moving));
    expect_valid();
}

Test(pool_fork, a_block_that_keeps_its_mark_is_never_handed_out_by_the_child) {
    struct block *marked = fill(8 * MIB);
    release(marked, 1);
    fake.refuse_unmark = true;
    pool_before_fork(&pool);
    pool_after_fork_in_child(&pool);
    pool_adopt(&pool, marked);
    expect_gauges(0, 0, 0);
    cr_expect(eq(ptr, acquire(8 * MIB), NULL));
    cr_expect(not(eq(ptr, fill(8 * MIB), marked)), "its own children would lose what it holds");
}

Test(pool_fork, what_a_child_inherits_is_neither_hit_nor_miss) {
    struct block *live = fill(8 * MIB);
    pool_before_fork(&pool);
    pool_after_fork_in_child(&pool);
    pool_adopt(&pool, live);
    cr_expect(eq(sz, figure(&pool.own.classes[56].hits), 0));
    cr_expect(eq(sz, figure(&pool.own.stats.missed_bytes), 0));
    cr_expect(eq(sz, figure(&pool.own.stats.inherited_bytes), 8 * MIB));
}

/* ---- long random lives, beside a model ---- */

enum {
    MODEL_BLOCKS = 40
};

/* What the program holds: the block, how much of it, and the byte that it wrote everywhere. */
static struct held {
    struct block *b;
    size_t bytes;
    char value;
} held[MODEL_BLOCKS];

static unsigned seed = 12345;
static char next_value = 1;
static size_t largest;

static size_t chance(size_t n) {
    return (size_t)rand_r(&seed) % n;
}

static size_t any_size(void) {
    return 1 + chance(largest);
}

static void write_value(struct held *h) {
    h->value = next_value;
    next_value = (char)(next_value % 100 + 1);
    memset(h->b->address, h->value, h->bytes);
}

static void model_acquire(struct held *h) {
    h->bytes = any_size();
    enum pool_pages pages = chance(3) == 0 ? PAGES_ZERO : PAGES_ANY;
    h->b = pool_acquire(&pool, h->bytes, pages);
    enum fill_result result = FILL_OK;
    if (h->b == NULL && (h->b = pool_fill(&pool, h->bytes, pages, &result)) == NULL) {
        cr_assert(eq(int, result, FILL_REFUSED));
        return;
    }
    cr_assert(eq(sz, h->b->requested_bytes, h->bytes));
    if (pages == PAGES_ZERO) {
        cr_assert(is_all(h->b->address, block_usable_bytes(h->b), 0));
    }
    write_value(h);
}

/* As realloc does it. */
static void model_resize(struct held *h, uint64_t now_ms) {
    size_t bytes = any_size();
    enum fill_result result = FILL_OK;
    if (resize_in_place(&pool, h->b, bytes)) {
        resize_shed(&pool, h->b, now_ms);
    } else {
        struct block *b = resize_by_moving(&pool, h->b, bytes, &result);
        bytes = b != NULL ? bytes : h->bytes;
        h->b = b != NULL ? b : h->b;
    }
    cr_assert(is_all(h->b->address, size_min(bytes, h->bytes), h->value));
    h->bytes = bytes;
    write_value(h);
}

static void model_use(struct held *h, uint64_t now_ms) {
    cr_assert(is_all(h->b->address, h->bytes, h->value), "somebody else wrote into a live block");
    if (chance(3) == 0) {
        model_resize(h, now_ms);
        return;
    }
    if (chance(10) == 0) {
        cr_assert(discard(h->b));
    } else {
        release(h->b, now_ms);
    }
    cr_assert(not(pool_release(&pool, h->b, now_ms)));
    h->b = NULL;
}

static void expect_model_totals(void) {
    size_t live = 0;
    size_t requested = 0;
    for (int i = 0; i < MODEL_BLOCKS; i++) {
        live += held[i].b != NULL ? extent_bytes(block_held(held[i].b)) : 0;
        requested += held[i].b != NULL ? held[i].bytes : 0;
    }
    cr_assert(eq(sz, gauge_current(&pool.own.stats.allocated_bytes), live));
    cr_assert(eq(sz, gauge_current(&pool.own.stats.requested_bytes), requested));
    cr_assert(pool_is_valid(&pool));
}

static void model_reclaim(uint64_t now_ms) {
    switch (chance(3)) {
    case 0: {
        size_t idle = chance(8 * largest);
        (void)reclaim_beyond(&pool, idle, &pool.own.stats.capped_bytes);
        cr_assert(fake.refuse_drain || pool_idle_bytes(&pool) <= idle);
        return;
    }
    case 1:
        (void)reclaim_aged(&pool, now_ms - size_min(now_ms, 100), 0, &pool.own.stats.aged_bytes);
        return;
    default: (void)reclaim_promises(&pool, now_ms); return;
    }
}

static void model_step(uint64_t now_ms) {
    static const enum move_result REFUSALS[] = {MOVE_CANNOT, MOVE_REFUSED, MOVE_LOST};
    fake.refuse_fill = chance(10) == 0 ? fake.fills + 1 : 0;
    fake.refuse_drain = chance(10) == 0;
    fake.refuse_clear = chance(10) == 0;
    fake.refuse_granule = chance(4) == 0 ? fake.granules + 1 + chance(4) : 0;
    fake.move_refusal = REFUSALS[chance(3)];
    struct held *h = &held[chance(MODEL_BLOCKS)];
    if (chance(50) == 0) {
        model_reclaim(now_ms);
    } else if (h->b == NULL) {
        model_acquire(h);
    } else {
        model_use(h, now_ms);
    }
}

static void live_for(size_t steps, size_t largest_bytes) {
    largest = largest_bytes;
    start_with_memory();
    for (uint64_t step = 0; step < steps; step++) {
        model_step(step);
        expect_model_totals();
    }
}

Test(pool_model, no_two_owners_share_a_byte_over_thirty_thousand_random_steps) {
    live_for(30000, 96 * KIB);
}

Test(pool_model, no_two_owners_share_a_byte_where_pages_are_lent_and_refused) {
    live_for(1500, 12 * MIB);
    cr_expect(gt(sz, figure(&pool.own.stats.recycled_blocks), 10));
    cr_expect(gt(sz, figure(&pool.own.stats.moved_blocks), 10));
    cr_expect(gt(sz, figure(&pool.own.stats.lost_blocks), 10));
}

/* ---- in two steps, and gone ---- */

Test(pool, a_held_block_is_nobody_elses_until_it_is_put_back) {
    struct block *b = fill(8 * MIB);
    cr_assert(pool_hold(&pool, b));
    cr_expect(eq(int, block_state(b), BLOCK_MOVING));
    cr_expect(not(pool_hold(&pool, b)), "it is not live any more");
    cr_expect(eq(ptr, acquire(8 * MIB), NULL));
    pool_put(&pool, b, 7);
    cr_expect(eq(u64, b->freed_ms, 7));
    cr_expect(eq(ptr, acquire(8 * MIB), b));
}

Test(pool, forgets_a_live_block_that_somebody_else_frees) {
    struct block *b = fill(8 * MIB);
    cr_expect(pool_forget(&pool, b));
    cr_expect(eq(ptr, b->address, NULL));
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    expect_gauges(0, 0, 0);
    cr_expect(eq(sz, fake.drains, 0), "nothing of it is given back");
}

Test(pool, forgets_an_idle_and_a_held_block) {
    struct block *idle = fill(8 * MIB);
    struct block *kept = fill(8 * MIB);
    release(idle, 1);
    cr_assert(pool_hold(&pool, kept));
    cr_expect(not(pool_forget(&pool, idle)), "it was not live");
    cr_expect(not(pool_forget(&pool, kept)));
    expect_gauges(0, 0, 0);
}

/* ---- blocks that have all their memory or none ---- */

static size_t to_pages_of_2_mib(const struct backend *self, size_t bytes) {
    (void)self;
    return round_up(bytes, 2 * MIB);
}

static void start_whole(void) {
    start_without_memory();
    fake.backend.is_whole = true;
    fake.backend.cannot_move = true;
    fake.backend.rounded = to_pages_of_2_mib;
    pool_init(&pool, &fake.backend, pool.records);
}

TestSuite(pool_whole, .init = start_whole, .fini = expect_valid);

Test(pool_whole, counts_what_the_backend_gave) {
    struct block *b = fill(300 * MIB);
    expect_gauges(300 * MIB, 300 * MIB, 300 * MIB);
    release(b, 1);
    expect_gauges(0, 300 * MIB, 0);
}

Test(pool_whole, a_block_of_the_class_that_has_too_little_does_not_serve) {
    struct block *small = fill(300 * MIB);
    struct block *large = fill(316 * MIB);
    cr_assert(eq(int, small->size_class, large->size_class));
    release(large, 1);
    release(small, 2);
    cr_expect(eq(ptr, acquire(310 * MIB), large), "though the other is newer");
    cr_expect(eq(ptr, acquire(310 * MIB), NULL));
    cr_expect(eq(ptr, acquire(299 * MIB), small));
}

Test(pool_whole, fills_a_new_block_rather_than_one_that_has_too_little) {
    struct block *small = fill(300 * MIB);
    release(small, 1);
    struct block *b = fill(310 * MIB);
    cr_expect(not(eq(ptr, b, small)));
    cr_expect(eq(int, block_state(small), BLOCK_IDLE));
}

Test(pool_whole, what_is_rounded_to_one_size_is_of_one_class) {
    struct block *b = fill(4 * MIB + 1);
    cr_expect(eq(sz, block_bytes(b), 6 * MIB));
    cr_expect(eq(sz, b->requested_bytes, 4 * MIB + 1));
    release(b, 1);
    cr_expect(eq(ptr, acquire(6 * MIB), b));
    release(b, 2);
    cr_expect(eq(ptr, acquire(5 * MIB), b));
}

Test(pool_whole, gives_back_whole_blocks) {
    struct block *b = fill(300 * MIB);
    release(b, 1);
    cr_expect(eq(sz, reclaim_beyond(&pool, 100 * MIB, &pool.own.stats.capped_bytes), 300 * MIB));
    expect_gauges(0, 0, 0);
}
