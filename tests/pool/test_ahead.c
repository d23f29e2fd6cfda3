#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "pool/ahead.h"
#include "tests/pool/fake_backend.h"
#include "tests/pool/fake_nodes.h"
#include "tests/pool/host_blocks.h"
#include "tests/pool/inject.h"
#include "tests/pool/memory.h"

enum {
    NODES = 3
};

static struct host host;
static struct profile profile;

static const struct retention plenty = {
    .cache_max = SIZE_MAX, .memory_limit = SIZE_MAX, .decay_ms = 10000};

static void start_with(struct host_config config) {
    inject_nothing();
    config.addresses = 4 * GIB;
    config.mappings_limit = 6000;
    config.thp = THP_AUTO;
    config.recycle = true;
    cr_assert(host_start(&host, &config));
}

static void start(void) {
    start_with((struct host_config){.retention = plenty});
}

static void start_nodes(enum numa_mode mode) {
    static struct placement placement;
    fake_nodes = (struct fake_nodes){0};
    fake_nodes_plan(&placement, mode, NODES);
    start_with((struct host_config){
        .retention = plenty, .placement = &placement, .companion = &fake_companion});
}

static void stop(void) {
    inject_nothing();
    for (unsigned i = 0; i < host.pool_count; i++) {
        cr_expect(pool_is_valid(&host.pools[i]), "of node %u", i);
    }
}

TestSuite(ahead, .init = start, .fini = stop);
TestSuite(ahead_nodes, .fini = stop);

static struct block *acquire(size_t bytes) {
    return must_acquire(&host, bytes);
}

static void release(struct block *b, uint64_t now_ms) {
    must_release(&host, b, now_ms);
}

static struct stats *stats(void) {
    return &host.pools[0].own.stats;
}

static void make_all(void) {
    while (ahead_make_on_host(&host, 1)) {
    }
}

/* ---- the reserve ---- */

Test(ahead, makes_its_reserve_resident_piece_by_piece) {
    host.retention.reserve = 136 * MIB;
    cr_expect(ahead_make_on_host(&host, 1));
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 64 * MIB));
    cr_expect(ahead_make_on_host(&host, 2));
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 128 * MIB));
    cr_expect(ahead_make_on_host(&host, 3));
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 136 * MIB));
    cr_expect(not(ahead_make_on_host(&host, 4)), "all of it is there");
    struct block *b = acquire(64 * MIB);
    cr_expect(eq(sz, resident_bytes(b->address, 64 * MIB), 64 * MIB));
}

Test(ahead, makes_no_more_resident_than_may_be_idle) {
    host.retention.reserve = 72 * MIB;
    host.retention.cache_max = host.share.cache_max = 8 * MIB;
    cr_expect(ahead_make_on_host(&host, 1));
    cr_expect(not(ahead_make_on_host(&host, 2)));
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[0]), 8 * MIB));
}

/* ---- what is expected ---- */

static void add_pool(const char *kind, const char *where, size_t peak) {
    struct profile_place place = {0};
    (void)snprintf(place.kind, sizeof place.kind, "%s", kind);
    (void)snprintf(place.where, sizeof place.where, "%s", where);
    cr_assert(profile_add_pool(&profile, &place, peak));
}

/* So many blocks of 2 MiB, and of 160 MiB. */
static void expect_blocks(size_t peak, size_t small, size_t large) {
    add_pool("host", "0", peak);
    profile_add(&profile, (struct profile_line){.bytes = 2 * MIB, .blocks = small});
    profile_add(&profile, (struct profile_line){.bytes = 160 * MIB, .blocks = large});
    ahead_expect_on_host(&host, &profile);
}

static size_t idle_of(size_t bytes) {
    return host.pools[0].buckets[size_class_of(bytes)].idle;
}

Test(ahead, makes_what_is_expected_resident_and_large_blocks_in_pieces) {
    expect_blocks(1 * GIB, 3, 1);
    make_all();
    cr_expect(eq(sz, host_idle_bytes(&host), 166 * MIB));
    cr_expect(eq(sz, idle_of(2 * MIB), 3));
    cr_expect(eq(sz, idle_of(64 * MIB), 2));
    cr_expect(eq(sz, idle_of(32 * MIB), 1));
    struct block *b = acquire(2 * MIB);
    cr_expect(eq(sz, resident_bytes(b->address, 2 * MIB), 2 * MIB));
}

Test(ahead, makes_no_more_resident_than_a_little_beyond_the_peak) {
    expect_blocks(128 * MIB, 1000, 0);
    make_all();
    cr_expect(eq(sz, host_idle_bytes(&host), 130 * MIB));
}

Test(ahead, makes_no_more_resident_of_what_is_expected_than_may_be_idle) {
    host.retention.cache_max = host.share.cache_max = 8 * MIB;
    expect_blocks(1 * GIB, 2, 1);
    make_all();
    cr_expect(eq(sz, host_idle_bytes(&host), 8 * MIB), "the last piece is cut");
}

Test(ahead, counts_what_the_program_has_got_meanwhile_to_what_is_expected) {
    expect_blocks(128 * MIB, 1000, 0);
    (void)acquire(100 * MIB);
    make_all();
    cr_expect(eq(sz, host_idle_bytes(&host), 30 * MIB));
}

Test(ahead, keeps_what_is_expected_when_memory_grows_until_it_has_aged) {
    expect_blocks(200 * MIB, 100, 0);
    make_all();
    (void)acquire(3 * MIB);
    cr_expect(eq(sz, stats_read(&stats()->capped_bytes), 0), "though little was ever live");
    (void)host_tick(&host, 20000, PRESSURE_NONE);
    cr_expect(eq(sz, host_idle_bytes(&host), 0));
}

Test(ahead, makes_its_reserve_resident_after_what_is_expected) {
    expect_blocks(4 * MIB, 2, 0);
    host.retention.reserve = 12 * MIB;
    make_all();
    cr_expect(eq(sz, host_idle_bytes(&host), 12 * MIB));
    cr_expect(eq(sz, idle_of(8 * MIB), 1));
}

static struct profile noted;

static void note_all(void) {
    noted = (struct profile){0};
    for (unsigned i = 0; i < host.pool_count; i++) {
        ahead_note(&host.pools[i], &noted);
    }
}

/* The blocks of that size that were needed; 0: there is no line of them. */
static size_t needed(size_t bytes) {
    note_all();
    for (unsigned i = 0; i < noted.line_count; i++) {
        if (noted.lines[i].bytes == bytes) {
            return noted.lines[i].blocks;
        }
    }
    return 0;
}

Test(ahead, notes_how_many_blocks_of_a_size_were_needed_at_once) {
    for (int i = 0; i < 5; i++) {
        struct block *a = acquire(2 * MIB);
        struct block *b = acquire(2 * MIB);
        release(a, 1);
        release(b, 1);
    }
    release(acquire(8 * MIB), 1);
    cr_expect(eq(sz, needed(2 * MIB), 2));
    cr_expect(eq(sz, needed(8 * MIB), 1));
    cr_expect(eq(u32, noted.line_count, 2));
    cr_expect(eq(sz, profile_peak(&noted, "host"), 8 * MIB));
}

Test(ahead, notes_no_block_that_was_made_for_nobody) {
    expect_blocks(64 * MIB, 30, 0);
    make_all();
    release(acquire(8 * MIB), 1);
    cr_expect(eq(sz, needed(2 * MIB), 0));
}

Test(ahead, notes_no_station_of_a_growing_block) {
    struct block *b = acquire(2 * MIB);
    for (size_t bytes = 3 * MIB; bytes < 40 * MIB; bytes += MIB) {
        b = host_resize(&host, b, bytes, 1);
        cr_assert(not(eq(ptr, b, NULL)));
    }
    cr_expect(eq(sz, needed(2 * MIB), 1));
    cr_expect(eq(u32, noted.line_count, 1));
    release(b, 1);
}

/* ---- nodes ---- */

Test(ahead_nodes, fill_the_reserve_in_turns_what_is_bound) {
    start_nodes(NUMA_LOCAL);
    host.retention.reserve = 192 * MIB;
    inject.node = 2;
    make_all();
    for (unsigned node = 0; node < NODES; node++) {
        cr_expect(eq(sz, pool_idle_bytes(&host.pools[node]), 64 * MIB));
    }
}

Test(ahead_nodes, fill_the_reserve_where_they_run_what_is_not_bound) {
    start_nodes(NUMA_AUTO);
    host.retention.reserve = 128 * MIB;
    inject.node = 2;
    make_all();
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[2]), 128 * MIB));
}

/* 4 MiB on each of the nodes, and on one that is none of this machine. */
static void expect_on_all(void) {
    static const char *const nodes[] = {"0", "1", "2", "1000"};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        add_pool("host", nodes[i], 256 * MIB);
        profile_add(&profile, (struct profile_line){.bytes = 2 * MIB, .blocks = 2});
    }
    ahead_expect_on_host(&host, &profile);
    inject.node = 2;
    make_all();
}

Test(ahead_nodes, expect_what_is_bound_on_each_node) {
    start_nodes(NUMA_LOCAL);
    expect_on_all();
    for (unsigned node = 0; node < NODES; node++) {
        cr_expect(eq(sz, pool_idle_bytes(&host.pools[node]), 4 * MIB));
    }
}

Test(ahead_nodes, expect_what_is_not_bound_where_the_thread_can_touch_it) {
    start_nodes(NUMA_AUTO);
    expect_on_all();
    for (unsigned node = 0; node < NODES; node++) {
        cr_expect(eq(sz, pool_idle_bytes(&host.pools[node]), node == 2 ? 4 * MIB : 0));
    }
}

Test(ahead_nodes, note_what_each_node_needed) {
    start_nodes(NUMA_AUTO);
    inject.node = 0;
    release(acquire(8 * MIB), 1);
    inject.node = 2;
    release(acquire(4 * MIB), 1);
    note_all();
    cr_expect(eq(u32, noted.pool_count, 2));
    cr_expect(eq(str, noted.pools[0].place.where, "0"));
    cr_expect(eq(str, noted.pools[1].place.where, "2"));
    cr_expect(eq(u32, noted.pools[1].first, 1));
    cr_expect(eq(sz, noted.lines[1].bytes, 4 * MIB));
    cr_expect(eq(sz, profile_peak(&noted, "host"), 12 * MIB));
}

/* ---- pools of whole blocks, as those of devices are ---- */

static struct fake_backend fake;
static struct meta_records records = {.record_bytes = sizeof(struct block)};
static struct pool pool;

static size_t to_pages_of_2_mib(const struct backend *self, size_t bytes) {
    (void)self;
    return round_up(bytes, 2 * MIB);
}

static void be_device(const char *uuid, const char *pci_address, unsigned variant) {
    fake_backend_init(&fake, false);
    fake.has_gaps = false;
    fake.backend.kind = "device";
    fake.backend.uuid = uuid;
    fake.backend.pci_address = pci_address;
    fake.backend.variant = variant;
    fake.backend.is_whole = true;
    fake.backend.cannot_move = true;
    fake.backend.rounded = to_pages_of_2_mib;
    pool_init(&pool, &fake.backend, &records);
}

static void start_device(void) {
    inject_nothing();
    be_device("GPU-1", "0000:01:00.0", 0);
}

static void stop_device(void) {
    cr_expect(pool_is_valid(&pool));
}

TestSuite(ahead_whole, .init = start_device, .fini = stop_device);

static void expect_whole(size_t peak, size_t bytes, size_t blocks) {
    add_pool("device", "GPU-1", peak);
    profile_add(&profile, (struct profile_line){.bytes = bytes, .blocks = blocks});
    ahead_expect(&pool, &profile);
}

static size_t make_next(size_t most) {
    size_t bytes = ahead_next(&pool, most);
    cr_expect(bytes == 0 || pool_prefault(&pool, bytes, 1));
    return bytes;
}

Test(ahead_whole, blocks_come_whole_and_untouched_and_serve_the_first_requests) {
    expect_whole(600 * MIB, 300 * MIB, 2);
    cr_expect(eq(sz, make_next(UNLIMITED), 300 * MIB));
    cr_expect(eq(sz, make_next(UNLIMITED), 300 * MIB));
    cr_expect(eq(sz, make_next(UNLIMITED), 0));
    cr_expect(eq(sz, stats_read(&pool.own.stats.prefaulted_bytes), 600 * MIB));
    cr_expect(not(eq(ptr, pool_acquire(&pool, 300 * MIB, PAGES_ANY), NULL)));
    cr_expect(not(eq(ptr, pool_acquire(&pool, 299 * MIB, PAGES_ANY), NULL)));
    cr_expect(eq(sz, fake.fills, 2));
}

Test(ahead_whole, no_more_comes_than_was_live_at_once) {
    expect_whole(25 * MIB, 8 * MIB, 1000);
    profile_add(&profile, (struct profile_line){.bytes = 1 * MIB, .blocks = 1000});
    cr_expect(eq(sz, make_next(UNLIMITED), 8 * MIB));
    cr_expect(eq(sz, make_next(UNLIMITED), 8 * MIB));
    cr_expect(eq(sz, make_next(UNLIMITED), 8 * MIB));
    cr_expect(eq(sz, ahead_next(&pool, UNLIMITED), 1 * MIB), "what is too large is left out");
}

Test(ahead_whole, what_the_program_holds_by_now_is_there) {
    enum fill_result result = FILL_OK;
    expect_whole(24 * MIB, 8 * MIB, 3);
    cr_assert(not(eq(ptr, pool_fill(&pool, 16 * MIB, PAGES_ANY, &result), NULL)));
    cr_expect(eq(sz, make_next(UNLIMITED), 8 * MIB));
    cr_expect(eq(sz, make_next(UNLIMITED), 0));
}

Test(ahead_whole, nothing_comes_that_is_larger_than_may_be) {
    expect_whole(1 * GIB, 8 * MIB, 3);
    profile_add(&profile, (struct profile_line){.bytes = 300 * MIB, .blocks = 1});
    cr_expect(eq(sz, make_next(100 * MIB), 8 * MIB));
    cr_expect(eq(sz, make_next(4 * MIB), 0));
    cr_expect(eq(sz, make_next(UNLIMITED), 0), "nor later");
}

Test(ahead_whole, two_pools_of_one_place_have_a_part_each) {
    expect_whole(8 * MIB, 8 * MIB, 1);
    cr_expect(not(ahead_is_told(&fake.backend, &profile)));
    struct pool second = {0};
    pool_init(&second, &fake.backend, &records);
    ahead_expect(&second, &profile);
    cr_expect(eq(sz, ahead_next(&second, UNLIMITED), 0));
    add_pool("device", "GPU-1", 2 * MIB);
    profile_add(&profile, (struct profile_line){.bytes = 2 * MIB, .blocks = 1});
    cr_expect(ahead_is_told(&fake.backend, &profile));
    ahead_expect(&second, &profile);
    cr_expect(eq(sz, ahead_next(&second, UNLIMITED), 2 * MIB));
    cr_expect(eq(sz, ahead_next(&pool, UNLIMITED), 8 * MIB));
}

static char *where_noted(void) {
    enum fill_result result = FILL_OK;
    cr_assert(not(eq(ptr, pool_fill(&pool, 8 * MIB, PAGES_ANY, &result), NULL)));
    noted = (struct profile){0};
    ahead_note(&pool, &noted);
    cr_expect(eq(str, noted.pools[0].place.kind, "device"));
    return noted.pools[0].place.where;
}

Test(ahead_whole, a_device_goes_by_its_uuid_and_not_by_its_number) {
    cr_expect(eq(str, where_noted(), "GPU-1"));
    fake.backend.id = 7;
    cr_expect(ahead_is_told(&fake.backend, &noted));
    fake.backend.uuid = "GPU-2";
    cr_expect(not(ahead_is_told(&fake.backend, &noted)));
}

Test(ahead_whole, a_device_without_a_uuid_goes_by_its_place_in_the_machine) {
    be_device("", "0000:01:00.0", 0);
    cr_expect(eq(str, where_noted(), "0000:01:00.0"));
}

Test(ahead_whole, a_device_of_which_nothing_is_known_goes_by_its_number) {
    be_device("", "", 0);
    cr_expect(eq(str, where_noted(), "3"));
}

Test(ahead_whole, memory_that_is_never_mixed_is_another_place) {
    be_device("GPU-1", "", 5);
    cr_expect(eq(str, where_noted(), "GPU-1/5"));
}

Test(ahead_whole, blocks_made_to_measure_are_noted_as_they_were) {
    enum fill_result result = FILL_OK;
    cr_assert(not(eq(ptr, pool_fill(&pool, 300 * MIB, PAGES_ANY, &result), NULL)));
    cr_assert(not(eq(ptr, pool_fill(&pool, 316 * MIB, PAGES_ANY, &result), NULL)));
    noted = (struct profile){0};
    ahead_note(&pool, &noted);
    cr_expect(eq(u32, noted.line_count, 1));
    cr_expect(eq(sz, noted.lines[0].bytes, 316 * MIB));
    cr_expect(eq(sz, noted.lines[0].blocks, 2));
    cr_expect(eq(sz, noted.pools[0].peak, 616 * MIB));
}

Test(ahead_whole, what_was_never_used_is_not_noted) {
    expect_whole(8 * MIB, 8 * MIB, 1);
    (void)make_next(UNLIMITED);
    noted = (struct profile){0};
    ahead_note(&pool, &noted);
    cr_expect(eq(u32, noted.pool_count, 0));
}
