#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "pool/placement.h"

/*
 * Nodes 0 and 2 are near each other, 5 is far from both; 7, next to 5, has memory and no processors.
 */
static struct topology machine;
static struct placement plan;

enum {
    A,
    B,
    C,
    BARE,
    NODES
};

static void describe(void) {
    static const unsigned ids[NODES] = {0, 2, 5, 7};
    static const uint64_t distances[NODES][TOPOLOGY_NODES] = {[A] = {10, 12, 30, 40},
                                                              [B] = {12, 10, 31, 41},
                                                              [C] = {30, 31, 10, 14},
                                                              [BARE] = {40, 41, 14, 10}};
    machine = (struct topology){.count = NODES};
    for (unsigned i = 0; i < NODES; i++) {
        machine.nodes[i] = (struct node){.id = ids[i], .has_cpus = i != BARE, .is_allowed = true};
    }
    for (unsigned i = 0; i < NODES; i++) {
        topology_order(&machine, i, distances[i]);
    }
}

TestSuite(placement, .init = describe);

static void choose(struct numa_choice choice, struct placement_facts facts) {
    placement_plan(&plan, &choice, &facts);
}

/* On the machine described, where everything can be had. */
static void choose_mode(enum numa_mode mode) {
    choose((struct numa_choice){.mode = mode},
           (struct placement_facts){.topology = &machine, .can_bind = true});
}

static void choose_nodes(const char *list) {
    struct numa_choice choice = {.mode = NUMA_NODES};
    cr_assert(node_set_parse(&choice.nodes, list));
    choose(choice, (struct placement_facts){.topology = &machine, .can_bind = true});
}

static bool is(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}

static bool is_bound(unsigned pool) {
    const struct home *h = &plan.homes[pool];
    return h->binding.kind == BINDING_PREFERRED && node_set_has(&h->binding.nodes, h->node);
}

Test(placement, on_one_node_is_one_pool_whatever_is_chosen) {
    for (enum numa_mode mode = NUMA_AUTO; mode <= NUMA_NODES; mode++) {
        choose((struct numa_choice){.mode = mode}, (struct placement_facts){.can_bind = true});
        cr_expect(eq(uint, plan.pools, 1));
        cr_expect(eq(int, plan.homes[0].binding.kind, BINDING_NONE));
        cr_expect(not(plan.has_nodes));
        cr_expect(is(plan.note, ""));
    }
}

Test(placement, auto_is_a_pool_for_each_node_with_processors_and_binds_none) {
    choose_mode(NUMA_AUTO);
    cr_assert(eq(uint, plan.pools, 3));
    cr_expect(eq(uint, plan.homes[0].node, 0));
    cr_expect(eq(uint, plan.homes[1].node, 2));
    cr_expect(eq(uint, plan.homes[2].node, 5));
    for (unsigned i = 0; i < 3; i++) {
        cr_expect(eq(int, plan.homes[i].binding.kind, BINDING_NONE));
        cr_expect(plan.homes[i].is_home);
    }
    cr_expect(is(placement_word(&plan), "first touch"));
    cr_expect(plan.has_nodes);
}

Test(placement, local_binds_each_pool_to_its_node) {
    choose_mode(NUMA_LOCAL);
    cr_assert(eq(uint, plan.pools, 3));
    cr_expect(is_bound(0) && is_bound(1) && is_bound(2));
    cr_expect(is(placement_word(&plan), "preferred"));
    cr_expect(is(placement_mode_word(plan.mode), "local"));
}

Test(placement, serves_threads_from_their_own_node) {
    choose_mode(NUMA_LOCAL);
    cr_expect(eq(u8, plan.pool_of[0], 0));
    cr_expect(eq(u8, plan.pool_of[2], 1));
    cr_expect(eq(u8, plan.pool_of[5], 2));
}

Test(placement, knows_the_other_pools_by_distance) {
    choose_mode(NUMA_LOCAL);
    static const uint8_t expected[3][3] = {{0, 1, 2}, {1, 0, 2}, {2, 0, 1}};
    for (unsigned i = 0; i < 3; i++) {
        cr_expect(eq(int, memcmp(plan.homes[i].nearest, expected[i], 3), 0), "of pool %u", i);
    }
}

Test(placement, a_node_without_processors_is_no_home_unless_asked_for) {
    choose_mode(NUMA_AUTO);
    cr_expect(eq(u8, plan.pool_of[7], 2), "5 is the nearest to it");
    choose_nodes("7");
    cr_assert(eq(uint, plan.pools, 1));
    cr_expect(eq(uint, plan.homes[0].node, 7));
    cr_expect(is_bound(0));
}

Test(placement, a_node_whose_memory_is_not_allowed_is_no_home) {
    machine.nodes[A].is_allowed = false;
    choose_mode(NUMA_LOCAL);
    cr_assert(eq(uint, plan.pools, 2));
    cr_expect(eq(uint, plan.homes[0].node, 2));
    cr_expect(eq(u8, plan.pool_of[0], 0), "its processors may be");
}

Test(placement, threads_on_unknown_nodes_get_some_pool) {
    choose_mode(NUMA_AUTO);
    for (unsigned id = 0; id < NODE_IDS; id++) {
        cr_assert(lt(u8, plan.pool_of[id], 3));
    }
}

Test(placement, with_listed_nodes_threads_get_the_nearest_of_them) {
    choose_nodes("2,5");
    cr_assert(eq(uint, plan.pools, 2));
    cr_expect(eq(u8, plan.pool_of[0], 0), "2 is nearer to it than 5");
    cr_expect(eq(u8, plan.pool_of[2], 0));
    cr_expect(eq(u8, plan.pool_of[5], 1));
    cr_expect(is_bound(0) && is_bound(1));
}

Test(placement, of_listed_nodes_takes_those_that_can_be_had) {
    machine.nodes[C].is_allowed = false;
    choose_nodes("2,5,900");
    cr_expect(eq(uint, plan.pools, 1));
    cr_expect(eq(uint, plan.homes[0].node, 2));
}

Test(placement, where_no_listed_node_can_be_had_is_automatic_and_says_so) {
    choose_nodes("1,3");
    cr_expect(eq(uint, plan.pools, 3));
    cr_expect(eq(int, plan.homes[0].binding.kind, BINDING_NONE));
    cr_expect(is(plan.note, "none of these nodes can be had"));
}

Test(placement, interleave_is_one_pool_on_all_nodes_with_processors) {
    choose_mode(NUMA_INTERLEAVE);
    cr_assert(eq(uint, plan.pools, 1));
    const struct binding *b = &plan.homes[0].binding;
    cr_expect(eq(int, b->kind, BINDING_INTERLEAVE));
    cr_expect(node_set_has(&b->nodes, 0) && node_set_has(&b->nodes, 2) &&
              node_set_has(&b->nodes, 5));
    cr_expect(not(node_set_has(&b->nodes, 7)));
    cr_expect(not(plan.homes[0].is_home), "no byte of it is misplaced");
    cr_expect(is(placement_word(&plan), "interleaved"));
}

Test(placement, off_is_one_pool_that_asks_for_no_node) {
    choose_mode(NUMA_OFF);
    cr_expect(eq(uint, plan.pools, 1));
    cr_expect(not(plan.has_nodes));
    cr_expect(eq(u8, plan.pool_of[5], 0));
}

Test(placement, respects_a_policy_of_the_task) {
    struct placement_facts facts = {
        .topology = &machine, .task = TASK_POLICY_OTHER, .can_bind = true};
    choose((struct numa_choice){.mode = NUMA_AUTO}, facts);
    cr_expect(eq(uint, plan.pools, 1));
    cr_expect(is(placement_word(&plan), "task policy"));
    cr_expect(is(plan.note, ""));
    choose((struct numa_choice){.mode = NUMA_LOCAL}, facts);
    cr_expect(eq(int, plan.homes[0].binding.kind, BINDING_NONE));
    cr_expect(is(plan.note, "the task has a policy of its own"));
}

Test(placement, goes_on_where_the_policy_of_the_task_is_not_told) {
    choose((struct numa_choice){.mode = NUMA_LOCAL},
           (struct placement_facts){
               .topology = &machine, .task = TASK_POLICY_UNKNOWN, .can_bind = true});
    cr_expect(eq(uint, plan.pools, 3));
    cr_expect(is_bound(2));
}

Test(placement, without_means_to_bind_is_automatic_and_says_why) {
    choose((struct numa_choice){.mode = NUMA_INTERLEAVE},
           (struct placement_facts){.topology = &machine, .why_cannot = "not installed"});
    cr_expect(eq(uint, plan.pools, 3));
    cr_expect(is(placement_word(&plan), "first touch"));
    cr_expect(is(plan.note, "not installed"));
}

Test(placement, with_no_node_that_could_be_a_home_is_one_pool) {
    for (unsigned i = 0; i < NODES; i++) {
        machine.nodes[i].is_allowed = false;
    }
    choose_mode(NUMA_AUTO);
    cr_expect(eq(uint, plan.pools, 1));
    cr_expect(is(plan.note, "no node has both processors and memory"));
}

/* ---- memory for a device ---- */

static bool near_is(unsigned node, enum binding_kind kind, unsigned where) {
    struct binding b = placement_near(&plan, node);
    return b.kind == kind && (kind == BINDING_NONE || node_set_has(&b.nodes, where));
}

Test(placement, memory_for_a_device_lies_next_to_it) {
    choose_mode(NUMA_AUTO);
    cr_expect(near_is(2, BINDING_PREFERRED, 2));
    cr_expect(near_is(5, BINDING_PREFERRED, 5));
    cr_expect(near_is(7, BINDING_PREFERRED, 5), "7 is nobody's home");
    cr_expect(near_is(NODE_IDS, BINDING_NONE, 0));
    choose_mode(NUMA_LOCAL);
    cr_expect(near_is(2, BINDING_PREFERRED, 2));
}

Test(placement, memory_for_a_device_lies_where_the_user_wants_it) {
    choose_nodes("0,7");
    cr_expect(near_is(2, BINDING_PREFERRED, 0));
    cr_expect(near_is(5, BINDING_PREFERRED, 7));
    choose_mode(NUMA_INTERLEAVE);
    cr_expect(near_is(2, BINDING_INTERLEAVE, 0));
    cr_expect(near_is(2, BINDING_INTERLEAVE, 5));
}

Test(placement, memory_for_a_device_lies_anywhere_where_nobody_asks) {
    choose_mode(NUMA_OFF);
    cr_expect(near_is(2, BINDING_NONE, 0));
    choose((struct numa_choice){.mode = NUMA_AUTO}, (struct placement_facts){.topology = NULL});
    cr_expect(near_is(0, BINDING_NONE, 0), "one node");
    choose((struct numa_choice){.mode = NUMA_AUTO},
           (struct placement_facts){
               .topology = &machine, .can_bind = true, .task = TASK_POLICY_OTHER});
    cr_expect(near_is(2, BINDING_NONE, 0), "the task has a policy");
}
