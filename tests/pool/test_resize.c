#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "pool/reclaim.h"
#include "pool/resize.h"
#include "tests/pool/fake_pool.h"
#include "tests/pool/memory.h"

TestSuite(resize, .init = start_with_memory, .fini = expect_valid);

static void expect_gauges(size_t allocated, size_t idle, size_t requested) {
    cr_expect(eq(sz, gauge_current(&pool.own.stats.allocated_bytes), allocated));
    cr_expect(eq(sz, pool_idle_bytes(&pool), idle));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.reserved_bytes), allocated + idle));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.requested_bytes), requested));
    expect_valid();
}

/* Granules full of 'a', 'b', ... up to the end of what the program may use. */
static struct block *lettered(size_t bytes) {
    struct block *b = fill(bytes);
    for (size_t at = 0; at < block_usable_bytes(b); at += GRANULE) {
        memset(b->address + at, 'a' + (int)(at / GRANULE),
               size_min(GRANULE, block_usable_bytes(b) - at));
    }
    return b;
}

static void expect_letters(const struct block *b, size_t bytes) {
    for (size_t at = 0; at < bytes; at += GRANULE) {
        cr_expect(
            is_all(b->address + at, size_min(GRANULE, bytes - at), (char)('a' + at / GRANULE)),
            "granule %zu", at / GRANULE);
    }
}

static void refuse(size_t granule, enum move_result result) {
    fake.refuse_granule = granule;
    fake.move_refusal = result;
}

/* ---- in place ---- */

Test(resize, within_the_class_is_in_place) {
    struct block *b = fill(8 * MIB - 100);
    cr_expect(resize_in_place(&pool, b, 8 * MIB));
    cr_expect(eq(sz, b->requested_bytes, 8 * MIB));
    expect_gauges(8 * MIB, 0, 8 * MIB);
    cr_expect(resize_in_place(&pool, b, 1));
    expect_gauges(8 * MIB, 0, 1);
}

Test(resize, beyond_the_class_is_not_in_place_and_changes_nothing) {
    struct block *b = fill(8 * MIB - 100);
    cr_expect(not(resize_in_place(&pool, b, 8 * MIB + 1)));
    cr_expect(eq(sz, b->requested_bytes, 8 * MIB - 100));
    expect_gauges(8 * MIB, 0, 8 * MIB - 100);
}

Test(resize, in_place_counts_granules_that_come_to_be_used) {
    struct block *b = idle_since(9 * MIB, 1);
    (void)reclaim_beyond(&pool, 0, &pool.own.stats.trimmed_bytes);
    cr_assert(eq(ptr, fill(8 * MIB + 1), b));
    expect_gauges(8 * MIB + 4 * KIB, 0, 8 * MIB + 1);
    cr_expect(resize_in_place(&pool, b, 9 * MIB));
    expect_gauges(9 * MIB, 0, 9 * MIB);
}

Test(resize, is_no_request_of_its_own) {
    struct block *b = fill(8 * MIB);
    cr_assert(resize_in_place(&pool, b, 7 * MIB + 512 * KIB));
    cr_assert(resize_in_place(&pool, b, 8 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.requested_bytes.allocated), 8 * MIB + 512 * KIB));
    cr_expect(eq(sz, figure(&pool.own.stats.grown_bytes), 512 * KIB));
    cr_expect(eq(sz, figure(&pool.own.stats.missed_bytes), 8 * MIB));
}

Test(resize, what_was_used_and_given_up_since_is_still_held) {
    struct block *b = fill(8 * MIB);
    cr_assert(resize_in_place(&pool, b, 1 * MIB));
    release(b, 1);
    cr_expect(eq(u32, b->granules, 4));
}

/* ---- shrink ---- */

static struct block *shrunk(size_t bytes, size_t to) {
    struct block *b = lettered(bytes);
    cr_assert(resize_in_place(&pool, b, to));
    resize_shed(&pool, b, 7);
    return b;
}

Test(resize, a_shrink_makes_an_idle_block_of_the_surplus) {
    struct block *b = shrunk(16 * MIB, 5 * MIB);
    expect_letters(b, 6 * MIB);
    expect_gauges(6 * MIB, 10 * MIB, 5 * MIB);
    struct block *surplus = acquire(10 * MIB);
    cr_assert(not(eq(ptr, surplus, NULL)));
    cr_expect(eq(u64, surplus->freed_ms, 7));
    cr_expect(is_all(surplus->address, GRANULE, 'd'));
    cr_expect(is_all(surplus->address + 4 * GRANULE, GRANULE, 'h'));
    cr_expect(is_all(b->address + 6 * MIB, 10 * MIB, 0));
}

Test(resize, a_shrink_inside_the_last_granule_sheds_nothing) {
    (void)shrunk(16 * MIB, 14 * MIB + 1);
    cr_expect(eq(sz, fake.moves, 0));
    cr_expect(eq(sz, fake.fills, 1));
    expect_gauges(16 * MIB, 0, 14 * MIB + 1);
}

Test(resize, a_shrunk_block_is_no_hit_for_its_class_any_more) {
    struct block *b = shrunk(16 * MIB, 8 * MIB);
    release(b, 8);
    cr_expect(eq(ptr, acquire(16 * MIB), NULL));
    cr_expect(eq(ptr, borrow(16 * MIB), b), "but the one to be filled again");
    cr_expect(eq(sz, figure(&pool.own.stats.recycled_bytes), 8 * MIB), "with what it had shed");
}

Test(resize, a_shrunk_block_grows_in_place_with_zeros) {
    struct block *b = shrunk(16 * MIB, 8 * MIB);
    cr_assert(resize_in_place(&pool, b, 16 * MIB));
    expect_letters(b, 8 * MIB);
    cr_expect(is_all(b->address + 8 * MIB, 8 * MIB, 0));
    expect_gauges(16 * MIB, 8 * MIB, 16 * MIB);
}

/* Zeros or what was there: nobody knows which, and so nobody may forget that it is there. */
static void expect_nothing_forgotten(struct block *b, size_t bytes) {
    release(b, 8);
    (void)reclaim_beyond(&pool, extent_bytes(block_held(b)), &pool.own.stats.trimmed_bytes);
    struct block *again = zeroed(bytes);
    cr_expect(eq(ptr, again, b));
    cr_expect(is_full_of(again, 0));
}

Test(resize, a_shrink_where_nothing_moves_gives_the_surplus_back) {
    refuse(1, MOVE_CANNOT);
    struct block *b = shrunk(16 * MIB, 8 * MIB);
    expect_letters(b, 8 * MIB);
    expect_gauges(8 * MIB, 0, 8 * MIB);
    cr_expect(eq(sz, fake.cleared_from, 8 * MIB));
    cr_expect(eq(sz, fake.cleared_to, 16 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.outgrown_bytes), 8 * MIB));
}

Test(resize, a_shrink_refused_half_way_gives_the_rest_back) {
    refuse(3, MOVE_REFUSED);
    struct block *b = shrunk(16 * MIB, 8 * MIB);
    expect_letters(b, 8 * MIB);
    expect_gauges(8 * MIB, 4 * MIB, 8 * MIB);
    cr_expect(eq(sz, figure(&pool.own.stats.outgrown_bytes), 4 * MIB));
}

Test(resize, a_shrink_that_loses_the_new_block_gives_all_back) {
    refuse(3, MOVE_LOST);
    struct block *b = shrunk(16 * MIB, 8 * MIB);
    expect_letters(b, 8 * MIB);
    expect_gauges(8 * MIB, 0, 8 * MIB);
    cr_expect(eq(int, block_state(fake.moved[0].to), BLOCK_LOST));
    cr_expect(is_all(fake.stranger, GRANULE, FAKE_STRANGER));
}

Test(resize, a_shrink_where_nothing_moves_and_nothing_goes_back_forgets_nothing) {
    refuse(1, MOVE_CANNOT);
    fake.refuse_clear = true;
    struct block *b = shrunk(16 * MIB, 8 * MIB);
    fake.refuse_clear = false;
    expect_letters(b, 8 * MIB);
    expect_nothing_forgotten(b, 16 * MIB);
}

Test(resize, a_shrink_refused_half_way_where_nothing_goes_back_forgets_nothing) {
    refuse(3, MOVE_REFUSED);
    fake.refuse_clear = true;
    struct block *b = shrunk(16 * MIB, 8 * MIB);
    fake.refuse_clear = false;
    expect_letters(b, 8 * MIB);
    expect_valid();
    expect_nothing_forgotten(b, 16 * MIB);
}

Test(resize, a_shrink_without_an_address_for_the_surplus_gives_it_back) {
    struct block *b = lettered(16 * MIB);
    fake.refuse_all_fills = true;
    fake.refusal = FILL_NO_ADDRESS;
    cr_assert(resize_in_place(&pool, b, 8 * MIB));
    resize_shed(&pool, b, 7);
    expect_letters(b, 8 * MIB);
    expect_gauges(8 * MIB, 0, 8 * MIB);
}

Test(resize, a_hit_that_is_larger_than_asked_for_sheds_what_it_does_not_serve) {
    struct block *b = idle_since(20 * MIB, 1);
    cr_assert(eq(ptr, acquire(16 * MIB), b));
    cr_assert(resize_in_place(&pool, b, 16 * MIB - 1));
    resize_shed(&pool, b, 2);
    expect_gauges(16 * MIB, 4 * MIB, 16 * MIB - 1);
}

/* ---- grow ---- */

static struct block *grown(struct block *b, size_t bytes) {
    enum fill_result result = FILL_REFUSED;
    struct block *to = resize_by_moving(&pool, b, bytes, &result);
    cr_assert(not(eq(ptr, to, NULL)));
    cr_expect(eq(int, result, FILL_OK));
    cr_expect(eq(sz, to->requested_bytes, bytes));
    cr_expect(eq(int, block_state(to), BLOCK_LIVE));
    return to;
}

Test(resize, growth_moves_the_granules) {
    struct block *b = lettered(8 * MIB);
    struct block *to = grown(b, 16 * MIB);
    expect_letters(to, 8 * MIB);
    cr_expect(is_all(to->address + 8 * MIB, 8 * MIB, 0));
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    cr_expect(eq(sz, fake.granules, 4));
    expect_gauges(16 * MIB, 0, 16 * MIB);
}

Test(resize, growth_copies_a_tail) {
    struct block *b = lettered(9 * MIB);
    struct block *to = grown(b, 16 * MIB);
    expect_letters(to, 9 * MIB);
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    expect_gauges(16 * MIB, 0, 16 * MIB);
}

Test(resize, growth_of_a_tail_alone_copies_it) {
    struct block *to = grown(lettered(1 * MIB), 1 * MIB + 512 * KIB);
    expect_letters(to, 1 * MIB);
    cr_expect(eq(sz, fake.moves, 0));
    expect_gauges(2 * MIB, 0, 1 * MIB + 512 * KIB);
}

Test(resize, growth_into_a_short_tail_moves_what_is_whole_there) {
    struct block *b = lettered(2 * MIB + 128 * KIB); /* a class of 2.25 MiB */
    struct block *to = grown(b, 2 * MIB + 300 * KIB);
    expect_letters(to, 2 * MIB + 128 * KIB);
    expect_gauges(2 * MIB + 300 * KIB, 0, 2 * MIB + 300 * KIB);
}

Test(resize, growth_is_counted_as_growth_and_not_as_a_request) {
    (void)grown(lettered(8 * MIB), 16 * MIB);
    cr_expect(eq(sz, figure(&pool.own.stats.moved_blocks), 1));
    cr_expect(eq(sz, figure(&pool.own.stats.grown_bytes), 16 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.missed_bytes), 8 * MIB));
    cr_expect(eq(sz, figure(&pool.own.stats.released_bytes), 0), "nothing went back");
}

Test(resize, growth_borrows_what_is_new_from_idle_blocks) {
    struct block *b = lettered(8 * MIB);
    struct block *lender = idle_since(4 * MIB, 1);
    memset(lender->address, 'x', 4 * MIB);
    struct block *to = grown(b, 16 * MIB);
    expect_letters(to, 8 * MIB);
    cr_expect(is_all(to->address + 8 * MIB, 4 * MIB, 'x'));
    cr_expect(is_all(to->address + 12 * MIB, 4 * MIB, 0));
    cr_expect(eq(int, block_state(lender), BLOCK_EMPTY));
    expect_gauges(16 * MIB, 0, 16 * MIB);
}

Test(resize, growth_where_nothing_moves_copies_all) {
    refuse(1, MOVE_CANNOT);
    struct block *b = lettered(9 * MIB);
    struct block *to = grown(b, 16 * MIB);
    expect_letters(to, 9 * MIB);
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    cr_expect(is_all(b->address, 10 * MIB, 0));
    expect_gauges(16 * MIB, 0, 16 * MIB);
}

static void expect_contents_after(size_t granule, enum move_result result) {
    start_with_memory();
    refuse(granule, result);
    struct block *b = lettered(9 * MIB);
    struct block *to = grown(b, 16 * MIB);
    expect_letters(to, 9 * MIB);
    expect_gauges(16 * MIB, 0, 16 * MIB);
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
}

Test(resize, growth_refused_anywhere_copies_the_rest) {
    for (size_t granule = 1; granule <= 4; granule++) {
        expect_contents_after(granule, MOVE_REFUSED);
        expect_contents_after(granule, MOVE_CANNOT);
    }
}

static void expect_as_it_was_after_loss_of(size_t granule) {
    start_with_memory();
    enum fill_result result = FILL_OK;
    refuse(granule, MOVE_LOST);
    struct block *b = lettered(9 * MIB);
    cr_expect(eq(ptr, resize_by_moving(&pool, b, 16 * MIB, &result), NULL));
    cr_expect(eq(int, result, FILL_LOST));
    expect_letters(b, 9 * MIB);
    cr_expect(eq(int, block_state(b), BLOCK_LIVE));
    cr_expect(is_all(fake.stranger, GRANULE, FAKE_STRANGER));
    expect_gauges(9 * MIB, 0, 9 * MIB);
    expect_letters(grown(b, 16 * MIB), 9 * MIB);
}

Test(resize, growth_that_loses_the_new_block_anywhere_leaves_the_old_one_as_it_was) {
    for (size_t granule = 1; granule <= 4; granule++) {
        expect_as_it_was_after_loss_of(granule);
    }
}

Test(resize, growth_that_loses_the_new_block_while_borrowing_leaves_the_old_one_as_it_was) {
    enum fill_result result = FILL_OK;
    struct block *b = lettered(9 * MIB);
    (void)idle_since(4 * MIB, 1);
    refuse(2, MOVE_LOST);
    cr_expect(eq(ptr, resize_by_moving(&pool, b, 16 * MIB, &result), NULL));
    cr_expect(eq(int, result, FILL_LOST));
    expect_letters(b, 9 * MIB);
    expect_gauges(9 * MIB, 0, 9 * MIB);
}

Test(resize, growth_without_memory_says_why_and_leaves_all_as_it_was) {
    enum fill_result result = FILL_OK;
    struct block *b = lettered(9 * MIB);
    fake.refuse_all_fills = true;
    cr_expect(eq(ptr, resize_by_moving(&pool, b, 16 * MIB, &result), NULL));
    cr_expect(eq(int, result, FILL_REFUSED));
    fake.refusal = FILL_NO_ADDRESS;
    cr_expect(eq(ptr, resize_by_moving(&pool, b, 32 * MIB, &result), NULL));
    cr_expect(eq(int, result, FILL_NO_ADDRESS));
    expect_letters(b, 9 * MIB);
    expect_gauges(9 * MIB, 0, 9 * MIB);
}

Test(resize, growth_out_of_a_block_that_cannot_be_drained_leaves_it_idle) {
    struct block *b = lettered(9 * MIB);
    fake.refuse_drain = true;
    struct block *to = grown(b, 16 * MIB);
    fake.refuse_drain = false;
    expect_letters(to, 9 * MIB);
    cr_expect(eq(int, block_state(b), BLOCK_IDLE));
    expect_valid();
    cr_expect(is_full_of(zeroed(9 * MIB), 0));
}

Test(resize, growth_refused_half_way_out_of_a_block_that_cannot_be_drained_forgets_nothing) {
    struct block *b = lettered(8 * MIB);
    refuse(2, MOVE_CANNOT);
    fake.refuse_drain = true;
    struct block *to = grown(b, 16 * MIB);
    fake.refuse_drain = false;
    expect_letters(to, 8 * MIB);
    cr_assert(eq(int, block_state(b), BLOCK_IDLE));
    expect_valid();
    struct block *again = zeroed(8 * MIB);
    cr_expect(eq(ptr, again, b));
    cr_expect(is_full_of(again, 0));
}

Test(resize, growth_step_by_step_ends_with_all_that_was_written) {
    struct block *b = fill(1 * MIB);
    memset(b->address, 7, 1 * MIB);
    for (size_t bytes = 2 * MIB; bytes <= 32 * MIB; bytes += MIB) {
        b = resize_in_place(&pool, b, bytes) ? b : grown(b, bytes);
        memset(b->address + bytes - MIB, 7, MIB);
        expect_valid();
    }
    cr_expect(is_full_of(b, 7));
    expect_gauges(32 * MIB, pool_idle_bytes(&pool), 32 * MIB);
}

/* ---- blocks whose pages a device knows ---- */

Test(resize, a_registered_block_keeps_what_it_outgrew) {
    struct block *b = lettered(16 * MIB);
    pool_register(&pool, b);
    cr_assert(resize_in_place(&pool, b, 5 * MIB));
    resize_shed(&pool, b, 7);
    expect_letters(b, 16 * MIB);
    expect_gauges(16 * MIB, 0, 5 * MIB);
}

Test(resize, the_pages_of_a_registered_block_are_copied) {
    struct block *b = lettered(8 * MIB);
    pool_register(&pool, b);
    enum fill_result result = FILL_OK;
    struct block *to = resize_by_moving(&pool, b, 16 * MIB, &result);
    cr_assert(not(eq(ptr, to, NULL)));
    expect_letters(to, 8 * MIB);
    expect_letters(b, 8 * MIB);
    cr_expect(eq(int, block_state(b), BLOCK_PARKED));
    pool_unregister(&pool, b);
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    expect_gauges(16 * MIB, 0, 16 * MIB);
}
