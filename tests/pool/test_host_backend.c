#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pool/host_backend.h"
#include "pool/size_class.h"
#include "tests/pool/inject.h"
#include "tests/pool/memory.h"

static struct arena arena;
static struct host_backend host;

/* An arena of 256 MiB, and room for as many mappings as anybody wants. */
static void start(enum thp_mode thp, size_t mappings_budget) {
    inject_nothing();
    cr_assert(host_arena_reserve(&arena, 256 * MIB, thp));
    host_backend_init(&host, &arena, thp, mappings_budget);
}

static struct block block_for(size_t bytes) {
    return (struct block){.size_class = (uint16_t)size_class_of(bytes)};
}

static enum fill_result fill(struct block *b) {
    return host.backend.fill(&host.backend, b, block_bytes(b));
}

static void drain(struct block *b) {
    cr_assert(host.backend.drain(&host.backend, b));
}

static bool clear(struct block *b, size_t from, size_t to) {
    return host.backend.clear(&host.backend, b, from, to);
}

static void must_fill(struct block *b) {
    cr_assert(eq(int, fill(b), FILL_OK));
}

/* ---- the reservation ---- */

Test(host_arena, is_reserved_on_a_granule_and_nobody_can_use_it_yet) {
    start(THP_AUTO, 100);
    cr_expect(zero(sz, (uintptr_t)arena.base % GRANULE));
    cr_expect(eq(sz, arena.bytes, 256 * MIB));
    cr_expect(not(is_readable(arena.base)));
    cr_expect(not(is_readable(arena.base + 256 * MIB - 1)));
    cr_expect(eq(ptr, arena_find(&arena, arena.base + 256 * MIB - 1), NULL));
}

Test(host_arena, is_one_mapping_of_exactly_its_size) {
    struct mapping m;
    start(THP_AUTO, 100);
    cr_assert(find_mapping(arena.base, &m));
    cr_expect(eq(sz, m.start, (uintptr_t)arena.base));
    cr_expect(eq(sz, m.end, (uintptr_t)arena.base + 256 * MIB));
}

Test(host_arena, gives_what_it_asked_too_much_for_alignment_back) {
    size_t before = address_space_bytes();
    start(THP_AUTO, 100);
    size_t map = ARENA_MAP_PIECE;
    cr_expect(eq(sz, address_space_bytes() - before, 256 * MIB + map));
}

Test(host_arena, rounds_its_size_down_to_granules) {
    cr_assert(host_arena_reserve(&arena, 64 * MIB + GRANULE - 1, THP_AUTO));
    cr_expect(eq(sz, arena.bytes, 64 * MIB));
}

Test(host_arena, halves_what_the_system_refuses) {
    inject.mmap_largest = 100 * MIB;
    cr_assert(host_arena_reserve(&arena, 256 * MIB, THP_AUTO));
    inject_nothing();
    cr_expect(eq(sz, arena.bytes, 64 * MIB));
}

Test(host_arena, halves_when_only_its_map_is_refused) {
    inject_failures(CALL_MMAP, 2, 1);
    cr_assert(host_arena_reserve(&arena, 256 * MIB, THP_AUTO));
    inject_nothing();
    cr_expect(eq(sz, arena.bytes, 128 * MIB));
    cr_expect(eq(ptr, arena_find(&arena, arena.base), NULL));
}

Test(host_arena, that_is_refused_down_to_four_granules_stays_as_it_was) {
    inject.mmap_largest = 8 * MIB;
    cr_expect(not(host_arena_reserve(&arena, 256 * MIB, THP_AUTO)));
    inject_nothing();
    cr_expect(eq(ptr, arena.base, NULL));
    cr_expect(eq(sz, arena.bytes, 0));
    cr_expect(not(arena_owns(&arena, NULL)));
}

Test(host_arena, of_less_than_four_granules_is_not_worth_having) {
    cr_expect(not(host_arena_reserve(&arena, 0, THP_AUTO)));
    cr_expect(not(host_arena_reserve(&arena, 4 * GRANULE - 1, THP_AUTO)));
    cr_expect(host_arena_reserve(&arena, 4 * GRANULE, THP_AUTO));
}

Test(host_arena, of_all_addresses_there_are_becomes_what_the_system_grants) {
    cr_assert(host_arena_reserve(&arena, SIZE_MAX, THP_AUTO));
    cr_expect(ge(sz, arena.bytes, 1 * TIB));
}

Test(host_arena, shrinks_down_to_what_is_used_and_what_shall_stay_free) {
    start(THP_AUTO, 100);
    struct block b = block_for(5 * MIB);
    must_fill(&b);
    host_arena_shrink(&arena, 10 * MIB + 1);
    cr_expect(eq(sz, arena.bytes, 16 * MIB), "three granules used, five free");
    cr_expect(arena_owns(&arena, arena.base + 16 * MIB - 1));
    cr_expect(not(arena_owns(&arena, arena.base + 16 * MIB)));
    cr_expect(is_writable(b.address));
}

Test(host_arena, that_shrank_gave_its_addresses_back) {
    start(THP_AUTO, 100);
    char *top = arena.base + 255 * MIB;
    host_arena_shrink(&arena, 10 * MIB);
    void *p = mmap(top, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    cr_expect(eq(ptr, p, top));
}

Test(host_arena, that_shrank_is_still_used_to_its_last_granule) {
    start(THP_AUTO, 100);
    host_arena_shrink(&arena, 4 * MIB);
    struct block b = block_for(4 * MIB);
    must_fill(&b);
    memset(b.address, 1, 4 * MIB);
    struct block late = block_for(1 * MIB);
    cr_expect(eq(int, fill(&late), FILL_NO_ADDRESS));
    cr_expect(eq(ptr, arena_find(&arena, arena.base + 4 * MIB - 1), &b));
}

Test(host_arena, does_not_grow_by_shrinking_to_more_than_it_has) {
    start(THP_AUTO, 100);
    host_arena_shrink(&arena, 1 * GIB);
    cr_expect(eq(sz, arena.bytes, 256 * MIB));
}

Test(host_arena, may_shrink_to_nothing) {
    start(THP_AUTO, 100);
    host_arena_shrink(&arena, 0);
    cr_expect(eq(sz, arena.bytes, 0));
    struct block b = block_for(1 * MIB);
    cr_expect(eq(int, fill(&b), FILL_NO_ADDRESS));
}

/* ---- fill ---- */

Test(host_backend, fills_a_block_with_writable_zeros_that_cost_nothing_yet) {
    start(THP_AUTO, 100);
    struct block b = block_for(4 * MIB);
    must_fill(&b);
    cr_expect(b.committed);
    cr_expect(eq(sz, block_held_end(&b), 0));
    cr_expect(eq(sz, resident_bytes(b.address, 4 * MIB), 0));
    cr_expect(is_all(b.address, 4 * MIB, 0));
    memset(b.address, 7, 4 * MIB);
    cr_expect(is_all(b.address, 4 * MIB, 7));
}

Test(host_backend, leaves_an_inaccessible_gap_behind_a_short_tail) {
    start(THP_AUTO, 100);
    struct block b = block_for(5 * MIB);
    must_fill(&b);
    cr_expect(is_writable(b.address + 5 * MIB - 1));
    cr_expect(not(is_readable(b.address + 5 * MIB)));
    cr_expect(not(is_writable(b.address + 5 * MIB)));
    cr_expect(not(is_readable(b.address + 6 * MIB - 1)));
    cr_expect(eq(sz, host.backend.mappings, 2));
}

Test(host_backend, a_tail_of_three_quarters_of_a_huge_page_has_the_whole_of_it) {
    start(THP_AUTO, 100);
    struct block long_tail = block_for(3 * MIB + 512 * KIB);
    must_fill(&long_tail);
    struct block short_tail = block_for(3 * MIB + 256 * KIB);
    must_fill(&short_tail);
    cr_expect(is_writable(long_tail.address + 4 * MIB - 1));
    cr_expect(not(is_readable(short_tail.address + 3 * MIB + 256 * KIB)));
    cr_expect(eq(sz, host.backend.mappings, 2));
}

Test(host_backend, whole_granules_have_no_gap) {
    start(THP_AUTO, 100);
    struct block b = block_for(4 * MIB);
    must_fill(&b);
    cr_expect(eq(sz, host.backend.mappings, 0));
}

static void expect_no_gap(enum thp_mode thp) {
    start(thp, 100);
    struct block b = block_for(5 * MIB);
    must_fill(&b);
    cr_expect(is_writable(b.address + 6 * MIB - 1));
    cr_expect(eq(sz, host.backend.mappings, 0));
}

Test(host_backend, where_huge_pages_are_on_there_are_no_gaps) {
    expect_no_gap(THP_ON);
}

Test(host_backend, where_huge_pages_are_off_there_are_no_gaps) {
    expect_no_gap(THP_OFF);
}

Test(host_backend, without_a_budget_there_are_no_gaps) {
    start(THP_AUTO, 0);
    struct block b = block_for(5 * MIB);
    must_fill(&b);
    cr_expect(is_writable(b.address + 6 * MIB - 1));
    cr_expect(eq(sz, host.backend.mappings, 0));
}

Test(host_backend, makes_gaps_until_the_budget_is_used_up) {
    start(THP_AUTO, 5);
    struct block a = block_for(5 * MIB);
    must_fill(&a);
    struct block b = block_for(5 * MIB);
    must_fill(&b);
    struct block c = block_for(5 * MIB);
    must_fill(&c);
    cr_expect(not(is_readable(a.address + 5 * MIB)));
    cr_expect(not(is_readable(b.address + 5 * MIB)));
    cr_expect(is_readable(c.address + 5 * MIB), "two mappings each, and only one was left");
    cr_expect(eq(sz, host.backend.mappings, 4));
}

Test(host_backend, neighbours_without_gaps_are_one_mapping) {
    start(THP_ON, 100);
    struct block a = block_for(5 * MIB);
    must_fill(&a);
    struct block b = block_for(1 * MIB);
    must_fill(&b);
    struct mapping m;
    cr_assert(find_mapping(a.address, &m));
    cr_expect(eq(sz, m.start, (uintptr_t)a.address));
    cr_expect(eq(sz, m.end, (uintptr_t)b.address + GRANULE));
}

static void expect_advice(enum thp_mode thp, bool huge) {
    start(thp, 100);
    struct block b = block_for(4 * MIB);
    must_fill(&b);
    cr_expect(eq(int, has_flag(b.address, "hg"), huge));
    cr_expect(eq(int, has_flag(b.address, "nh"), !huge));
    drain(&b);
    cr_expect(eq(int, has_flag(b.address, "hg"), huge), "a hole is dressed again");
    cr_expect(eq(int, has_flag(b.address, "nh"), !huge));
}

Test(host_backend, asks_for_huge_pages_where_they_are_filled) {
    expect_advice(THP_AUTO, true);
}

Test(host_backend, asks_for_huge_pages_where_they_are_on) {
    expect_advice(THP_ON, true);
}

Test(host_backend, asks_for_no_huge_pages_where_they_are_off) {
    expect_advice(THP_OFF, false);
}

Test(host_backend, a_refused_fill_keeps_the_address_and_works_the_next_time) {
    start(THP_AUTO, 100);
    struct block neighbour = block_for(4 * MIB); /* after which the map needs no call */
    must_fill(&neighbour);
    struct block b = block_for(5 * MIB);
    inject_failures(CALL_MPROTECT, 1, 1);
    cr_expect(eq(int, fill(&b), FILL_REFUSED));
    inject_nothing();
    char *address = b.address;
    cr_expect(not(eq(ptr, address, NULL)));
    cr_expect(not(b.committed));

    cr_expect(eq(int, fill(&b), FILL_OK));
    cr_expect(eq(ptr, b.address, address));
    cr_expect(is_writable(b.address));
    cr_expect(not(is_readable(b.address + 5 * MIB)));
    cr_expect(eq(sz, host.backend.mappings, 2), "one gap, counted once");
}

Test(host_backend, has_no_address_where_the_arena_is_used_up) {
    start(THP_AUTO, 100);
    struct block all = block_for(256 * MIB);
    must_fill(&all);
    struct block late = block_for(1 * MIB);
    cr_expect(eq(int, fill(&late), FILL_NO_ADDRESS));
    cr_expect(eq(ptr, late.address, NULL));
    cr_expect(eq(ptr, all.address, arena.base));
}

/* ---- drain and clear ---- */

Test(host_backend, drains_a_block_into_an_inaccessible_hole_without_memory) {
    start(THP_AUTO, 100);
    struct block b = block_for(5 * MIB);
    must_fill(&b);
    memset(b.address, 7, 5 * MIB);
    drain(&b);
    cr_expect(not(b.committed));
    cr_expect(eq(sz, resident_bytes(b.address, 6 * MIB), 0));
    cr_expect(not(is_readable(b.address)));
    cr_expect(eq(ptr, b.address, arena.base));
}

Test(host_backend, a_drained_block_that_is_filled_again_is_zero) {
    start(THP_AUTO, 100);
    struct block b = block_for(5 * MIB);
    must_fill(&b);
    memset(b.address, 7, 5 * MIB);
    b.granules = 2;
    b.tail_bytes = 1 * MIB;
    drain(&b);
    cr_expect(eq(int, fill(&b), FILL_OK));
    cr_expect(eq(sz, block_held_end(&b), 0));
    cr_expect(is_all(b.address, 5 * MIB, 0));
    cr_expect(not(is_readable(b.address + 5 * MIB)), "and has its gap");
}

Test(host_backend, a_block_drained_and_filled_many_times_is_counted_once) {
    start(THP_AUTO, 100);
    struct block whole = block_for(4 * MIB);
    must_fill(&whole);
    struct block gapped = block_for(5 * MIB);
    must_fill(&gapped);
    for (int i = 0; i < 10; i++) {
        drain(&whole);
        drain(&gapped);
        cr_assert(eq(sz, host.backend.mappings, 0), "two holes are one, with nothing between them");
        cr_assert(eq(int, fill(&whole), FILL_OK));
        cr_assert(eq(int, fill(&gapped), FILL_OK));
        cr_assert(eq(sz, host.backend.mappings, 2), "one gap");
    }
}

Test(host_backend, without_a_budget_drains_by_giving_back_pages_only) {
    start(THP_AUTO, 0);
    struct block b = block_for(5 * MIB);
    must_fill(&b);
    memset(b.address, 7, 5 * MIB);
    b.granules = 2;
    b.tail_bytes = 1 * MIB;
    drain(&b);
    cr_expect(b.committed, "no hole was to be had");
    cr_expect(eq(sz, block_held_end(&b), 0));
    cr_expect(eq(sz, resident_bytes(b.address, 6 * MIB), 0));
    cr_expect(eq(int, fill(&b), FILL_OK));
    cr_expect(is_all(b.address, 5 * MIB, 0));
    cr_expect(eq(sz, host.backend.mappings, 0));
}

/* ---- blocks whose mappings the program has changed ---- */

Test(host_backend, draining_an_altered_block_undoes_what_the_program_did) {
    start(THP_AUTO, 100);
    struct block b = block_for(4 * MIB);
    must_fill(&b);
    cr_assert(eq(int, madvise(b.address, 2 * MIB, MADV_DONTFORK), 0));
    cr_assert(eq(int, mprotect(b.address, 4 * MIB, PROT_READ), 0));
    b.is_altered = true;
    drain(&b);
    cr_expect(not(b.is_altered));
    must_fill(&b);
    cr_expect(is_writable(b.address));
    cr_expect(not(has_flag(b.address, "dc")));
}

Test(host_backend, draining_an_altered_block_needs_no_budget) {
    start(THP_AUTO, 0);
    struct block b = block_for(4 * MIB);
    must_fill(&b);
    cr_assert(eq(int, mprotect(b.address, 4 * MIB, PROT_READ), 0));
    b.is_altered = true;
    drain(&b);
    cr_expect(not(b.is_altered));
    cr_expect(eq(sz, host.charged, 0));
    must_fill(&b);
    cr_expect(is_writable(b.address));
}

Test(host_backend, an_altered_block_whose_mappings_cannot_be_replaced_gives_up_its_pages_only) {
    start(THP_AUTO, 100);
    struct block b = block_for(4 * MIB);
    must_fill(&b);
    memset(b.address, 7, 4 * MIB);
    b.is_altered = true;
    inject_failures(CALL_MMAP, 1, 1);
    cr_expect(not(host.backend.drain(&host.backend, &b)));
    inject_nothing();
    cr_expect(b.is_altered);
    cr_expect(eq(sz, resident_bytes(b.address, 4 * MIB), 0));
}

Test(host_backend, a_block_that_nothing_can_drain_keeps_its_bytes_and_knows_that_they_are_dirty) {
    start(THP_AUTO, 100);
    struct block b = block_for(4 * MIB);
    must_fill(&b);
    memset(b.address, 7, 4 * MIB);
    b.granules = 2;
    inject_failures(CALL_MMAP, 1, 1);
    inject_failures(CALL_MADVISE, 1, 1);
    cr_expect(not(host.backend.drain(&host.backend, &b)));
    inject_nothing();
    cr_expect(b.committed);
    cr_expect(eq(u32, b.granules, 2));
    cr_expect(eq(int, fill(&b), FILL_OK));
    cr_expect(eq(u32, b.granules, 2));
    cr_expect(is_all(b.address, 4 * MIB, 7));
}

Test(host_backend, a_hole_that_the_system_refuses_becomes_one_the_next_time) {
    start(THP_AUTO, 100);
    struct block b = block_for(4 * MIB);
    must_fill(&b);
    inject_failures(CALL_MMAP, 1, 1);
    drain(&b);
    inject_nothing();
    cr_expect(b.committed);
    drain(&b);
    cr_expect(not(b.committed));
    cr_expect(eq(sz, host.holes, 1), "counted once");
}

Test(host_backend, holes_cost_mappings_where_writable_blocks_lie_between_them) {
    start(THP_AUTO, 100);
    struct block blocks[5];
    for (int i = 0; i < 5; i++) {
        blocks[i] = block_for(4 * MIB);
        must_fill(&blocks[i]);
    }
    cr_expect(eq(sz, host.backend.mappings, 0), "neighbours merge");
    drain(&blocks[1]);
    cr_expect(eq(sz, host.backend.mappings, 2));
    drain(&blocks[3]);
    cr_expect(eq(sz, host.backend.mappings, 4));
    drain(&blocks[0]);
    cr_expect(eq(sz, host.backend.mappings, 4), "of two blocks there are two at most");
    drain(&blocks[2]);
    drain(&blocks[4]);
    cr_expect(eq(sz, host.backend.mappings, 0));
}

Test(host_backend, draining_twice_is_draining_once) {
    start(THP_AUTO, 100);
    struct block b = block_for(4 * MIB);
    must_fill(&b);
    drain(&b);
    drain(&b);
    cr_expect(eq(sz, host.holes, 1));
    cr_expect(eq(int, fill(&b), FILL_OK));
}

Test(host_backend, a_neighbour_never_notices_a_drain) {
    start(THP_AUTO, 100);
    struct block a = block_for(5 * MIB);
    must_fill(&a);
    struct block b = block_for(5 * MIB);
    must_fill(&b);
    struct block c = block_for(5 * MIB);
    must_fill(&c);
    memset(a.address, 1, 5 * MIB);
    memset(c.address, 3, 5 * MIB);
    drain(&b);
    cr_expect(is_all(a.address, 5 * MIB, 1));
    cr_expect(is_all(c.address, 5 * MIB, 3));
}

Test(host_backend, clears_the_first_bytes_without_making_them_resident) {
    start(THP_AUTO, 100);
    struct block b = block_for(8 * MIB);
    must_fill(&b);
    memset(b.address, 7, 8 * MIB);
    cr_expect(clear(&b, 0, 3 * MIB));
    cr_expect(is_all(b.address, 4 * MIB, 0), "up to the granule");
    cr_expect(is_all(b.address + 4 * MIB, 4 * MIB, 7));
}

Test(host_backend, clears_no_further_than_the_block_is_writable) {
    start(THP_AUTO, 100);
    struct block a = block_for(5 * MIB);
    must_fill(&a);
    struct block b = block_for(4 * MIB);
    must_fill(&b);
    memset(a.address, 7, 5 * MIB);
    memset(b.address, 8, 4 * MIB);
    cr_expect(clear(&a, 0, 5 * MIB));
    cr_expect(eq(sz, resident_bytes(a.address, 6 * MIB), 0));
    cr_expect(is_all(b.address, 4 * MIB, 8));
    cr_expect(is_all(a.address, 5 * MIB, 0));
}

Test(host_backend, says_when_the_system_cannot_clear) {
    start(THP_AUTO, 100);
    struct block b = block_for(8 * MIB);
    must_fill(&b);
    memset(b.address, 7, 8 * MIB);
    inject_failures(CALL_MADVISE, 1, 1);
    cr_expect(not(clear(&b, 0, 8 * MIB)));
    inject_nothing();
    cr_expect(is_all(b.address, 8 * MIB, 7));
}

/* ---- fork ---- */

static struct block forked;

static bool wipe(bool wiped) {
    return host.backend.wipe_on_fork(&host.backend, &forked, wiped);
}

static bool child_finds_zeros(void) {
    return is_all(forked.address, 5 * MIB, 0);
}

static bool child_finds_sevens(void) {
    return is_all(forked.address, 5 * MIB, 7);
}

static void fill_with_sevens(void) {
    start(THP_AUTO, 100);
    forked = block_for(5 * MIB);
    must_fill(&forked);
    memset(forked.address, 7, 5 * MIB);
}

Test(host_backend, a_child_finds_a_copy_of_what_is_not_marked) {
    fill_with_sevens();
    cr_expect(true_in_child(child_finds_sevens));
}

Test(host_backend, a_child_finds_zeros_where_its_parent_keeps_its_bytes) {
    fill_with_sevens();
    cr_assert(wipe(true));
    cr_expect(true_in_child(child_finds_zeros));
    cr_expect(is_all(forked.address, 5 * MIB, 7));
}

Test(host_backend, a_mark_that_came_off_leaves_nothing_behind) {
    fill_with_sevens();
    cr_assert(wipe(true));
    cr_assert(wipe(false));
    cr_expect(true_in_child(child_finds_sevens));
    cr_expect(not(has_flag(forked.address, "wf")));
}

static bool grandchild_finds_sevens(void) {
    bool unmarked = wipe(false);
    memset(forked.address, 7, 5 * MIB);
    return unmarked && true_in_child(child_finds_sevens);
}

Test(host_backend, a_child_inherits_the_mark_and_can_take_it_off) {
    fill_with_sevens();
    cr_assert(wipe(true));
    cr_expect(true_in_child(grandchild_finds_sevens));
}

Test(host_backend, says_when_the_system_knows_no_such_mark) {
    fill_with_sevens();
    inject_failures(CALL_MADVISE, 1, 1);
    cr_expect(not(wipe(true)));
    inject_nothing();
}

Test(host_backend, a_hole_has_no_mark_any_more) {
    fill_with_sevens();
    cr_assert(wipe(true));
    drain(&forked);
    cr_expect(not(has_flag(forked.address, "wf")));
}

/* ---- moving pages ---- */

static struct block giver;
static struct block taker;

/* A block of 8 MiB, each granule full of its letter from 'a' to 'd', and one that is empty. */
static void prepare_move(size_t mappings_budget) {
    start(THP_AUTO, mappings_budget);
    giver = block_for(8 * MIB);
    taker = block_for(8 * MIB);
    must_fill(&giver);
    must_fill(&taker);
    for (size_t i = 0; i < 4; i++) {
        memset(giver.address + i * GRANULE, 'a' + (int)i, GRANULE);
    }
    giver.granules = 4;
}

static enum move_result move(struct move *m) {
    return host.backend.move(&host.backend, m);
}

/* The last two granules of the one, to the first two of the other. */
static struct move two_granules(void) {
    return (struct move){
        .from = &giver, .from_at = 2 * GRANULE, .to = &taker, .bytes = 2 * GRANULE};
}

static char *granule(const struct block *b, size_t number) {
    return b->address + number * GRANULE;
}

static void expect_giver_as_it_was(void) {
    for (size_t i = 0; i < 4; i++) {
        cr_expect(is_all(granule(&giver, i), GRANULE, (char)('a' + i)), "granule %zu", i);
    }
}

Test(host_move, takes_the_contents_along_and_leaves_zeros) {
    prepare_move(100);
    struct move m = two_granules();
    cr_assert(eq(int, move(&m), MOVE_OK));
    cr_expect(eq(sz, m.moved, 2 * GRANULE));
    cr_expect(is_all(granule(&taker, 0), GRANULE, 'c'));
    cr_expect(is_all(granule(&taker, 1), GRANULE, 'd'));
    cr_expect(eq(sz, resident_bytes(granule(&giver, 2), 2 * GRANULE), 0));
    cr_expect(is_all(granule(&giver, 2), 2 * GRANULE, 0));
    cr_expect(is_all(granule(&giver, 0), GRANULE, 'a'));
    cr_expect(is_all(granule(&giver, 1), GRANULE, 'b'));
    cr_expect(is_all(granule(&taker, 2), 2 * GRANULE, 0));
}

Test(host_move, leaves_both_blocks_writable_everywhere) {
    prepare_move(100);
    struct move m = two_granules();
    cr_assert(eq(int, move(&m), MOVE_OK));
    memset(giver.address, 1, 8 * MIB);
    memset(taker.address, 2, 8 * MIB);
    cr_expect(is_all(giver.address, 8 * MIB, 1));
    cr_expect(is_all(taker.address, 8 * MIB, 2));
}

Test(host_move, makes_no_page_resident_and_gives_none_back) {
    prepare_move(100);
    struct move m = two_granules();
    cr_assert(eq(int, move(&m), MOVE_OK));
    cr_expect(eq(sz, resident_bytes(giver.address, 8 * MIB), 4 * MIB));
    cr_expect(eq(sz, resident_bytes(taker.address, 8 * MIB), 4 * MIB));
}

Test(host_move, of_a_block_in_one_piece_is_one_call) {
    prepare_move(100);
    struct move m = two_granules();
    cr_assert(eq(int, move(&m), MOVE_OK));
    cr_expect(eq(sz, inject.calls[CALL_MREMAP], 1));
    cr_expect(eq(u16, taker.mappings, 2));
    cr_expect(eq(u16, giver.mappings, 0));
    cr_expect(eq(sz, host.backend.mappings, 2));
}

Test(host_move, of_a_block_of_pieces_is_a_call_for_each_granule) {
    prepare_move(100);
    struct move m = two_granules();
    cr_assert(eq(int, move(&m), MOVE_OK));
    struct block third = block_for(8 * MIB);
    must_fill(&third);
    struct move on = {.from = &taker, .to = &third, .bytes = 2 * GRANULE};
    cr_assert(eq(int, move(&on), MOVE_OK));
    cr_expect(eq(sz, inject.calls[CALL_MREMAP], 3));
    cr_expect(is_all(granule(&third, 0), GRANULE, 'c'));
    cr_expect(is_all(granule(&third, 1), GRANULE, 'd'));
    cr_expect(is_all(taker.address, 8 * MIB, 0));
}

Test(host_move, of_pieces_from_many_blocks_can_be_moved_on) {
    prepare_move(100);
    struct block small = block_for(2 * MIB);
    must_fill(&small);
    memset(small.address, 'x', 2 * MIB);
    struct move first = {.from = &small, .to = &taker, .bytes = 1 * GRANULE};
    struct move second = {.from = &giver, .to = &taker, .to_at = GRANULE, .bytes = 3 * GRANULE};
    cr_assert(eq(int, move(&first), MOVE_OK));
    cr_assert(eq(int, move(&second), MOVE_OK));
    struct block third = block_for(8 * MIB);
    must_fill(&third);
    struct move on = {.from = &taker, .to = &third, .bytes = 4 * GRANULE};
    cr_assert(eq(int, move(&on), MOVE_OK));
    for (size_t i = 0; i < 4; i++) {
        cr_expect(is_all(granule(&third, i), GRANULE, "xabc"[i]), "granule %zu", i);
    }
}

Test(host_move, a_block_that_took_pages_drains_and_fills_like_any) {
    prepare_move(100);
    struct move m = two_granules();
    cr_assert(eq(int, move(&m), MOVE_OK));
    taker.granules = 2;
    drain(&taker);
    cr_expect(not(is_readable(taker.address)));
    must_fill(&taker);
    cr_expect(is_all(taker.address, 8 * MIB, 0));
    cr_expect(eq(sz, host.backend.mappings, 0), "it is of one piece again");
}

/* Of small pages: "a" in the first half of its 1 MiB, "b" in the second. */
static struct block tailed_block(void) {
    struct block b = block_for(9 * MIB);
    must_fill(&b);
    cr_assert(b.has_gap);
    memset(b.address + 8 * MIB, 'a', 512 * KIB);
    memset(b.address + 8 * MIB + 512 * KIB, 'b', 512 * KIB);
    return b;
}

Test(host_move, of_a_tail_takes_its_pages_along_and_costs_one_mapping_for_ever) {
    prepare_move(100);
    struct block tailed = tailed_block();
    struct block other = block_for(5 * MIB);
    must_fill(&other);
    cr_assert(eq(u16, other.mappings, 2));
    for (int i = 0; i < 3; i++) {
        struct move m = {
            .from = &tailed, .from_at = 8 * MIB, .to = &other, .to_at = 4 * MIB, .bytes = 1 * MIB};
        struct move back = {
            .from = &other, .from_at = 4 * MIB, .to = &tailed, .to_at = 8 * MIB, .bytes = 1 * MIB};
        cr_assert(eq(int, move(&m), MOVE_OK));
        cr_expect(is_all(other.address + 4 * MIB, 512 * KIB, 'a'));
        cr_expect(is_all(other.address + 4 * MIB + 512 * KIB, 512 * KIB, 'b'));
        cr_expect(eq(sz, resident_bytes(tailed.address + 8 * MIB, 1 * MIB), 0));
        cr_assert(eq(int, move(&back), MOVE_OK));
        cr_expect(eq(u16, other.mappings, 3));
        cr_expect(eq(u16, tailed.mappings, 3));
    }
    drain(&other);
    must_fill(&other);
    cr_expect(eq(u16, other.mappings, 2), "it is of one piece again");
    struct move again = {
        .from = &tailed, .from_at = 8 * MIB, .to = &other, .to_at = 4 * MIB, .bytes = 1 * MIB};
    cr_assert(eq(int, move(&again), MOVE_OK));
    cr_expect(eq(u16, other.mappings, 3));
}

Test(host_move, of_a_tail_leaves_granules_of_one_piece) {
    prepare_move(100);
    struct block tailed = tailed_block();
    struct block other = block_for(9 * MIB);
    must_fill(&other);
    struct move m = {
        .from = &tailed, .from_at = 8 * MIB, .to = &other, .to_at = 8 * MIB, .bytes = 1 * MIB};
    cr_assert(eq(int, move(&m), MOVE_OK));
    struct move on = {.from = &other, .to = &taker, .bytes = 2 * GRANULE};
    size_t calls = inject.calls[CALL_MREMAP];
    cr_assert(eq(int, move(&on), MOVE_OK));
    cr_expect(eq(sz, inject.calls[CALL_MREMAP], calls + 1));
}

Test(host_move, of_a_tail_counts_beside_granules_that_moved_in) {
    prepare_move(100);
    struct block tailed = tailed_block();
    struct block other = block_for(5 * MIB);
    must_fill(&other);
    struct move in = {.from = &giver, .to = &other, .bytes = 2 * GRANULE};
    cr_assert(eq(int, move(&in), MOVE_OK));
    cr_assert(eq(u16, other.mappings, 4));
    struct move m = {
        .from = &tailed, .from_at = 8 * MIB, .to = &other, .to_at = 4 * MIB, .bytes = 1 * MIB};
    cr_assert(eq(int, move(&m), MOVE_OK));
    cr_expect(eq(u16, other.mappings, 5));
}

Test(host_move, without_a_budget_cannot_be_and_changes_nothing) {
    prepare_move(1);
    struct move m = two_granules();
    cr_expect(eq(int, move(&m), MOVE_CANNOT));
    cr_expect(eq(sz, m.moved, 0));
    cr_expect(eq(sz, inject.calls[CALL_MREMAP], 0));
    cr_expect(eq(sz, host.backend.mappings, 0));
    expect_giver_as_it_was();
}

Test(host_move, stops_where_the_budget_is_used_up) {
    prepare_move(2);
    giver.mappings = 1; /* as after a move into it: now granules are moved one by one */
    struct move m = two_granules();
    cr_expect(eq(int, move(&m), MOVE_CANNOT));
    cr_expect(eq(sz, m.moved, 1 * GRANULE), "two mappings for the first, none for the second");
    cr_expect(is_all(granule(&taker, 0), GRANULE, 'c'));
    cr_expect(is_all(granule(&giver, 3), GRANULE, 'd'));
}

static void expect_cannot(int error) {
    prepare_move(100);
    inject.error = error;
    inject_failures(CALL_MREMAP, 1, 1);
    struct move m = two_granules();
    cr_expect(eq(int, move(&m), MOVE_CANNOT));
    cr_expect(not(backend_can_move(&host.backend)));
    cr_expect(eq(int, move(&m), MOVE_CANNOT), "and never will");
    cr_expect(eq(sz, inject.calls[CALL_MREMAP], 1));
    inject_nothing();
    expect_giver_as_it_was();
    cr_expect(is_writable(taker.address));
}

Test(host_move, a_kernel_that_does_not_know_how_is_not_asked_again) {
    expect_cannot(EINVAL);
}

Test(host_move, a_sandbox_that_forbids_it_is_not_asked_again) {
    expect_cannot(EPERM);
}

Test(host_move, where_there_is_no_such_call_it_is_not_made_again) {
    expect_cannot(ENOSYS);
}

/* The budget counts what is there, not what was tried. */
Test(host_move, that_cannot_be_costs_no_mappings) {
    prepare_move(100);
    inject.error = EINVAL;
    inject_failures(CALL_MREMAP, 1, 1);
    struct move m = two_granules();
    cr_assert(eq(int, move(&m), MOVE_CANNOT));
    cr_expect(eq(sz, host.backend.mappings, 0));
    cr_expect(eq(u16, taker.mappings, 0));
}

static void refuse_move(size_t number, enum hole hole, int error) {
    inject.error = error;
    inject.mremap_hole = hole;
    inject_failures(CALL_MREMAP, number, 1);
}

static void expect_mapped_again(int error, enum move_result expected) {
    prepare_move(100);
    refuse_move(1, HOLE_LEFT, error);
    struct move m = two_granules();
    cr_expect(eq(int, move(&m), expected));
    cr_expect(eq(sz, m.moved, 0));
    inject_nothing();
    expect_giver_as_it_was();
    cr_expect(is_all(taker.address, 8 * MIB, 0));
    memset(taker.address, 7, 8 * MIB);
    cr_expect(is_all(taker.address, 8 * MIB, 7));
    cr_expect(has_flag(taker.address, "hg"), "dressed like its neighbours");
}

Test(host_move, refused_for_more_than_one_mapping_maps_its_hole_again_and_others_may_move) {
    expect_mapped_again(EFAULT, MOVE_REFUSED);
    cr_expect(backend_can_move(&host.backend));
}

/* There are about as many mappings as there may be: no time to make more. */
Test(host_move, refused_for_want_of_memory_maps_its_hole_again_and_ends_moving) {
    expect_mapped_again(ENOMEM, MOVE_CANNOT);
    cr_expect(not(backend_can_move(&host.backend)));
}

Test(host_move, refused_half_way_says_how_far_it_came) {
    prepare_move(100);
    giver.mappings = 1;
    refuse_move(2, HOLE_LEFT, EFAULT);
    struct move m = {.from = &giver, .to = &taker, .bytes = 3 * GRANULE};
    cr_expect(eq(int, move(&m), MOVE_REFUSED));
    cr_expect(eq(sz, m.moved, 1 * GRANULE));
    inject_nothing();
    cr_expect(is_all(granule(&taker, 0), GRANULE, 'a'));
    cr_expect(is_all(granule(&taker, 1), 3 * GRANULE, 0));
    cr_expect(is_all(granule(&giver, 0), GRANULE, 0));
    cr_expect(is_all(granule(&giver, 1), GRANULE, 'b'));
    cr_expect(is_writable(granule(&taker, 1)));
}

Test(host_move, into_a_hole_that_another_thread_has_taken_loses_the_block) {
    prepare_move(100);
    refuse_move(1, HOLE_TAKEN, ENOMEM);
    struct move m = two_granules();
    cr_expect(eq(int, move(&m), MOVE_LOST));
    cr_expect(eq(sz, m.moved, 0));
    cr_assert(eq(ptr, inject.stranger, taker.address));
    cr_expect(is_all(inject.stranger, 2 * GRANULE, STRANGER), "nobody touches it");
    inject_nothing();
    expect_giver_as_it_was();
}

Test(host_move, into_a_hole_that_cannot_be_mapped_again_loses_the_block) {
    prepare_move(100);
    refuse_move(1, HOLE_LEFT, ENOMEM);
    inject_failures(CALL_MMAP, 1, 1);
    struct move m = two_granules();
    cr_expect(eq(int, move(&m), MOVE_LOST));
    inject_nothing();
    expect_giver_as_it_was();
}

Test(host_move, into_a_hole_that_cannot_be_made_writable_loses_the_block) {
    prepare_move(100);
    refuse_move(1, HOLE_LEFT, ENOMEM);
    inject_failures(CALL_MPROTECT, 1, 1);
    struct move m = two_granules();
    cr_expect(eq(int, move(&m), MOVE_LOST));
    inject_nothing();
    expect_giver_as_it_was();
}

/* No mapping there can be told from a stranger's. */
Test(host_move, refused_before_anything_was_unmapped_loses_the_block) {
    prepare_move(100);
    refuse_move(1, HOLE_NONE, ENOMEM);
    struct move m = two_granules();
    cr_expect(eq(int, move(&m), MOVE_LOST));
    inject_nothing();
    expect_giver_as_it_was();
}

/* What the program advises splits the mapping; kernels before 6.17 refuse to move both parts. */
Test(host_move, of_a_block_that_the_program_has_split_moves_or_is_refused_whole) {
    prepare_move(100);
    cr_assert(eq(int, madvise(granule(&giver, 3), GRANULE, MADV_NOHUGEPAGE), 0));
    struct move m = two_granules();
    enum move_result result = move(&m);
    cr_expect(result == MOVE_OK || result == MOVE_REFUSED);
    const struct block *b = result == MOVE_OK ? &taker : &giver;
    size_t first = result == MOVE_OK ? 0 : 2;
    cr_expect(is_all(granule(b, first), GRANULE, 'c'));
    cr_expect(is_all(granule(b, first + 1), GRANULE, 'd'));
}
