#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "pool/reclaim.h"
#include "pool/recycle.h"
#include "tests/pool/fake_pool.h"
#include "tests/pool/memory.h"

TestSuite(recycle, .init = start_without_memory, .fini = expect_valid);
TestSuite(recycle_contents, .init = start_with_memory, .fini = expect_valid);

/* Two idle blocks: that of 8 MiB is the older. */
static struct block *older;
static struct block *newer;

static void prepare(void) {
    older = fill(8 * MIB);
    newer = fill(4 * MIB);
    release(older, 1);
    release(newer, 2);
}

static void expect_gauges(size_t allocated, size_t idle) {
    cr_expect(eq(sz, gauge_current(&pool.own.stats.allocated_bytes), allocated));
    cr_expect(eq(sz, pool_idle_bytes(&pool), idle));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.reserved_bytes), allocated + idle));
    expect_valid();
}

/* ---- who lends ---- */

Test(recycle, the_oldest_lends_first) {
    prepare();
    (void)borrow(6 * MIB);
    cr_expect(eq(u32, older->granules, 1));
    cr_expect(eq(u32, newer->granules, 2));
    expect_gauges(6 * MIB, 6 * MIB);
}

Test(recycle, the_oldest_lends_all_before_a_newer_one_lends_any) {
    prepare();
    (void)borrow(10 * MIB);
    cr_expect(eq(int, block_state(older), BLOCK_EMPTY));
    cr_expect(eq(int, block_state(newer), BLOCK_IDLE));
    cr_expect(eq(u32, newer->granules, 1));
    expect_gauges(10 * MIB, 2 * MIB);
}

Test(recycle, nobody_lends_more_than_is_needed) {
    prepare();
    (void)borrow(8 * MIB + 1);
    expect_gauges(8 * MIB + 4 * KIB, 4 * MIB);
    cr_expect(eq(sz, fake.granules, 4));
}

Test(recycle, what_nobody_can_lend_is_fresh) {
    prepare();
    (void)borrow(32 * MIB);
    expect_gauges(32 * MIB, 0);
    cr_expect(eq(sz, figure(&pool.own.stats.recycled_bytes), 12 * MIB));
}

Test(recycle, a_lender_keeps_a_prefix_and_lends_from_its_end) {
    struct block *lender = idle_since(8 * MIB, 1);
    struct block *b = borrow(4 * MIB);
    cr_assert(eq(sz, fake.moves, 1));
    cr_expect(eq(ptr, fake.moved[0].from, lender));
    cr_expect(eq(ptr, fake.moved[0].to, b));
    cr_expect(eq(sz, fake.moved[0].from_at, 4 * MIB));
    cr_expect(eq(sz, fake.moved[0].to_at, 0));
    cr_expect(eq(sz, fake.moved[0].bytes, 4 * MIB));
    cr_expect(eq(u32, lender->granules, 2));
}

Test(recycle, a_block_is_filled_from_its_first_granule_on_whoever_lends) {
    prepare();
    (void)borrow(12 * MIB);
    cr_assert(eq(sz, fake.moves, 2));
    cr_expect(eq(sz, fake.moved[0].to_at, 0));
    cr_expect(eq(sz, fake.moved[1].to_at, fake.moved[0].bytes));
    cr_expect(eq(sz, figure(&pool.own.stats.moves), 2));
    cr_expect(eq(sz, figure(&pool.own.stats.recycled_blocks), 1));
}

Test(recycle, a_block_that_holds_a_part_borrows_the_rest_behind_it) {
    struct block *b = idle_since(8 * MIB, 1);
    struct block *borrower = borrow(6 * MIB);
    cr_assert(eq(u32, b->granules, 1));
    release(borrower, 2);
    cr_expect(eq(ptr, borrow(8 * MIB), b));
    cr_expect(eq(u32, b->granules, 4));
    cr_expect(eq(sz, fake.moved[1].to_at, 2 * MIB));
    expect_gauges(8 * MIB, 0);
}

Test(recycle, a_live_block_lends_nothing) {
    (void)fill(8 * MIB);
    (void)borrow(4 * MIB);
    cr_expect(eq(sz, fake.moves, 0));
    expect_gauges(12 * MIB, 0);
}

Test(recycle, a_fill_with_fresh_pages_borrows_nothing) {
    prepare();
    (void)fill(16 * MIB);
    cr_expect(eq(sz, fake.moves, 0));
    expect_gauges(16 * MIB, 12 * MIB);
}

Test(recycle, a_block_of_a_tail_alone_lends_and_borrows_no_granules) {
    struct block *small = idle_since(1 * MIB, 1);
    (void)borrow(4 * MIB);
    cr_expect(eq(int, block_state(small), BLOCK_IDLE));
    struct block *large = idle_since(8 * MIB, 2);
    (void)borrow(1 * MIB + 128 * KIB);
    cr_expect(eq(int, block_state(large), BLOCK_IDLE));
    cr_expect(eq(sz, fake.moves, 0), "nor has the small one room enough in its tail");
}

Test(recycle, kinds_of_memory_that_cannot_move_are_fresh) {
    fake.backend.cannot_move = true;
    prepare();
    (void)borrow(16 * MIB);
    expect_gauges(16 * MIB, 12 * MIB);
    cr_expect(eq(sz, fake.clears, 0));
}

/* ---- what becomes of lenders ---- */

Test(recycle, an_emptied_lender_keeps_its_address_and_is_the_first_to_be_refilled) {
    struct block *lender = idle_since(8 * MIB, 1);
    char *address = lender->address;
    (void)borrow(16 * MIB);
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY));
    cr_expect(lender->committed, "no system call gave it up");
    cr_expect(eq(sz, fake.drains, 0));
    cr_expect(eq(ptr, fill(8 * MIB), lender));
    cr_expect(eq(ptr, lender->address, address));
    cr_expect(not(eq(ptr, fill(8 * MIB), lender)), "and then come new ones");
}

Test(recycle, what_still_holds_pages_is_the_next_to_lend_them) {
    struct block *lender = fill(8 * MIB);
    struct block *other = fill(8 * MIB);
    release(lender, 1);
    (void)borrow(2 * MIB);
    release(other, 5);
    cr_expect(eq(ptr, pool.buckets[56].oldest, lender));
    (void)borrow(6 * MIB);
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY));
    cr_expect(eq(u32, other->granules, 4));
}

Test(recycle, a_whole_block_is_a_hit_though_one_of_its_class_lent_pages) {
    struct block *lender = fill(8 * MIB);
    struct block *whole = fill(8 * MIB);
    release(lender, 1);
    release(whole, 2);
    (void)borrow(2 * MIB);
    cr_expect(eq(ptr, acquire(8 * MIB), whole));
    cr_expect(eq(ptr, acquire(8 * MIB), NULL));
}

/* ---- tails ---- */

Test(recycle, a_lender_keeps_its_tail) {
    struct block *lender = idle_since(9 * MIB, 1);
    (void)borrow(2 * MIB);
    cr_expect(eq(u32, lender->granules, 3));
    cr_expect(eq(u32, lender->tail_bytes, 1 * MIB));
    cr_expect(eq(sz, fake.clears, 0));
    expect_gauges(2 * MIB, 7 * MIB);
}

Test(recycle, the_tail_of_an_emptied_lender_is_idle_memory_still) {
    struct block *lender = idle_since(9 * MIB, 1);
    (void)borrow(8 * MIB);
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY));
    cr_expect(eq(u32, lender->tail_bytes, 1 * MIB));
    expect_gauges(8 * MIB, 1 * MIB);
}

Test(recycle, an_emptied_lender_with_a_tail_is_refilled_before_one_without) {
    struct block *with = fill(9 * MIB);
    struct block *without = fill(9 * MIB);
    release(with, 1);
    (void)borrow(8 * MIB);
    release(without, 2);
    (void)borrow(8 * MIB);
    (void)reclaim_block(&pool, stock_pop_lent(&pool, without->size_class), 0,
                        &pool.own.stats.trimmed_bytes);
    cr_assert(eq(u32, without->tail_bytes, 0));
    cr_expect(eq(ptr, borrow(9 * MIB), with));
    expect_gauges(25 * MIB, 0);
}

Test(recycle, the_tails_of_emptied_lenders_go_back_before_whole_blocks) {
    struct block *lender = idle_since(9 * MIB, 1);
    (void)borrow(8 * MIB);
    struct block *idle = fill(8 * MIB);
    release(idle, 0);
    cr_expect(eq(sz, reclaim_beyond(&pool, 8 * MIB, &pool.own.stats.capped_bytes), 1 * MIB));
    cr_expect(eq(u32, lender->tail_bytes, 0));
    cr_expect(eq(int, block_state(idle), BLOCK_IDLE), "though it is older");
    expect_gauges(8 * MIB, 8 * MIB);
}

Test(recycle, the_tails_of_emptied_lenders_age) {
    struct block *lender = idle_since(9 * MIB, 5);
    (void)borrow(8 * MIB);
    cr_expect(eq(sz, reclaim_aged(&pool, 5, 0, &pool.own.stats.aged_bytes), 0));
    cr_expect(eq(sz, reclaim_aged(&pool, 6, 0, &pool.own.stats.aged_bytes), 1 * MIB));
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY));
    expect_gauges(8 * MIB, 0);
}

/* An emptied block whose tail holds 1 MiB. */
static struct block *bare_tail(void) {
    struct block *lender = idle_since(9 * MIB, 1);
    (void)borrow(8 * MIB);
    cr_assert(eq(int, block_state(lender), BLOCK_EMPTY));
    return lender;
}

Test(recycle, the_tail_of_an_emptied_lender_becomes_that_of_another) {
    struct block *lender = bare_tail();
    struct block *b = borrow(5 * MIB);
    cr_assert(eq(sz, fake.moves, 2));
    cr_expect(eq(ptr, fake.moved[1].from, lender));
    cr_expect(eq(ptr, fake.moved[1].to, b));
    cr_expect(eq(sz, fake.moved[1].from_at, 8 * MIB));
    cr_expect(eq(sz, fake.moved[1].to_at, 4 * MIB));
    cr_expect(eq(sz, fake.moved[1].bytes, 1 * MIB));
    cr_expect(eq(u32, lender->tail_bytes, 0));
    expect_gauges(13 * MIB, 0);
}

Test(recycle, a_tail_lends_its_end_as_far_as_is_needed) {
    struct block *lender = bare_tail();
    struct block *b = borrow(4 * MIB + 256 * KIB);
    cr_expect(eq(sz, fake.moved[1].from_at, 8 * MIB + 512 * KIB));
    cr_expect(eq(sz, fake.moved[1].bytes, 512 * KIB), "all that there is room for");
    cr_expect(eq(u32, b->tail_bytes, 512 * KIB));
    cr_expect(eq(u32, lender->tail_bytes, 512 * KIB));
    expect_gauges(12 * MIB + 512 * KIB, 512 * KIB);
}

Test(recycle, of_a_tail_with_room_to_spare_no_more_than_is_needed_moves) {
    struct block *lender = idle_since(8 * MIB + 512 * KIB, 1);
    (void)borrow(8 * MIB);
    struct block *b = borrow(4 * MIB + 256 * KIB);
    cr_expect(eq(sz, fake.moved[1].from_at, 8 * MIB + 256 * KIB));
    cr_expect(eq(sz, fake.moved[1].bytes, 512 * KIB));
    cr_expect(eq(u32, b->tail_bytes, 256 * KIB));
    cr_expect(eq(u32, lender->tail_bytes, 256 * KIB));
    expect_gauges(12 * MIB + 256 * KIB, 256 * KIB);
}

Test(recycle, what_a_tail_lacks_is_fresh) {
    (void)idle_since(8 * MIB + 256 * KIB, 1);
    (void)borrow(8 * MIB);
    struct block *b = borrow(5 * MIB);
    cr_expect(eq(sz, figure(&pool.own.stats.recycled_bytes), 8 * MIB + 256 * KIB));
    cr_expect(eq(u32, b->tail_bytes, 1 * MIB));
    expect_gauges(13 * MIB, 0);
}

Test(recycle, a_tail_is_of_no_use_where_more_room_is_to_be_filled) {
    struct block *lender = idle_since(4 * MIB + 512 * KIB, 1);
    (void)borrow(4 * MIB);
    (void)borrow(5 * MIB);
    cr_expect(eq(sz, fake.moves, 1));
    cr_expect(eq(u32, lender->tail_bytes, 512 * KIB));
}

Test(recycle, a_tail_too_small_to_be_worth_a_move_stays) {
    (void)idle_since(8 * MIB + 32 * KIB, 1);
    (void)borrow(8 * MIB);
    (void)borrow(5 * MIB);
    cr_expect(eq(sz, fake.moves, 1));
    expect_gauges(13 * MIB, 32 * KIB);
}

Test(recycle, the_largest_tail_of_emptied_lenders_is_lent_first) {
    struct block *small = idle_since(4 * MIB + 256 * KIB, 1);
    struct block *large = idle_since(9 * MIB, 1);
    (void)borrow(12 * MIB);
    (void)borrow(6 * MIB + 512 * KIB);
    cr_expect(eq(u32, large->tail_bytes, 512 * KIB));
    cr_expect(eq(u32, small->tail_bytes, 256 * KIB));
}

Test(recycle, of_blocks_that_are_nothing_but_tails_the_oldest_lends) {
    struct block *second = fill(1 * MIB);
    struct block *first = fill(1 * MIB + 128 * KIB);
    release(first, 1);
    release(second, 2);
    (void)borrow(5 * MIB);
    cr_expect(eq(u32, first->tail_bytes, 128 * KIB));
    cr_expect(eq(u32, second->tail_bytes, 1 * MIB));
    expect_gauges(5 * MIB, 1 * MIB + 128 * KIB);
}

Test(recycle, an_idle_block_keeps_its_tail_while_that_of_an_emptied_one_is_to_be_had) {
    struct block *bare = bare_tail();
    struct block *idle = idle_since(1 * MIB, 0);
    (void)borrow(5 * MIB);
    cr_expect(eq(u32, bare->tail_bytes, 0));
    cr_expect(eq(u32, idle->tail_bytes, 1 * MIB), "though it is older");
}

Test(recycle, a_block_that_still_has_a_tail_borrows_no_other) {
    struct block *b = bare_tail();
    (void)idle_since(1 * MIB, 2);
    cr_expect(eq(ptr, borrow(9 * MIB), b));
    cr_expect(eq(sz, fake.moves, 1));
}

/* ---- refusals ---- */

static void refuse(size_t granule, enum move_result result) {
    fake.refuse_granule = granule;
    fake.move_refusal = result;
}

Test(recycle, lenders_stay_as_they_were_where_lending_is_not_to_be_had) {
    struct block *a = fill(9 * MIB);
    struct block *b = fill(5 * MIB);
    release(a, 1);
    release(b, 2);
    refuse(1, MOVE_CANNOT);
    (void)borrow(16 * MIB);
    cr_expect(eq(u32, a->granules, 4));
    cr_expect(eq(u32, a->tail_bytes, 1 * MIB), "tails too");
    cr_expect(eq(u32, b->granules, 2));
    cr_expect(eq(u32, b->tail_bytes, 1 * MIB));
    cr_expect(eq(int, block_state(a), BLOCK_IDLE));
    cr_expect(eq(int, block_state(b), BLOCK_IDLE));
    cr_expect(eq(sz, fake.granules, 1), "nobody else is asked");
    cr_expect(eq(sz, fake.drains, 0));
    expect_gauges(16 * MIB, 14 * MIB);
}

Test(recycle, a_lender_stopped_half_way_is_drained_and_the_rest_is_fresh) {
    struct block *lender = idle_since(8 * MIB, 1);
    refuse(3, MOVE_CANNOT);
    (void)borrow(8 * MIB + 1);
    cr_expect(eq(sz, figure(&pool.own.stats.recycled_bytes), 4 * MIB));
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY), "what was left of it was no prefix");
    cr_expect(eq(sz, fake.drains, 1));
    expect_gauges(8 * MIB + 4 * KIB, 0);
}

Test(recycle, a_lender_whose_pages_are_refused_is_drained_and_others_lend) {
    struct block *refused = fill(8 * MIB);
    struct block *other = fill(8 * MIB);
    release(refused, 1);
    release(other, 2);
    refuse(1, MOVE_REFUSED);
    (void)borrow(16 * MIB);
    cr_expect(eq(sz, fake.drains, 1));
    cr_expect(eq(sz, fake.moves, 2));
    cr_expect(eq(sz, figure(&pool.own.stats.recycled_bytes), 8 * MIB), "those of the second");
    cr_expect(eq(int, block_state(refused), BLOCK_EMPTY));
    cr_expect(eq(int, block_state(other), BLOCK_EMPTY));
    cr_expect(eq(sz, figure(&pool.own.stats.released_bytes), 8 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.stuck_bytes), 8 * MIB));
    expect_gauges(16 * MIB, 0);
}

Test(recycle, a_lender_that_can_be_neither_moved_nor_drained_stays_idle) {
    struct block *stuck = idle_since(8 * MIB, 1);
    fake.refuse_block = stuck;
    (void)borrow(4 * MIB);
    cr_expect(eq(int, block_state(stuck), BLOCK_IDLE));
    cr_expect(eq(u32, stuck->granules, 4));
    expect_gauges(4 * MIB, 8 * MIB);
}

Test(recycle, a_tail_that_is_refused_goes_back_and_another_is_fresh) {
    struct block *lender = bare_tail();
    refuse(fake.granules + 1, MOVE_REFUSED);
    (void)borrow(5 * MIB);
    cr_expect(eq(u32, lender->tail_bytes, 0));
    cr_expect(eq(sz, figure(&pool.own.stats.stuck_bytes), 1 * MIB));
    expect_gauges(13 * MIB, 0);
}

Test(recycle, a_block_that_loses_addresses_to_a_tail_is_lost) {
    (void)bare_tail();
    refuse(fake.granules + 1, MOVE_LOST);
    struct block *b = borrow(5 * MIB);
    struct block *lost = fake.moved[1].to;
    cr_expect(not(eq(ptr, b, lost)));
    cr_expect(eq(int, block_state(lost), BLOCK_LOST));
    expect_gauges(13 * MIB, 0);
}

Test(recycle, a_block_whose_addresses_are_lost_is_lost_and_another_is_filled) {
    struct block *lender = idle_since(8 * MIB, 1);
    refuse(2, MOVE_LOST);
    struct block *b = borrow(6 * MIB);
    struct block *lost = fake.moved[0].to;
    cr_expect(not(eq(ptr, b, lost)));
    cr_expect(eq(int, block_state(lost), BLOCK_LOST));
    cr_expect(eq(int, block_state(b), BLOCK_LIVE));
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY), "it was no prefix any more");
    cr_expect(eq(sz, figure(&pool.own.stats.lost_blocks), 1));
    expect_gauges(6 * MIB, 0);
}

Test(recycle, after_a_loss_the_lender_is_drained_and_another_block_is_filled_afresh) {
    struct block *lender = idle_since(8 * MIB, 1);
    refuse(1, MOVE_LOST);
    (void)borrow(6 * MIB);
    cr_expect(eq(int, block_state(fake.moved[0].to), BLOCK_LOST));
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY));
    cr_expect(eq(sz, fake.moves, 1), "one loss is enough for a request");
    expect_gauges(6 * MIB, 0);
}

Test(recycle, a_lost_block_is_never_used_again) {
    (void)idle_since(8 * MIB, 1);
    refuse(1, MOVE_LOST);
    struct block *b = borrow(6 * MIB);
    struct block *lost = fake.moved[0].to;
    cr_expect(not(pool_release(&pool, lost, 2)));
    release(b, 3);
    (void)reclaim_beyond(&pool, 0, &pool.own.stats.trimmed_bytes);
    for (int i = 0; i < 4; i++) {
        cr_expect(not(eq(ptr, fill(6 * MIB), lost)));
    }
    pool_before_fork(&pool);
    pool_after_fork_in_child(&pool);
    pool_adopt(&pool, lost);
    cr_expect(eq(int, block_state(lost), BLOCK_LOST), "nor by a child");
}

/* ---- contents ---- */

Test(recycle_contents, of_borrowed_pages_are_those_of_the_lender_and_its_own_stay) {
    struct block *lender = fill(8 * MIB);
    for (size_t i = 0; i < 4; i++) {
        memset(lender->address + i * GRANULE, 'a' + (int)i, GRANULE);
    }
    release(lender, 1);
    struct block *b = borrow(4 * MIB);
    cr_expect(is_all(b->address, GRANULE, 'c'));
    cr_expect(is_all(b->address + GRANULE, GRANULE, 'd'));
    cr_expect(is_all(lender->address, GRANULE, 'a'));
    cr_expect(is_all(lender->address + GRANULE, GRANULE, 'b'));
    cr_expect(is_all(lender->address + 2 * GRANULE, 2 * GRANULE, 0));
}

Test(recycle_contents, of_a_borrowed_tail_are_those_of_its_end) {
    struct block *lender = fill(9 * MIB);
    write_all(lender, 'g');
    memset(lender->address + 8 * MIB, 'a', 512 * KIB);
    memset(lender->address + 8 * MIB + 512 * KIB, 'b', 512 * KIB);
    release(lender, 1);
    (void)borrow(8 * MIB);
    struct block *b = borrow(4 * MIB + 512 * KIB);
    cr_expect(is_all(b->address + 4 * MIB, 512 * KIB, 'b'));
    cr_expect(is_all(lender->address + 8 * MIB, 512 * KIB, 'a'));
    cr_expect(is_all(lender->address + 8 * MIB + 512 * KIB, 512 * KIB, 0));
}

Test(recycle_contents, of_a_borrowed_tail_are_zeroed_where_zeros_are_asked_for) {
    struct block *lender = fill(9 * MIB);
    write_all(lender, 7);
    release(lender, 1);
    (void)borrow(8 * MIB);
    cr_expect(is_full_of(zeroed(4 * MIB + 512 * KIB), 0));
    cr_expect(eq(sz, fake.moves, 2));
}

Test(recycle_contents, of_a_stranger_who_took_an_address_are_left_alone) {
    struct block *lender = fill(8 * MIB);
    write_all(lender, 7);
    release(lender, 1);
    refuse(2, MOVE_LOST);
    (void)borrow(6 * MIB);
    struct block *lost = fake.moved[0].to;
    cr_assert(eq(ptr, fake.stranger, lost->address + GRANULE));
    cr_expect(is_all(fake.stranger, GRANULE, FAKE_STRANGER));
    cr_expect(is_all(lost->address, GRANULE, 0), "and what else it held went back");
}

Test(recycle_contents, of_a_lender_stopped_half_way_that_cannot_be_drained_are_not_forgotten) {
    struct block *lender = fill(8 * MIB);
    write_all(lender, 7);
    release(lender, 1);
    fake.refuse_drain = true;
    refuse(2, MOVE_CANNOT);
    (void)borrow(8 * MIB + 1);
    fake.refuse_drain = false;
    cr_expect(is_full_of(zeroed(8 * MIB), 0));
}

Test(recycle_contents, of_a_refilled_lender_are_zero_where_it_lent) {
    struct block *lender = fill(8 * MIB);
    write_all(lender, 7);
    release(lender, 1);
    (void)borrow(4 * MIB);
    cr_assert(eq(ptr, zeroed(8 * MIB), lender));
    cr_expect(is_full_of(lender, 0));
    cr_expect(eq(sz, figure(&pool.own.stats.zeroed_bytes), 4 * MIB),
              "what it lent is zero already");
}

Test(recycle_contents, of_the_tail_of_an_emptied_lender_are_not_forgotten) {
    struct block *lender = fill(9 * MIB);
    write_all(lender, 7);
    release(lender, 1);
    (void)borrow(8 * MIB);
    struct block *b = zeroed(9 * MIB);
    cr_assert(eq(ptr, b, lender));
    cr_expect(is_full_of(b, 0));
    cr_expect(eq(sz, figure(&pool.own.stats.zeroed_bytes), 1 * MIB), "the tail alone");
}
