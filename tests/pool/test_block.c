#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "pool/block.h"
#include "pool/meta.h"
#include "pool/size_class.h"
#include "tests/pool/inject.h"

enum {
    GRANULES = 16
};

/* Addresses that nobody touches: the arena only counts. */
#define BASE ((char *)(uintptr_t)(1 * TIB))

static struct arena arena;

static void reserve(void) {
    inject_nothing();
    arena = (struct arena){.map = meta_map(ARENA_MAP_PIECE)};
    cr_assert(not(eq(ptr, (void *)arena.map, NULL)));
    arena.base = BASE;
    arena.bytes = GRANULES * GRANULE;
}

TestSuite(arena, .init = reserve);
TestSuite(span, .init = reserve);

/* Blocks of no span in particular. */
static enum fill_result place(struct block *b) {
    static struct span none;
    size_t taken = 0;
    return arena_place(&arena, &none, b, &taken);
}

static struct block block_for(size_t bytes) {
    return (struct block){.size_class = (uint16_t)size_class_of(bytes)};
}

Test(block, has_the_bytes_of_its_class) {
    struct block b = block_for(8 * MIB + 1);
    cr_expect(eq(sz, block_bytes(&b), 9 * MIB));
}

Test(block, is_usable_to_the_end_of_the_page_that_was_asked_for) {
    struct block b = {.requested_bytes = 1 * MIB + 1};
    cr_expect(eq(sz, block_usable_bytes(&b), 1 * MIB + 4 * KIB));
    b.requested_bytes = 1 * MIB;
    cr_expect(eq(sz, block_usable_bytes(&b), 1 * MIB));
    b.requested_bytes = 0;
    cr_expect(eq(sz, block_usable_bytes(&b), 0));
}

Test(block, keeps_the_state_it_was_given) {
    struct block b = {0};
    cr_expect(eq(int, block_state(&b), BLOCK_MOVING), "a zeroed record is on its way");
    block_set_state(&b, BLOCK_EMPTY);
    cr_expect(eq(int, block_state(&b), BLOCK_EMPTY));
}

Test(arena, that_is_zero_owns_nothing) {
    static struct arena none;
    cr_expect(not(arena_owns(&none, NULL)));
    cr_expect(not(arena_owns(&none, BASE)));
    cr_expect(not(arena_owns(&none, (void *)UINTPTR_MAX)));
}

Test(arena, owns_its_first_to_its_last_byte) {
    char *end = BASE + GRANULES * GRANULE;
    cr_expect(not(arena_owns(&arena, BASE - 1)));
    cr_expect(arena_owns(&arena, BASE));
    cr_expect(arena_owns(&arena, end - 1));
    cr_expect(not(arena_owns(&arena, end)));
    cr_expect(not(arena_owns(&arena, NULL)));
}

Test(arena, places_blocks_on_granules_one_behind_the_other) {
    struct block a = block_for(1 * MIB);
    struct block b = block_for(5 * MIB);
    struct block c = block_for(2 * MIB);
    cr_assert(eq(int, place(&a), FILL_OK));
    cr_assert(eq(int, place(&b), FILL_OK));
    cr_assert(eq(int, place(&c), FILL_OK));
    cr_expect(eq(ptr, a.address, BASE));
    cr_expect(eq(ptr, b.address, BASE + 1 * GRANULE));
    cr_expect(eq(ptr, c.address, BASE + 4 * GRANULE), "5 MiB take three granules");
}

Test(arena, finds_the_block_of_every_address_in_it) {
    struct block a = block_for(1 * MIB);
    struct block b = block_for(5 * MIB);
    cr_assert(eq(int, place(&a), FILL_OK));
    cr_assert(eq(int, place(&b), FILL_OK));
    cr_expect(eq(ptr, arena_find(&arena, BASE), &a));
    cr_expect(eq(ptr, arena_find(&arena, BASE + GRANULE - 1), &a), "the slack is the block's");
    for (size_t granule = 1; granule < 4; granule++) {
        cr_expect(eq(ptr, arena_find(&arena, BASE + granule * GRANULE), &b));
        cr_expect(eq(ptr, arena_find(&arena, BASE + (granule + 1) * GRANULE - 1), &b));
    }
    for (size_t granule = 4; granule < GRANULES; granule++) {
        cr_expect(eq(ptr, arena_find(&arena, BASE + granule * GRANULE), NULL));
    }
}

Test(arena, places_blocks_until_it_is_used_up) {
    struct block blocks[GRANULES];
    for (int i = 0; i < GRANULES; i++) {
        blocks[i] = block_for(2 * MIB);
        cr_assert(eq(int, place(&blocks[i]), FILL_OK), "block %d", i);
    }
    struct block late = block_for(64 * KIB);
    cr_expect(eq(int, place(&late), FILL_NO_ADDRESS));
    cr_expect(eq(ptr, late.address, NULL));
    cr_expect(eq(ptr, arena_find(&arena, BASE + GRANULES * GRANULE - 1), &blocks[GRANULES - 1]));
}

Test(arena, a_block_that_fits_exactly_fits) {
    struct block b = block_for(32 * MIB);
    cr_expect(eq(int, place(&b), FILL_OK));
    cr_expect(eq(sz, arena.used, 32 * MIB));
}

Test(arena, a_block_too_large_leaves_room_for_smaller_ones) {
    struct block large = block_for(32 * MIB + 1);
    struct block huge = block_for(SIZE_CLASS_MAX);
    struct block small = block_for(1 * MIB);
    cr_expect(eq(int, place(&large), FILL_NO_ADDRESS));
    cr_expect(eq(int, place(&huge), FILL_NO_ADDRESS));
    cr_expect(eq(sz, arena.used, 0));
    cr_expect(eq(int, place(&small), FILL_OK));
}

Test(arena, tells_all_blocks_in_the_order_of_their_addresses) {
    struct block a = block_for(1 * MIB);
    struct block b = block_for(5 * MIB);
    size_t cursor = 0;
    cr_expect(eq(ptr, arena_next(&arena, &cursor), NULL));
    cr_assert(eq(int, place(&a), FILL_OK));
    cr_assert(eq(int, place(&b), FILL_OK));
    cursor = 0;
    cr_expect(eq(ptr, arena_next(&arena, &cursor), &a));
    cr_expect(eq(ptr, arena_next(&arena, &cursor), &b));
    cr_expect(eq(ptr, arena_next(&arena, &cursor), NULL));
    cr_expect(eq(ptr, arena_next(&arena, &cursor), NULL));
}

Test(arena, whose_map_may_not_be_written_places_nothing_and_can_later) {
    struct block b = block_for(1 * MIB);
    inject_failures(CALL_MPROTECT, 1, 1);
    cr_expect(eq(int, place(&b), FILL_REFUSED));
    inject_nothing();
    cr_expect(eq(ptr, b.address, NULL));
    cr_expect(eq(sz, arena.used, 0));
    cr_expect(eq(int, place(&b), FILL_OK));
}

Test(arena, asks_once_for_a_piece_of_its_map) {
    struct block blocks[GRANULES];
    for (int i = 0; i < GRANULES; i++) {
        blocks[i] = block_for(2 * MIB);
        cr_assert(eq(int, place(&blocks[i]), FILL_OK));
    }
    cr_expect(eq(sz, inject.calls[CALL_MPROTECT], 1));
}

/* ---- spans ---- */

static struct block placed[8];

static size_t place_in(struct span *span, struct block *b, size_t bytes) {
    size_t taken = 0;
    *b = block_for(bytes);
    cr_assert(eq(int, arena_place(&arena, span, b, &taken), FILL_OK));
    return taken;
}

Test(span, of_no_step_takes_what_each_block_needs) {
    struct span span = {0};
    cr_expect(eq(sz, place_in(&span, &placed[0], 3 * MIB), 4 * MIB));
    cr_expect(eq(sz, place_in(&span, &placed[1], 2 * MIB), 2 * MIB));
    cr_expect(eq(sz, arena.used, 6 * MIB));
}

Test(span, keeps_the_blocks_of_a_backend_together) {
    struct span a = {.step = 8 * MIB};
    struct span b = {.step = 8 * MIB};
    cr_expect(eq(sz, place_in(&a, &placed[0], 2 * MIB), 6 * MIB), "a span begins with its block");
    cr_expect(eq(sz, place_in(&b, &placed[1], 2 * MIB), 6 * MIB));
    cr_expect(eq(sz, place_in(&a, &placed[2], 4 * MIB), 0), "there was room");
    cr_expect(eq(sz, place_in(&a, &placed[3], 2 * MIB), 6 * MIB), "and there is none");
    cr_expect(eq(ptr, placed[0].address, BASE));
    cr_expect(eq(ptr, placed[1].address, BASE + 8 * MIB), "a granule lies between");
    cr_expect(eq(ptr, placed[2].address, BASE + 2 * MIB));
    cr_expect(eq(ptr, placed[3].address, BASE + 16 * MIB));
}

Test(span, is_as_long_as_a_block_that_is_longer_than_the_step) {
    struct span span = {.step = 4 * MIB};
    cr_expect(eq(sz, place_in(&span, &placed[0], 16 * MIB), 16 * MIB));
    cr_expect(eq(sz, arena.used, 18 * MIB), "and a granule");
}

Test(span, takes_the_rest_where_less_than_a_step_is_left) {
    struct span span = {.step = 24 * MIB};
    cr_expect(eq(sz, place_in(&span, &placed[0], 20 * MIB), 22 * MIB));
    cr_expect(eq(sz, place_in(&span, &placed[1], 4 * MIB), 6 * MIB));
    cr_expect(eq(sz, place_in(&span, &placed[2], 2 * MIB), 0));
    struct block late = block_for(2 * MIB);
    size_t taken = 7;
    cr_expect(eq(int, arena_place(&arena, &span, &late, &taken), FILL_NO_ADDRESS));
    cr_expect(eq(sz, taken, 0));
}

Test(span, whose_map_may_not_be_written_stays_as_it_was) {
    struct span span = {.step = 8 * MIB};
    struct block b = block_for(2 * MIB);
    size_t taken = 0;
    inject_failures(CALL_MPROTECT, 1, 1);
    cr_expect(eq(int, arena_place(&arena, &span, &b, &taken), FILL_REFUSED));
    inject_nothing();
    cr_expect(eq(sz, taken, 0));
    cr_expect(eq(sz, span.end, 0));
    cr_expect(eq(sz, place_in(&span, &b, 2 * MIB), 6 * MIB), "so it is bound later");
}

Test(span, has_room_that_belongs_to_no_block) {
    struct span span = {.step = 8 * MIB};
    size_t cursor = 0;
    (void)place_in(&span, &placed[0], 2 * MIB);
    (void)place_in(&span, &placed[1], 16 * MIB);
    cr_expect(eq(ptr, arena_next(&arena, &cursor), &placed[0]));
    cr_expect(eq(ptr, arena_next(&arena, &cursor), &placed[1]), "what lies between is skipped");
    cr_expect(eq(ptr, arena_next(&arena, &cursor), NULL));
}
