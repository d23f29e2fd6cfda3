#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "pool/topology.h"

static struct node_set set;
static struct topology topology;

static unsigned size_of_set(void) {
    unsigned n = 0;
    for (unsigned id = 0; id < NODE_IDS; id++) {
        n += node_set_has(&set, id);
    }
    return n;
}

/* ---- lists of numbers ---- */

Test(node_set, is_read_from_a_list_of_the_kernel) {
    cr_assert(node_set_parse(&set, "0,2-4,1023\n"));
    cr_expect(eq(u32, size_of_set(), 5));
    static const unsigned in[] = {0, 2, 3, 4, 1023};
    for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
        cr_expect(node_set_has(&set, in[i]), "%u", in[i]);
    }
}

Test(node_set, holds_every_number_there_can_be_and_no_other) {
    cr_assert(node_set_parse(&set, "0-1023"));
    cr_expect(eq(u32, size_of_set(), NODE_IDS));
    cr_expect(not(node_set_has(&set, NODE_IDS)));
    cr_expect(not(node_set_has(&set, UINT32_MAX)));
}

Test(node_set, takes_numbers_twice_and_in_any_order) {
    cr_assert(node_set_parse(&set, "7,3-5,4-4,3"));
    cr_expect(eq(u32, size_of_set(), 4));
}

Test(node_set, is_unchanged_by_what_is_no_list) {
    static const char *const none[] = {"",
                                       "\n",
                                       " ",
                                       "x",
                                       "0x1",
                                       ",",
                                       "0,",
                                       ",0",
                                       "0,,1",
                                       "-",
                                       "0-",
                                       "-1",
                                       "1-0",
                                       "0--1",
                                       "0-1-2",
                                       "0 1",
                                       "0, 1",
                                       "0\n\n",
                                       "0\n1",
                                       "0-3:2/4",
                                       "0.",
                                       "+1",
                                       "1024",
                                       "0-1024",
                                       "4294967296",
                                       "0-4294967297",
                                       "18446744073709551615",
                                       "18446744073709551616",
                                       "99999999999999999999999999-0",
                                       "0-18446744073709551616",
                                       "N-0",
                                       "all",
                                       "0,\n",
                                       "0-\n"};
    node_set_add(&set, 5);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        cr_expect(not(node_set_parse(&set, none[i])), "%s", none[i]);
        cr_expect(node_set_has(&set, 5) && size_of_set() == 1, "%s", none[i]);
    }
}

Test(node_set, takes_nothing_amiss) {
    static const char letters[] = "0123456789,-\n x";
    char text[12] = "";
    unsigned random = 1;
    for (unsigned round = 0; round < 100000; round++) {
        for (unsigned i = 0; i < sizeof text - 1; i++) {
            random = random * 1103515245 + 12345;
            text[i] = letters[random / 65536 % sizeof letters]; /* the last is the end */
        }
        struct node_set before = set;
        if (!node_set_parse(&set, text)) {
            cr_assert(memcmp(&before, &set, sizeof set) == 0, "%s", text);
        } else {
            cr_assert(strspn(text, "0123456789,-\n") == strlen(text), "%s", text);
        }
    }
}

/* ---- what is known without a companion ---- */

Test(topology, plain_has_the_online_nodes_in_order) {
    cr_assert(topology_plain(&topology, "0,2-3,1000\n"));
    cr_assert(eq(u32, topology.count, 4));
    static const unsigned ids[] = {0, 2, 3, 1000};
    for (unsigned i = 0; i < 4; i++) {
        const struct node *n = &topology.nodes[i];
        cr_expect(eq(u32, n->id, ids[i]));
        cr_expect(n->has_cpus && n->is_allowed && n->kind == MEMORY_DRAM && n->bytes == 0);
    }
}

Test(topology, plain_says_nothing_of_one_node_or_of_nonsense) {
    static const char *const texts[] = {"0\n", "3", "", "0-", "nodes", "0-1024"};
    topology.count = 77;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cr_expect(not(topology_plain(&topology, texts[i])), "%s", texts[i]);
        cr_expect(eq(u32, topology.count, 77));
    }
}

Test(topology, plain_has_the_first_nodes_of_too_many) {
    cr_assert(topology_plain(&topology, "5-1023"));
    cr_assert(eq(u32, topology.count, TOPOLOGY_NODES));
    cr_expect(eq(u32, topology.nodes[0].id, 5));
    cr_expect(eq(u32, topology.nodes[TOPOLOGY_NODES - 1].id, 5 + TOPOLOGY_NODES - 1));
}

/* ---- distances ---- */

static void expect_order(unsigned from, const char *expected) {
    char order[TOPOLOGY_NODES + 1] = "";
    for (unsigned i = 0; i < topology.count; i++) {
        order[i] = (char)('0' + topology.nodes[from].nearest[i]);
    }
    cr_expect(eq(str, order, (char *)expected), "from %u", from);
}

Test(topology, nodes_equally_far_are_near_each_other_in_a_circle) {
    cr_assert(topology_plain(&topology, "0-3"));
    expect_order(0, "0123");
    expect_order(1, "1230");
    expect_order(3, "3012");
}

Test(topology, nearer_nodes_come_first) {
    cr_assert(topology_plain(&topology, "0-3"));
    topology_order(&topology, 0, (uint64_t[TOPOLOGY_NODES]){10, 32, 21, 12});
    topology_order(&topology, 2, (uint64_t[TOPOLOGY_NODES]){21, 21, 10, 32});
    expect_order(0, "0321");
    expect_order(2, "2013");
}

Test(topology, a_node_is_nearest_to_itself_whatever_the_firmware_says) {
    cr_assert(topology_plain(&topology, "0-3"));
    topology_order(&topology, 1, (uint64_t[TOPOLOGY_NODES]){1, UINT64_MAX, 0, 1});
    expect_order(1, "1230");
}

Test(topology, each_node_of_the_most_there_can_be_has_all_of_them) {
    cr_assert(topology_plain(&topology, "0-63"));
    for (unsigned from = 0; from < TOPOLOGY_NODES; from++) {
        uint64_t seen = 0;
        for (unsigned i = 0; i < TOPOLOGY_NODES; i++) {
            seen |= (uint64_t)1 << topology.nodes[from].nearest[i];
        }
        cr_expect(eq(u64, seen, UINT64_MAX));
    }
}
