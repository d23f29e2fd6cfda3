#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "cuda_hooks/address_map.h"
#include "pool/pool.h"

enum {
    MANY = 1000
};

static struct address_map map;
static struct pool pools[3];
static struct block blocks[MANY];

static struct block *block_at(size_t i, uintptr_t address) {
    blocks[i] = (struct block){.address = (char *)address, .home = &pools[i % 3]};
    return &blocks[i];
}

static void put(struct block *b) {
    struct block *stale = b;
    cr_assert(address_map_put(&map, b, &stale));
    cr_assert(eq(ptr, stale, NULL));
}

Test(address_map, that_is_empty_finds_nothing) {
    cr_expect(eq(ptr, address_map_find(&map, (void *)0x1000), NULL));
    cr_expect(eq(ptr, address_map_find(&map, NULL), NULL));
}

Test(address_map, finds_blocks_by_their_first_byte_alone) {
    put(block_at(0, 0x7f0000200000));
    cr_expect(eq(ptr, address_map_find(&map, (void *)0x7f0000200000), &blocks[0]));
    cr_expect(eq(ptr, address_map_find(&map, (void *)0x7f0000200200), NULL));
    cr_expect(eq(ptr, address_map_find(&map, (void *)0x7f00001ffe00), NULL));
}

/* Random addresses, and whole neighbourhoods of them: a driver hands out both. */
static uintptr_t address_of(size_t i) {
    return i % 2 == 0 ? 0x7f0000000000 + i * 512 : (uintptr_t)random() * 512 + 1024 * TIB;
}

Test(address_map, keeps_the_others_whatever_is_removed) {
    srandom(1);
    for (size_t i = 0; i < MANY; i++) {
        put(block_at(i, address_of(i)));
    }
    for (size_t round = 0; round < 20000; round++) {
        struct block *b = &blocks[(size_t)random() % MANY];
        if (address_map_find(&map, b->address) == b) {
            cr_assert(address_map_remove(&map, b, b->address));
        } else {
            put(b);
        }
    }
    size_t there = 0;
    for (size_t i = 0; i < MANY; i++) {
        struct block *found = address_map_find(&map, blocks[i].address);
        cr_assert(found == NULL || found == &blocks[i]);
        there += found != NULL;
    }
    cr_expect(eq(sz, there, map.count));
    cr_expect(gt(sz, there, 100));
    cr_expect(lt(sz, there, 900));
}

Test(address_map, tells_of_a_block_that_was_freed_behind_our_back) {
    struct block *stale = NULL;
    put(block_at(0, 0x7f0000200000));
    cr_assert(address_map_put(&map, block_at(1, 0x7f0000200000), &stale));
    cr_expect(eq(ptr, stale, &blocks[0]));
    cr_expect(eq(ptr, address_map_find(&map, (void *)0x7f0000200000), &blocks[1]));
    cr_expect(eq(sz, map.count, 1));
}

/* Two threads may find at once that a block is no more; one of them is told that it has taken it out. */
Test(address_map, takes_out_a_block_once_and_no_other_in_its_place) {
    struct block *stale = NULL;
    put(block_at(0, 0x7f0000200000));
    cr_assert(address_map_put(&map, block_at(1, 0x7f0000200000), &stale));
    cr_expect(not(address_map_remove(&map, &blocks[0], blocks[0].address)));
    cr_expect(eq(ptr, address_map_find(&map, (void *)0x7f0000200000), &blocks[1]));
    cr_expect(address_map_remove(&map, &blocks[1], blocks[1].address));
    cr_expect(not(address_map_remove(&map, &blocks[1], blocks[1].address)));
    cr_expect(eq(sz, map.count, 0));
}

Test(address_map, gives_out_all_blocks_of_some_pools) {
    for (size_t i = 0; i < MANY; i++) {
        put(block_at(i, 0x7f0000000000 + i * 2 * MIB));
    }
    size_t cursor = 0;
    size_t taken = 0;
    for (struct block *b = address_map_take_next(&map, &pools[1], &cursor); b != NULL;
         b = address_map_take_next(&map, &pools[1], &cursor)) {
        cr_assert(eq(ptr, b->home, &pools[1]));
        taken++;
    }
    cr_expect(eq(sz, taken, 333));
    cr_expect(eq(sz, map.count, MANY - 333));
    cr_expect(eq(ptr, address_map_find(&map, blocks[0].address), &blocks[0]));
    cr_expect(eq(ptr, address_map_find(&map, blocks[1].address), NULL));
}

Test(address_map, has_room_for_half_as_many_blocks_as_slots) {
    static struct block one;
    static struct block late;
    struct block *stale = NULL;
    one.address = (char *)0x200000;
    put(&one);
    map.count = ADDRESS_MAP_MOST;
    late.address = (char *)0x400000;
    cr_expect(not(address_map_put(&map, &late, &stale)));
    cr_expect(eq(ptr, address_map_find(&map, late.address), NULL));
}

Test(address_map, is_empty_in_a_child) {
    put(block_at(0, 0x7f0000200000));
    address_map_reset(&map);
    cr_expect(eq(ptr, address_map_find(&map, (void *)0x7f0000200000), NULL));
    put(block_at(1, 0x7f0000200000));
}
