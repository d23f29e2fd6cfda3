#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/pool/fake_pool.h"

enum {
    LAST = SIZE_CLASSES - 1
};

static struct block blocks[8];

/* The figures stay where the last holder of the lock found them. */
static void start(void) {
    start_without_memory();
    stock_lock(&pool);
    stock_unlock(&pool);
}

TestSuite(stock, .init = start);

/* A block of class c, in no list, that holds so many granules. */
static struct block *block_of(int number, unsigned c, uint32_t granules, uint64_t freed_ms) {
    struct block *b = &blocks[number];
    *b = (struct block){
        .home = &pool, .size_class = (uint16_t)c, .granules = granules, .freed_ms = freed_ms};
    return b;
}

static bool is_valid(void) {
    stock_lock(&pool);
    bool valid = stock_is_valid(&pool);
    stock_unlock(&pool);
    return valid;
}

/* ---- which classes have idle blocks ---- */

Test(stock, that_is_new_has_no_class) {
    cr_expect(eq(uint, stock_next(&pool, 0, LAST), SIZE_CLASSES));
    cr_expect(is_valid());
}

static void expect_found(unsigned c) {
    struct block *b = block_of(0, c, 1, 1);
    stock_push(&pool, b);
    cr_expect(eq(uint, stock_next(&pool, 0, LAST), c), "class %u from the first on", c);
    cr_expect(eq(uint, stock_next(&pool, c, c), c), "class %u itself", c);
    cr_expect(eq(uint, stock_next(&pool, c + 1, LAST), SIZE_CLASSES), "class %u is past", c);
    if (c > 0) {
        cr_expect(eq(uint, stock_next(&pool, c - 1, c), c), "class %u from below", c);
        cr_expect(eq(uint, stock_next(&pool, 0, c - 1), SIZE_CLASSES), "class %u is beyond", c);
    }
    stock_remove(&pool, b);
    cr_expect(eq(uint, stock_next(&pool, 0, LAST), SIZE_CLASSES), "class %u is gone", c);
    cr_expect(is_valid());
}

Test(stock, every_class_is_found_as_long_as_it_has_a_block) {
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        expect_found(c);
    }
}

Test(stock, the_next_class_may_be_words_away) {
    stock_push(&pool, block_of(0, 63, 1, 1));
    stock_push(&pool, block_of(1, 64, 1, 1));
    stock_push(&pool, block_of(2, 127, 1, 1));
    stock_push(&pool, block_of(3, LAST, 1, 1));
    cr_expect(eq(uint, stock_next(&pool, 0, LAST), 63));
    cr_expect(eq(uint, stock_next(&pool, 64, LAST), 64));
    cr_expect(eq(uint, stock_next(&pool, 65, LAST), 127));
    cr_expect(eq(uint, stock_next(&pool, 128, LAST), 248));
    cr_expect(eq(uint, stock_next(&pool, 128, 247), SIZE_CLASSES));
    cr_expect(eq(uint, stock_next(&pool, 60, 62), SIZE_CLASSES));
}

Test(stock, a_class_with_two_blocks_has_one_without_the_other) {
    struct block *a = block_of(0, 64, 1, 1);
    struct block *b = block_of(1, 64, 1, 2);
    stock_push(&pool, a);
    stock_push(&pool, b);
    stock_remove(&pool, a);
    cr_expect(eq(uint, stock_next(&pool, 0, LAST), 64));
    stock_remove(&pool, b);
    cr_expect(eq(uint, stock_next(&pool, 0, LAST), SIZE_CLASSES));
    cr_expect(is_valid());
}

/* ---- order ---- */

Test(stock, pushes_at_the_newest_end) {
    struct block *a = block_of(0, 56, 4, 1);
    struct block *b = block_of(1, 56, 4, 2);
    stock_push(&pool, a);
    stock_push(&pool, b);
    cr_expect(eq(ptr, pool.buckets[56].newest, b));
    cr_expect(eq(ptr, pool.buckets[56].oldest, a));
    cr_expect(is_valid());
}

static void expect_order(const struct block *newest, const struct block *middle,
                         const struct block *oldest) {
    cr_expect(pool.buckets[56].newest == newest && newest->older == middle);
    cr_expect(middle->older == oldest && oldest->newer == middle);
    cr_expect(pool.buckets[56].oldest == oldest && oldest->older == NULL);
    cr_expect(is_valid());
}

Test(stock, files_a_block_as_of_its_age) {
    struct block *a = block_of(0, 56, 4, 10);
    struct block *b = block_of(1, 56, 4, 30);
    stock_push(&pool, a);
    stock_push(&pool, b);
    struct block *part = block_of(2, 56, 1, 5);
    stock_file(&pool, part);
    expect_order(b, a, part);
    stock_remove(&pool, part);
    part->freed_ms = 20;
    stock_file(&pool, part);
    expect_order(b, part, a);
    stock_remove(&pool, part);
    part->freed_ms = 40;
    stock_file(&pool, part);
    expect_order(part, b, a);
    cr_expect(eq(sz, pool_idle_bytes(&pool), 18 * MIB));
}

Test(stock, files_the_only_block_of_its_class_as_newest_and_oldest) {
    struct block *b = block_of(0, 56, 4, 1);
    stock_file(&pool, b);
    cr_expect(eq(int, block_state(b), BLOCK_IDLE));
    cr_expect(eq(ptr, pool.buckets[56].newest, b));
    cr_expect(eq(ptr, pool.buckets[56].oldest, b));
    cr_expect(is_valid());
}

Test(stock, files_a_block_without_granules_as_empty_also_where_it_has_a_tail) {
    struct block *bare = block_of(0, 56, 0, 1);
    struct block *tail = block_of(1, 57, 0, 1);
    tail->has_gap = true;
    tail->tail_bytes = 8192;
    stock_file(&pool, bare);
    stock_file(&pool, tail);
    cr_expect(eq(int, block_state(bare), BLOCK_EMPTY));
    cr_expect(eq(int, block_state(tail), BLOCK_EMPTY));
    cr_expect(eq(sz, pool_idle_bytes(&pool), 8192));
    cr_expect(is_valid());
    cr_expect(eq(ptr, stock_pop_lent(&pool, 57), tail));
    cr_expect(eq(ptr, stock_pop_lent(&pool, 56), NULL));
    cr_expect(eq(sz, pool_idle_bytes(&pool), 0));
    cr_expect(eq(ptr, stock_take(&pool, 56, HOLDS_NOTHING), bare));
}

Test(stock, files_a_block_of_a_tail_alone_as_idle) {
    struct block *b = block_of(0, 32, 0, 1); /* 1 MiB */
    b->has_gap = true;
    b->tail_bytes = 1 * MIB;
    stock_file(&pool, b);
    cr_expect(eq(int, block_state(b), BLOCK_IDLE), "it has all that it ever had");
    cr_expect(is_valid());
}

Test(stock, a_block_may_be_taken_out_of_the_middle) {
    struct block *a = block_of(0, 56, 4, 1);
    struct block *b = block_of(1, 56, 4, 2);
    struct block *c = block_of(2, 56, 4, 3);
    stock_push(&pool, a);
    stock_push(&pool, b);
    stock_push(&pool, c);
    stock_remove(&pool, b);
    cr_expect(eq(int, block_state(b), BLOCK_MOVING));
    cr_expect(eq(ptr, c->older, a));
    cr_expect(eq(ptr, a->newer, c));
    cr_expect(eq(sz, pool_idle_bytes(&pool), 16 * MIB));
    cr_expect(is_valid());
}

/* ---- the oldest ---- */

Test(stock, the_oldest_is_that_of_all_classes) {
    stock_push(&pool, block_of(0, 40, 1, 30));
    struct block *oldest = block_of(1, 130, 1, 10);
    stock_push(&pool, oldest);
    stock_push(&pool, block_of(2, 130, 1, 40));
    stock_push(&pool, block_of(3, 200, 1, 20));
    cr_expect(eq(ptr, stock_oldest(&pool, 0), oldest));
}

Test(stock, the_oldest_with_granules_is_not_one_that_has_a_tail_alone) {
    struct block *small = block_of(0, 32, 0, 1);
    small->tail_bytes = 1 * MIB;
    small->has_gap = true;
    stock_push(&pool, small);
    struct block *large = block_of(1, 56, 4, 2);
    stock_push(&pool, large);
    cr_expect(eq(ptr, stock_oldest(&pool, 0), small));
    cr_expect(eq(ptr, stock_oldest(&pool, 1), large));
    cr_expect(eq(ptr, stock_oldest(&pool, 5), NULL));
    cr_expect(eq(sz, pool_idle_bytes(&pool), 9 * MIB));
}

Test(stock, of_nothing_has_no_oldest) {
    cr_expect(eq(ptr, stock_oldest(&pool, 0), NULL));
}

/* ---- empty, lost ---- */

Test(stock, the_last_block_emptied_is_the_first_to_be_refilled) {
    struct block *a = block_of(0, 56, 0, 1);
    struct block *b = block_of(1, 56, 0, 1);
    stock_push_empty(&pool, a);
    stock_push_empty(&pool, b);
    cr_expect(eq(int, block_state(a), BLOCK_EMPTY));
    cr_expect(eq(ptr, stock_take(&pool, 56, HOLDS_NOTHING), b));
    cr_expect(eq(int, block_state(b), BLOCK_MOVING));
    cr_expect(eq(ptr, stock_take(&pool, 56, HOLDS_ANYTHING), a));
}

Test(stock, gives_the_block_that_holds_most_of_those_that_hold_no_more_than_said) {
    struct block *idle = block_of(0, 57, 4, 1);
    struct block *lent = block_of(1, 57, 0, 1);
    struct block *bare = block_of(2, 57, 0, 1);
    lent->has_gap = true;
    lent->tail_bytes = 8192;
    stock_push(&pool, idle);
    stock_push_empty(&pool, lent);
    stock_push_empty(&pool, bare);
    cr_expect(eq(ptr, stock_take(&pool, 57, HOLDS_NOTHING), bare));
    cr_expect(eq(ptr, stock_take(&pool, 57, HOLDS_TAIL), lent));
    cr_expect(eq(ptr, stock_take(&pool, 57, HOLDS_ANYTHING), idle));
    cr_expect(eq(sz, pool_idle_bytes(&pool), 0));
    cr_expect(is_valid());
}

Test(stock, makes_a_new_block_where_there_is_none) {
    struct block *b = stock_take(&pool, 58, HOLDS_ANYTHING);
    cr_assert(not(eq(ptr, b, NULL)));
    cr_expect(eq(ptr, b->address, NULL));
    cr_expect(eq(ptr, b->home, &pool));
    cr_expect(eq(u16, b->size_class, 58));
    cr_expect(eq(int, block_state(b), BLOCK_MOVING));
}

Test(stock, a_lost_block_holds_nothing_and_is_counted) {
    struct block *b = block_of(0, 56, 4, 1);
    stock_lose(&pool, b);
    cr_expect(eq(int, block_state(b), BLOCK_LOST));
    cr_expect(eq(sz, extent_bytes(block_held(b)), 0));
    cr_expect(eq(sz, figure(&pool.own.stats.lost_blocks), 1));
}

/* ---- live ---- */

Test(stock, a_block_holds_what_was_used_or_what_it_held_whichever_is_more) {
    struct block *b = block_of(0, 57, 1, 1); /* 9 MiB */
    b->has_gap = true;
    cr_expect(eq(sz, stock_use(b, 8 * MIB + 1), 6 * MIB + 4096), "by so much more");
    cr_expect(eq(u32, b->granules, 4));
    cr_expect(eq(u32, b->tail_bytes, 4096));
    cr_expect(eq(sz, stock_use(b, 1), 0));
    cr_expect(eq(u32, b->granules, 4));
    cr_expect(eq(u32, b->tail_bytes, 4096));
}

Test(stock, a_block_handed_out_is_allocated_as_far_as_it_was_asked_for) {
    struct block *b = block_of(0, 57, 0, 1);
    stock_hand_out(&pool, b, 3 * MIB);
    cr_expect(eq(int, block_state(b), BLOCK_LIVE));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.allocated_bytes), 4 * MIB));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.reserved_bytes), 4 * MIB));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.requested_bytes), 3 * MIB));
    cr_assert(stock_take_back(&pool, b));
    cr_expect(eq(u32, b->granules, 2));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.allocated_bytes), 0));
    cr_expect(eq(sz, gauge_current(&pool.own.stats.reserved_bytes), 4 * MIB),
              "it holds them still");
}

Test(stock, only_a_live_block_is_taken_back) {
    struct block *b = block_of(0, 57, 2, 1);
    stock_push_empty(&pool, b);
    cr_expect(not(stock_take_back(&pool, b)));
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    cr_expect(eq(sz, figure(&pool.own.stats.allocated_bytes.freed), 0));
}

/* ---- validity ---- */

Test(stock, is_not_valid_where_the_bit_of_a_class_is_wrong) {
    pool.stocked[1] = 1;
    cr_expect(not(is_valid()), "no such block");
    pool.stocked[1] = 0;
    stock_push(&pool, block_of(0, 63, 1, 1));
    cr_expect(is_valid());
    pool.stocked[0] = 0;
    cr_expect(not(is_valid()), "there is one");
}

Test(stock, is_not_valid_where_idle_bytes_are_not_those_of_its_blocks) {
    struct block *b = block_of(0, 56, 4, 1);
    stock_push(&pool, b);
    b->granules = 3;
    cr_expect(not(is_valid()));
    b->granules = 4;
    cr_expect(is_valid());
}
