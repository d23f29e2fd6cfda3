/*
 * test_host_nodes.c - pool/host.c on a machine with several NUMA nodes.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "pool/host.h"
#include "tests/pool/fake_nodes.h"
#include "tests/pool/host_blocks.h"
#include "tests/pool/inject.h"
#include "tests/pool/memory.h"

enum {
    NODES = 3
};

static struct host host;
static struct placement placement;

static void start_in(enum numa_mode mode, struct retention retention) {
    inject_nothing();
    fake_nodes = (struct fake_nodes){0};
    fake_nodes_plan(&placement, mode, NODES);
    struct host_config config = {.addresses = 4 * GIB,
                                 .retention = retention,
                                 .placement = &placement,
                                 .companion = &fake_companion,
                                 .mappings_limit = 6000,
                                 .thp = THP_AUTO,
                                 .recycle = true};
    memset(&host, 0, sizeof host);
    cr_assert(host_start(&host, &config));
}

static const struct retention plenty = {
    .cache_max = SIZE_MAX, .memory_limit = SIZE_MAX, .reserve = 1 * GIB, .decay_ms = 10000};

static void start(void) {
    start_in(NUMA_AUTO, plenty);
}

static void stop(void) {
    inject_nothing();
    for (unsigned i = 0; i < host.pool_count; i++) {
        cr_expect(pool_is_valid(&host.pools[i]), "of node %u", i);
    }
}

TestSuite(host_nodes, .init = start, .fini = stop);

static struct block *acquire_on(unsigned node, size_t bytes) {
    inject.node = node;
    return must_acquire(&host, bytes);
}

static void release(struct block *b, uint64_t now_ms) {
    must_release(&host, b, now_ms);
}

static size_t remote_hits(unsigned node) {
    return stats_read(&host.pools[node].own.stats.remote_hits);
}

/* ---- pressure ---- */

Test(host_nodes, a_shortage_counts_once_and_reaches_all_nodes) {
    release(acquire_on(1, 8 * MIB), 1);
    release(acquire_on(2, 16 * MIB), 1);
    (void)host_tick(&host, 1, PRESSURE_EMERGENCY);
    cr_expect(eq(sz, host_idle_bytes(&host), 0));
    for (unsigned node = 0; node < NODES; node++) {
        const struct stats *s = &host.pools[node].own.stats;
        cr_expect(eq(sz, stats_read(&s->pressure_events), node == 0));
        cr_expect(eq(sz, stats_read(&s->emergencies), node == 0));
        cr_expect(eq(sz, stats_read(&s->pressed_bytes), node * 8 * MIB));
    }
}

/* ---- whose block ---- */

Test(host_nodes, a_request_is_served_by_the_pool_of_its_node) {
    for (unsigned node = 0; node < NODES; node++) {
        cr_expect(eq(ptr, acquire_on(node, 2 * MIB)->home, &host.pools[node]));
        cr_expect(eq(uint, host.pools[node].backend->id, node));
    }
}

Test(host_nodes, a_block_goes_back_to_its_node_whoever_frees_it) {
    struct block *b = acquire_on(1, 2 * MIB);
    inject.node = 2;
    release(b, 1);
    cr_expect(eq(sz, pool_idle_bytes(&host.pools[1]), 2 * MIB));
    cr_expect(eq(ptr, acquire_on(1, 2 * MIB), b));
}

Test(host_nodes, an_idle_block_of_another_node_is_left_alone_while_there_is_memory) {
    struct block *b = acquire_on(1, 2 * MIB);
    release(b, 1);
    struct block *other = acquire_on(2, 2 * MIB);
    cr_expect(not(eq(ptr, other, b)));
    cr_expect(eq(int, block_state(b), BLOCK_IDLE), "neither handed out nor lent");
    cr_expect(eq(sz, remote_hits(1), 0));
}

Test(host_nodes, pages_are_not_lent_to_other_nodes) {
    struct block *lender = acquire_on(0, 32 * MIB);
    memset(lender->address, 7, 32 * MIB);
    release(lender, 1);
    struct block *b = acquire_on(1, 48 * MIB);
    cr_expect(is_all(b->address, 48 * MIB, 0));
    cr_expect(eq(u32, lender->granules, 16));
    struct block *same = acquire_on(0, 48 * MIB);
    cr_expect(is_all(same->address, 32 * MIB, 7), "but inside the node they are");
}

Test(host_nodes, where_the_system_refuses_the_nearest_nodes_idle_block_serves) {
    struct block *near = acquire_on(1, 8 * MIB);
    struct block *far = acquire_on(0, 8 * MIB);
    release(far, 1);
    release(near, 2);
    inject_failures(CALL_MPROTECT, 1, 1);
    struct block *b = acquire_on(2, 8 * MIB);
    inject_nothing();
    cr_expect(eq(ptr, b, near));
    cr_expect(eq(int, block_state(far), BLOCK_IDLE), "nothing was given back for it");
    cr_expect(eq(sz, remote_hits(1), 1), "counted where the block belongs");
    cr_expect(eq(sz, remote_hits(0) + remote_hits(2), 0));
    cr_expect(eq(sz, stats_read(&host.pools[2].own.stats.failures), 0));
}

Test(host_nodes, where_nothing_idle_fits_everything_idle_on_all_nodes_goes_back) {
    struct block *b = acquire_on(1, 8 * MIB);
    release(b, 1);
    inject_failures(CALL_MPROTECT, 1, 1);
    struct block *large = acquire_on(2, 64 * MIB);
    inject_nothing();
    cr_expect(eq(ptr, large->home, &host.pools[2]));
    cr_expect(eq(int, block_state(b), BLOCK_EMPTY));
    cr_expect(eq(sz, stats_read(&host.pools[2].own.stats.oom_retries), 1));
}

Test(host_nodes, a_zeroed_block_of_another_node_is_zero) {
    enum fill_result result = FILL_OK;
    struct block *b = acquire_on(1, 8 * MIB);
    memset(b->address, 7, 8 * MIB);
    release(b, 1);
    inject.node = 0;
    inject_failures(CALL_MPROTECT, 1, 1);
    cr_assert(eq(ptr, host_acquire(&host, 8 * MIB, PAGES_ZERO, &result), b));
    inject_nothing();
    cr_expect(is_all(b->address, 8 * MIB, 0));
}

Test(host_nodes, realloc_keeps_the_node) {
    struct block *b = acquire_on(1, 4 * MIB);
    memset(b->address, 7, 4 * MIB);
    inject.node = 0;
    struct block *grown = host_resize(&host, b, 32 * MIB, 1);
    cr_assert(not(eq(ptr, grown, NULL)));
    cr_expect(eq(ptr, grown->home, &host.pools[1]));
    cr_expect(is_all(grown->address, 4 * MIB, 7));
}

Test(host_nodes, a_node_that_nobody_told_of_is_served) {
    cr_expect(eq(ptr, acquire_on(1000, 2 * MIB)->home, &host.pools[1000 % NODES]));
    cr_expect(eq(ptr, acquire_on(UINT_MAX, 2 * MIB)->home, &host.pools[(NODE_IDS - 1) % NODES]));
}

/* ---- how much stays ---- */

static const struct retention little = {
    .cache_max = 64 * MIB, .memory_limit = SIZE_MAX, .decay_ms = 10000};

Test(host_nodes, the_cap_is_for_all_nodes_together) {
    start_in(NUMA_AUTO, little);
    host.backends[0].backend.cannot_move = host.backends[1].backend.cannot_move = true;
    struct block *a = acquire_on(0, 40 * MIB);
    struct block *b = acquire_on(1, 40 * MIB);
    release(a, 1);
    cr_expect(eq(sz, host_idle_bytes(&host), 40 * MIB), "one node may have more than its share");
    release(b, 2);
    cr_expect(eq(sz, host_idle_bytes(&host), 64 * MIB));
    cr_expect(eq(u32, b->granules, 20), "what has been idle for longest goes, on whatever node");
    cr_expect(eq(u32, a->granules, 12));
}

Test(host_nodes, a_thread_that_moves_leaves_no_more_idle_than_it_needs) {
    struct retention none_reserved = plenty;
    none_reserved.reserve = 0;
    start_in(NUMA_AUTO, none_reserved);
    struct block *b = acquire_on(0, 256 * MIB);
    release(b, 1);
    (void)acquire_on(1, 256 * MIB);
    cr_expect(le(sz, host_idle_bytes(&host), 4 * MIB), "the peak of what is live was 256 MiB");
}

Test(host_nodes, where_memory_is_tight_an_idle_block_elsewhere_comes_before_new_memory) {
    start_in(NUMA_AUTO, (struct retention){
                            .cache_max = SIZE_MAX, .memory_limit = 100 * MIB, .decay_ms = 10000});
    host.backends[1].backend.cannot_move = true; /* or less would stay idle */
    struct block *idle = acquire_on(0, 48 * MIB);
    release(idle, 1);
    struct block *b = acquire_on(1, 40 * MIB);
    cr_expect(eq(ptr, b->home, &host.pools[1]), "88 MiB of 90");
    release(b, 2);
    (void)acquire_on(1, 40 * MIB);
    cr_expect(eq(ptr, acquire_on(1, 48 * MIB), idle), "48 more would be too many");
    cr_expect(eq(sz, remote_hits(0), 1));
}

Test(host_nodes, all_nodes_age) {
    struct retention r = plenty;
    r.reserve = 0;
    start_in(NUMA_AUTO, r);
    release(acquire_on(0, 8 * MIB), 1000);
    release(acquire_on(2, 8 * MIB), 5000);
    cr_expect(eq(u64, host_tick(&host, 5000, PRESSURE_NONE), 11001));
    cr_expect(eq(u64, host_tick(&host, 11001, PRESSURE_NONE), 15001));
    cr_expect(eq(sz, host_idle_bytes(&host), 8 * MIB));
    cr_expect(eq(u64, host_tick(&host, 15001, PRESSURE_NONE), NEVER));
}

Test(host_nodes, the_reserve_is_for_all_nodes_together) {
    struct retention r = plenty;
    r.reserve = 12 * MIB;
    start_in(NUMA_AUTO, r);
    release(acquire_on(0, 8 * MIB), 1);
    release(acquire_on(1, 8 * MIB), 2);
    (void)host_tick(&host, 20000, PRESSURE_NONE);
    cr_expect(eq(sz, host_idle_bytes(&host), 12 * MIB));
}

/* ---- binding ---- */

Test(host_nodes, auto_binds_nothing) {
    (void)acquire_on(0, 8 * MIB);
    cr_expect(eq(sz, fake_nodes.bind_calls, 0));
}

Test(host_nodes, local_binds_the_span_of_a_node_at_once) {
    start_in(NUMA_LOCAL, plenty);
    struct block *first = acquire_on(1, 8 * MIB);
    cr_expect(eq(sz, fake_nodes.bind_calls, 1));
    cr_expect(eq(ptr, fake_nodes.bound, first->address));
    cr_expect(ge(sz, fake_nodes.bound_bytes, 64 * MIB));
    cr_expect(eq(int, fake_nodes.binding.kind, BINDING_PREFERRED));
    cr_expect(node_set_has(&fake_nodes.binding.nodes, 1));
    struct block *second = acquire_on(1, 8 * MIB);
    cr_expect(eq(ptr, second->address, first->address + 8 * MIB));
    cr_expect(eq(sz, fake_nodes.bind_calls, 1), "the next block is bound already");
    (void)acquire_on(2, 8 * MIB);
    cr_expect(eq(sz, fake_nodes.bind_calls, 2));
}

Test(host_nodes, what_was_given_back_is_bound_anew) {
    start_in(NUMA_LOCAL, plenty);
    struct block *b = acquire_on(1, 8 * MIB);
    release(b, 1);
    (void)host_trim(&host);
    cr_expect(eq(sz, fake_nodes.bind_calls, 2));
    cr_expect(eq(ptr, fake_nodes.bound, b->address));
    cr_expect(eq(sz, fake_nodes.bound_bytes, 8 * MIB));
}

Test(host_nodes, a_refusal_to_bind_is_told_and_not_tried_again) {
    start_in(NUMA_LOCAL, plenty);
    fake_nodes.bind_error = EPERM;
    cr_expect(eq(int, host_bind_error(&host), 0));
    errno = 77;
    struct block *b = acquire_on(1, 8 * MIB);
    cr_expect(eq(int, errno, 77));
    cr_expect(eq(int, host_bind_error(&host), EPERM));
    release(b, 1);
    (void)host_trim(&host);
    cr_expect(eq(sz, fake_nodes.bind_calls, 1));
    cr_expect(eq(ptr, acquire_on(1, 8 * MIB), b), "and everything else works");
}

Test(host_nodes, interleaved_memory_is_one_pool) {
    start_in(NUMA_INTERLEAVE, plenty);
    cr_expect(eq(uint, host.pool_count, 1));
    struct block *b = acquire_on(2, 8 * MIB);
    release(b, 1);
    cr_expect(eq(ptr, acquire_on(0, 8 * MIB), b));
    cr_expect(eq(int, fake_nodes.binding.kind, BINDING_INTERLEAVE));
}

/* ---- addresses ---- */

Test(host_nodes, blocks_of_different_nodes_do_not_touch) {
    static struct block *blocks[NODES];
    for (unsigned node = 0; node < NODES; node++) {
        blocks[node] = acquire_on(node, 512 * MIB);
    }
    for (unsigned node = 0; node + 1 < NODES; node++) {
        char *end = blocks[node]->address + 512 * MIB;
        cr_expect(blocks[node + 1]->address > end);
    }
}

Test(host_nodes, what_no_block_has_yet_can_be_given_back) {
    struct block *b = acquire_on(0, 8 * MIB);
    size_t rest = host.backends[0].span.end - host.backends[0].span.next;
    cr_assert(gt(sz, rest, 8 * MIB));
    char *unused = host.arena.base + host.backends[0].span.next;
    host_shrink(&host, 64 * MIB);
    struct mapping m;
    uintptr_t mapped = find_mapping(unused, &m) ? m.start : UINTPTR_MAX;
    cr_expect(mapped > (uintptr_t)unused);
    memset(b->address, 1, 8 * MIB);
    struct block *next = acquire_on(0, 8 * MIB);
    cr_expect(next->address >= unused + rest, "nobody gets those addresses");
    memset(next->address, 1, 8 * MIB);
}

/* ---- fork ---- */

Test(host_nodes, a_child_has_its_parents_blocks_where_they_were) {
    struct block *a = acquire_on(0, 8 * MIB);
    struct block *b = acquire_on(2, 8 * MIB);
    release(b, 1);
    host_before_fork(&host);
    host_after_fork_in_child(&host);
    cr_expect(eq(sz, gauge_current(&host.pools[0].own.stats.allocated_bytes), 8 * MIB));
    cr_expect(eq(sz, host_idle_bytes(&host), 0));
    cr_expect(eq(ptr, acquire_on(2, 8 * MIB), b), "its address is that node's");
    release(a, 2);
}
