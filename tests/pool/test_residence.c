#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pool/residence.h"
#include "tests/pool/fake_nodes.h"
#include "tests/pool/files.h"
#include "tests/pool/host_blocks.h"
#include "tests/pool/inject.h"

static struct host host;
static struct residence found;

static void start_in(enum numa_mode mode) {
    static struct placement placement;
    inject_nothing();
    fake_nodes = (struct fake_nodes){0};
    fake_nodes_plan(&placement, mode, 2);
    struct host_config config = {.addresses = 64 * GIB,
                                 .retention = {.cache_max = SIZE_MAX,
                                               .memory_limit = SIZE_MAX,
                                               .reserve = SIZE_MAX,
                                               .decay_ms = 10000},
                                 .placement = &placement,
                                 .companion = &fake_companion,
                                 .mappings_limit = 6000,
                                 .thp = THP_AUTO,
                                 .recycle = true};
    memset(&host, 0, sizeof host);
    cr_assert(host_start(&host, &config));
}

static void start(void) {
    start_in(NUMA_LOCAL);
}

static void stop(void) {
    inject_nothing();
    if (*files_root != '\0') {
        files_remove();
    }
}

TestSuite(residence, .init = start, .fini = stop);

static struct block *acquire_on(unsigned node, size_t bytes) {
    inject.node = node;
    return must_acquire(&host, bytes);
}

static void expect_node(unsigned place, unsigned id, size_t live, size_t idle) {
    cr_assert(lt(uint, place, found.count));
    cr_expect(eq(uint, found.nodes[place].id, id));
    cr_expect(eq(sz, found.nodes[place].live, live), "on node %u", id);
    cr_expect(eq(sz, found.nodes[place].idle, idle), "on node %u", id);
}

static const char *border; /* pages from here on are on node 1 */

static int node_beyond_border(const void *page) {
    return (const char *)page >= border;
}

Test(residence, tells_live_and_idle_bytes_of_each_node) {
    struct block *live = acquire_on(0, 8 * MIB);
    struct block *idle = acquire_on(0, 4 * MIB);
    cr_assert(host_release(&host, idle, 1));
    border = live->address + 6 * MIB;
    fake_nodes.node_of = node_beyond_border;
    residence_measure(&found, &host);
    cr_expect(eq(str, (char *)found.measured_by, (char *)"move_pages"));
    expect_node(0, 0, 6 * MIB, 0);
    expect_node(1, 1, 2 * MIB, 4 * MIB);
    cr_expect(eq(sz, found.local_bytes, 6 * MIB));
    cr_expect(eq(sz, found.misplaced_bytes, 6 * MIB));
}

static int no_page(const void *page) {
    (void)page;
    return -ENOENT;
}

Test(residence, what_was_never_touched_is_nowhere) {
    (void)acquire_on(1, 8 * MIB);
    fake_nodes.node_of = no_page;
    residence_measure(&found, &host);
    expect_node(0, 0, 0, 0);
    expect_node(1, 1, 0, 0);
    cr_expect(eq(sz, found.local_bytes + found.misplaced_bytes, 0));
}

static int on_node_700(const void *page) {
    (void)page;
    return 700;
}

Test(residence, a_node_that_nobody_told_of_has_its_line) {
    (void)acquire_on(1, 8 * MIB);
    fake_nodes.node_of = on_node_700;
    residence_measure(&found, &host);
    cr_expect(eq(uint, found.count, 3));
    expect_node(2, 700, 8 * MIB, 0);
}

static int by_turns(const void *page) {
    return (uintptr_t)page / PAGE % 5 == 0;
}

Test(residence, asks_for_a_bounded_number_of_pages_and_is_right_within_a_hundredth) {
    for (int i = 0; i < 7; i++) {
        (void)acquire_on(0, 1 * GIB + (size_t)i * PAGE);
    }
    fake_nodes.node_of = by_turns;
    residence_measure(&found, &host);
    cr_expect(le(sz, fake_nodes.located, 64 * KIB + 8));
    size_t held = host_held_bytes(&host);
    size_t sum = found.nodes[0].live + found.nodes[1].live;
    cr_expect(lt(sz, sum > held ? sum - held : held - sum, held / 100));
    cr_expect(lt(sz, found.nodes[1].live, held / 5 + held / 100));
    cr_expect(gt(sz, found.nodes[1].live, held / 5 - held / 100));
}

Test(residence, of_interleaved_memory_nothing_is_local_or_misplaced) {
    start_in(NUMA_INTERLEAVE);
    (void)acquire_on(0, 8 * MIB);
    residence_measure(&found, &host);
    cr_expect(eq(sz, found.local_bytes + found.misplaced_bytes, 0));
    expect_node(0, 0, 8 * MIB, 0);
}

Test(residence, where_no_node_matters_nobody_is_asked) {
    start_in(NUMA_OFF);
    (void)acquire_on(0, 8 * MIB);
    residence_measure(&found, &host);
    cr_expect(eq(str, (char *)found.measured_by, (char *)"nothing"));
    cr_expect(eq(sz, fake_nodes.located, 0));
    cr_expect(eq(uint, found.count, 0));
}

/* ---- by mappings ---- */

static void see_numa_maps(const char *text) {
    files_make();
    files_put("/proc/self/numa_maps", text);
    inject.root = files_root;
    fake_nodes.locate_error = EPERM;
}

Test(residence, where_pages_are_not_told_mappings_are) {
    struct block *live = acquire_on(0, 6 * MIB);
    struct block *idle = acquire_on(0, 2 * MIB);
    cr_assert(host_release(&host, idle, 1));
    struct block *other = acquire_on(1, 2 * MIB);
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "10000000 default anon=9 N0=9 kernelpagesize_kB=4\n"
                   "%lx prefer:0 anon=2048 N0=1536 N1=512 kernelpagesize_kB=4\n"
                   "%lx default\n"
                   "%lx prefer:1 anon=512 N1=512 kernelpagesize_kB=4\n"
                   "7fffff000000 default stack anon=3 N0=3 kernelpagesize_kB=4\n",
                   (unsigned long)live->address, (unsigned long)live->address + 8 * MIB,
                   (unsigned long)other->address);
    see_numa_maps(text);
    residence_measure(&found, &host);
    cr_expect(eq(str, (char *)found.measured_by, (char *)"numa_maps"));
    expect_node(0, 0, 4 * MIB + 512 * KIB, 1 * MIB + 512 * KIB);
    expect_node(1, 1, 1 * MIB + 512 * KIB + 2 * MIB, 512 * KIB);
    cr_expect(eq(sz, found.local_bytes, 6 * MIB + 2 * MIB));
    cr_expect(eq(sz, found.misplaced_bytes, 2 * MIB));
}

Test(residence, lines_of_any_length_do_not_disturb_the_others) {
    struct block *b = acquire_on(1, 2 * MIB);
    static char text[16384];
    int n = snprintf(text, sizeof text, "10000000 default file=/");
    memset(text + n, 'x', 5000);
    (void)snprintf(text + n + 5000, sizeof text - (size_t)n - 5000,
                   " N0=9 kernelpagesize_kB=4\n%lx prefer:1 anon=512 N1=512 kernelpagesize_kB=4\n",
                   (unsigned long)b->address);
    see_numa_maps(text);
    residence_measure(&found, &host);
    expect_node(1, 1, 2 * MIB, 0);
}

Test(residence, where_pages_are_watched_mappings_tell_of_what_has_no_policy) {
    files_make();
    files_put("/proc/sys/kernel/numa_balancing", "1\n");
    files_put("/proc/self/numa_maps", "10000000 default\n");
    inject.root = files_root;
    residence_measure(&found, &host);
    cr_expect(eq(str, (char *)found.measured_by, (char *)"move_pages"), "it has one");
    start_in(NUMA_AUTO);
    inject.root = files_root;
    residence_measure(&found, &host);
    cr_expect(eq(str, (char *)found.measured_by, (char *)"numa_maps"));
    files_put("/proc/sys/kernel/numa_balancing", "0\n");
    residence_measure(&found, &host);
    cr_expect(eq(str, (char *)found.measured_by, (char *)"move_pages"));
}

Test(residence, where_nothing_is_told_says_so) {
    (void)acquire_on(1, 2 * MIB);
    files_make();
    inject.root = files_root;
    fake_nodes.locate_error = ENOSYS;
    residence_measure(&found, &host);
    cr_expect(eq(str, (char *)found.measured_by, (char *)"nothing"));
    cr_expect(eq(sz, found.local_bytes, 0));
}
