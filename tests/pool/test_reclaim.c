#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "pool/reclaim.h"
#include "tests/pool/fake_pool.h"

TestSuite(reclaim, .init = start_without_memory, .fini = expect_valid);

static size_t beyond(size_t idle_max) {
    return reclaim_beyond(&pool, idle_max, &pool.own.stats.capped_bytes);
}

static size_t aged(uint64_t before_ms, size_t idle_min) {
    return reclaim_aged(&pool, before_ms, idle_min, &pool.own.stats.aged_bytes);
}

static const void *drained(size_t number) {
    return fake.drained[number];
}

static void expect_drained(size_t number, const struct block *b) {
    cr_expect(eq(ptr, (void *)(uintptr_t)drained(number), (void *)(uintptr_t)b));
}

static void expect_reserved(size_t bytes) {
    cr_expect(eq(sz, gauge_current(&pool.own.stats.reserved_bytes), bytes));
    expect_valid();
}

/* ---- down to a limit ---- */

Test(reclaim, beyond_nothing_empties_all_classes) {
    struct block *a = fill(8 * MIB);
    struct block *b = fill(1 * MIB);
    struct block *c = fill(8 * MIB);
    struct block *d = fill(64 * MIB);
    release(d, 10);
    release(a, 20);
    release(b, 30);
    release(c, 40);
    cr_expect(eq(sz, beyond(0), 81 * MIB));
    cr_expect(eq(sz, fake.drains, 4));
    cr_expect(eq(sz, pool_idle_bytes(&pool), 0));
    cr_expect(eq(int, block_state(d), BLOCK_EMPTY));
    expect_reserved(0);
}

Test(reclaim, beyond_a_limit_takes_the_oldest_and_leaves_the_newest) {
    struct block *newest = fill(8 * MIB);
    struct block *oldest = fill(1 * MIB);
    struct block *middle = fill(8 * MIB);
    release(oldest, 1);
    release(middle, 2);
    release(newest, 3);
    cr_expect(eq(sz, beyond(17 * MIB), 0), "no more is idle than may be");
    cr_expect(eq(sz, beyond(16 * MIB), 1 * MIB));
    expect_drained(0, oldest);
    cr_expect(eq(sz, beyond(8 * MIB), 8 * MIB));
    expect_drained(1, middle);
    cr_expect(eq(int, block_state(newest), BLOCK_IDLE));
    expect_reserved(8 * MIB);
}

Test(reclaim, beyond_a_limit_inside_a_block_takes_its_end) {
    struct block *b = idle_since(9 * MIB, 1);
    cr_expect(eq(sz, beyond(5 * MIB), 5 * MIB));
    cr_expect(eq(int, block_state(b), BLOCK_IDLE));
    cr_expect(eq(u32, b->granules, 2), "whole granules");
    cr_expect(eq(u32, b->tail_bytes, 0));
    cr_expect(eq(sz, fake.drains, 0));
    cr_expect(eq(sz, fake.cleared_from, 4 * MIB));
    cr_expect(eq(sz, fake.cleared_to, 9 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.released_bytes), 5 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.released_blocks), 0), "it is still there");
    expect_reserved(4 * MIB);
}

Test(reclaim, beyond_a_limit_takes_all_of_a_block_that_may_not_keep_a_granule) {
    struct block *b = idle_since(9 * MIB, 1);
    cr_expect(eq(sz, beyond(2 * MIB - 1), 9 * MIB));
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    expect_reserved(0);
}

Test(reclaim, a_block_that_lost_its_end_is_the_next_to_lose_the_rest) {
    struct block *b = fill(8 * MIB);
    struct block *other = fill(8 * MIB);
    release(b, 1);
    release(other, 2);
    (void)beyond(12 * MIB);
    cr_expect(eq(ptr, pool.buckets[56].oldest, b));
    (void)beyond(8 * MIB);
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    cr_expect(eq(int, block_state(other), BLOCK_IDLE));
}

Test(reclaim, a_block_whose_end_cannot_go_back_is_as_it_was) {
    struct block *b = idle_since(9 * MIB, 1);
    fake.refuse_clear = true;
    cr_expect(eq(sz, beyond(4 * MIB), 0));
    cr_expect(eq(int, block_state(b), BLOCK_IDLE));
    cr_expect(eq(u32, b->granules, 4));
    cr_expect(eq(u32, b->tail_bytes, 1 * MIB));
    expect_reserved(9 * MIB);
}

Test(reclaim, leaves_live_blocks_alone) {
    struct block *live = fill(8 * MIB);
    struct block *idle = fill(8 * MIB);
    release(idle, 1);
    cr_expect(eq(sz, beyond(0), 8 * MIB));
    cr_expect(eq(int, block_state(live), BLOCK_LIVE));
    expect_reserved(8 * MIB);
}

Test(reclaim, of_nothing_does_nothing) {
    cr_expect(eq(sz, beyond(0), 0));
    cr_expect(eq(sz, aged(UINT64_MAX, 0), 0));
    cr_expect(eq(sz, fake.drains, 0));
}

Test(reclaim, a_drained_block_is_no_hit_but_the_first_to_be_filled) {
    struct block *b = idle_since(8 * MIB, 1);
    char *address = b->address;
    (void)beyond(0);
    cr_expect(eq(ptr, acquire(8 * MIB), NULL));
    cr_expect(eq(ptr, fill(8 * MIB), b));
    cr_expect(eq(ptr, b->address, address));
    cr_expect(not(eq(ptr, fill(8 * MIB), b)), "and then come new ones");
}

/* ---- figures ---- */

Test(reclaim, counts_blocks_and_bytes_and_why_they_went) {
    release(fill(8 * MIB), 1);
    release(fill(1 * MIB), 2);
    (void)beyond(1 * MIB);
    (void)aged(3, 0);
    cr_expect(eq(sz, figure(&pool.own.stats.released_blocks), 2));
    cr_expect(eq(sz, figure(&pool.own.stats.released_bytes), 9 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.capped_bytes), 8 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.aged_bytes), 1 * MIB));
}

Test(reclaim, gives_back_what_a_block_holds_and_not_its_class) {
    struct block *b = idle_since(8 * MIB, 1);
    (void)borrow(2 * MIB);
    cr_assert(eq(u32, b->granules, 3));
    cr_expect(eq(sz, beyond(0), 6 * MIB));
    expect_reserved(2 * MIB);
}

/* ---- by age ---- */

Test(reclaim, of_the_aged_takes_what_became_idle_before_that_time) {
    struct block *at_10 = fill(8 * MIB);
    struct block *at_11 = fill(8 * MIB);
    struct block *other = fill(1 * MIB);
    release(at_10, 10);
    release(at_11, 11);
    release(other, 10);
    cr_expect(eq(sz, aged(10, 0), 0), "10 is not before 10");
    cr_expect(eq(sz, aged(11, 0), 9 * MIB));
    cr_expect(eq(int, block_state(at_10), BLOCK_EMPTY));
    cr_expect(eq(int, block_state(other), BLOCK_EMPTY));
    cr_expect(eq(int, block_state(at_11), BLOCK_IDLE));
    expect_reserved(8 * MIB);
}

Test(reclaim, of_the_aged_drains_the_largest_first) {
    struct block *small = fill(1 * MIB);
    struct block *large = fill(64 * MIB);
    struct block *middle = fill(8 * MIB);
    release(small, 1);
    release(large, 2);
    release(middle, 3);
    (void)aged(4, 0);
    expect_drained(0, large);
    expect_drained(1, middle);
    expect_drained(2, small);
}

Test(reclaim, of_the_aged_leaves_what_may_stay_idle_and_takes_the_largest_first) {
    struct block *small = fill(8 * MIB);
    struct block *large = fill(64 * MIB);
    release(small, 1);
    release(large, 2);
    cr_expect(eq(sz, aged(3, 72 * MIB), 0));
    cr_expect(eq(sz, aged(3, 8 * MIB), 64 * MIB));
    cr_expect(eq(int, block_state(small), BLOCK_IDLE));
    expect_reserved(8 * MIB);
}

Test(reclaim, tells_when_the_oldest_became_idle) {
    cr_expect(eq(u64, reclaim_oldest_ms(&pool), UINT64_MAX), "never");
    struct block *a = fill(8 * MIB);
    struct block *b = fill(1 * MIB);
    release(a, 20);
    release(b, 10);
    cr_expect(eq(u64, reclaim_oldest_ms(&pool), 10));
    cr_assert(eq(ptr, acquire(1 * MIB), b));
    cr_expect(eq(u64, reclaim_oldest_ms(&pool), 20));
}

/* ---- what cannot be drained ---- */

Test(reclaim, a_block_that_cannot_be_drained_stays_idle) {
    struct block *b = idle_since(8 * MIB, 1);
    fake.refuse_drain = true;
    cr_expect(eq(sz, beyond(0), 0));
    cr_expect(eq(int, block_state(b), BLOCK_IDLE));
    cr_expect(eq(sz, figure(&pool.own.stats.released_bytes), 0));
    expect_reserved(8 * MIB);
    cr_expect(eq(ptr, acquire(8 * MIB), b), "and is as good as before");
}

Test(reclaim, blocks_that_cannot_be_drained_keep_their_order) {
    struct block *a = fill(8 * MIB);
    struct block *b = fill(8 * MIB);
    struct block *c = fill(8 * MIB);
    release(a, 1);
    release(b, 2);
    release(c, 3);
    fake.refuse_drain = true;
    (void)beyond(0);
    cr_expect(eq(ptr, pool.buckets[56].newest, c));
    cr_expect(eq(ptr, pool.buckets[56].oldest, a));
    (void)aged(3, 0);
    cr_expect(eq(ptr, pool.buckets[56].newest, c));
    cr_expect(eq(ptr, c->older, b));
    cr_expect(eq(ptr, pool.buckets[56].oldest, a));
}

Test(reclaim, one_block_that_cannot_be_drained_does_not_keep_the_others) {
    struct block *stuck = fill(8 * MIB);
    struct block *other = fill(8 * MIB);
    release(stuck, 1);
    release(other, 2);
    fake.refuse_block = stuck;
    cr_expect(eq(sz, beyond(0), 8 * MIB));
    cr_expect(eq(int, block_state(other), BLOCK_EMPTY));
    expect_reserved(8 * MIB);
}

Test(reclaim, a_discarded_block_that_cannot_be_drained_is_idle) {
    struct block *b = fill(8 * MIB);
    fake.refuse_drain = true;
    cr_expect(discard(b));
    cr_expect(eq(int, block_state(b), BLOCK_IDLE));
    expect_reserved(8 * MIB);
}

/* ---- promises ---- */

Test(reclaim, promises_for_blocks_that_lent_everything_end) {
    struct block *lender = idle_since(64 * MIB, 5);
    (void)borrow(32 * MIB);
    (void)borrow(40 * MIB);
    cr_assert(eq(int, block_state(lender), BLOCK_EMPTY));
    cr_expect(not(reclaim_promises(&pool, 5)), "5 is not before 5");
    cr_expect(lender->committed);
    cr_expect(reclaim_promises(&pool, 6));
    cr_expect(not(lender->committed));
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY));
    cr_expect(eq(sz, fake.drains, 1));
    cr_expect(not(reclaim_promises(&pool, UINT64_MAX)), "there is none any more");
}

Test(reclaim, of_promises_changes_no_figure) {
    struct block *lender = idle_since(64 * MIB, 5);
    (void)borrow(72 * MIB);
    cr_assert(lender->committed);
    cr_assert(reclaim_promises(&pool, 6));
    cr_expect(eq(sz, figure(&pool.own.stats.released_blocks), 0));
    cr_expect(eq(sz, figure(&pool.own.stats.released_bytes), 0));
    expect_reserved(72 * MIB);
}

Test(reclaim, of_promises_leaves_those_of_idle_and_live_blocks) {
    struct block *idle = fill(8 * MIB);
    struct block *live = fill(8 * MIB);
    release(idle, 1);
    cr_expect(not(reclaim_promises(&pool, UINT64_MAX)));
    cr_expect(idle->committed && live->committed);
}

Test(reclaim, a_block_without_a_promise_can_be_filled_again) {
    struct block *lender = idle_since(64 * MIB, 5);
    (void)borrow(72 * MIB);
    cr_assert(reclaim_promises(&pool, 6));
    cr_expect(eq(ptr, fill(64 * MIB), lender));
    cr_expect(lender->committed);
    cr_expect(not(reclaim_promises(&pool, UINT64_MAX)));
}

Test(reclaim, of_promises_takes_them_out_of_the_middle_of_a_list) {
    struct block *lenders[3];
    for (int i = 0; i < 3; i++) {
        lenders[i] = fill(64 * MIB);
    }
    for (int i = 0; i < 3; i++) {
        release(lenders[i], i == 1 ? 10 : 20);
    }
    (void)borrow(192 * MIB);
    cr_assert(reclaim_promises(&pool, 11));
    cr_expect(not(lenders[1]->committed));
    cr_expect(lenders[0]->committed && lenders[2]->committed);
    struct block *again[3] = {fill(64 * MIB), fill(64 * MIB), fill(64 * MIB)};
    for (int i = 0; i < 3; i++) {
        cr_expect(again[i] == lenders[0] || again[i] == lenders[1] || again[i] == lenders[2]);
    }
}
