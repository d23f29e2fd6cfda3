#include "tests/pool/fake_nodes.h"

#include <errno.h>

struct fake_nodes fake_nodes;

static enum task_policy task_policy(void) {
    return TASK_POLICY_NONE;
}

static int bind(void *address, size_t bytes, const struct binding *binding) {
    fake_nodes.bind_calls++;
    fake_nodes.bound = address;
    fake_nodes.bound_bytes = bytes;
    fake_nodes.binding = *binding;
    return fake_nodes.bind_error;
}

static int locate(size_t count, void *const *pages, int *nodes) {
    fake_nodes.located += count;
    for (size_t i = 0; i < count; i++) {
        nodes[i] = fake_nodes.node_of != NULL ? fake_nodes.node_of(pages[i]) : 0;
    }
    return fake_nodes.locate_error;
}

enum {
    MODE_BEFORE = 4
};

static int prefer(const struct binding *binding, int *was) {
    fake_nodes.prefer_calls++;
    if (fake_nodes.prefer_error == 0) {
        fake_nodes.binding = *binding;
        fake_nodes.is_preferred = true;
        *was = MODE_BEFORE;
    }
    errno = ERANGE;
    return fake_nodes.prefer_error;
}

static void prefer_as_before(int was) {
    fake_nodes.is_preferred = was != MODE_BEFORE;
    errno = ERANGE;
}

const struct topology_companion fake_companion = {.version = TOPOLOGY_VERSION,
                                                  .task_policy = task_policy,
                                                  .bind = bind,
                                                  .locate = locate,
                                                  .prefer = prefer,
                                                  .prefer_as_before = prefer_as_before};

void fake_nodes_plan(struct placement *p, enum numa_mode mode, unsigned nodes) {
    static struct topology row;
    row = (struct topology){.count = nodes};
    for (unsigned i = 0; i < nodes; i++) {
        row.nodes[i] = (struct node){.id = i, .has_cpus = true, .is_allowed = true};
        uint64_t distances[TOPOLOGY_NODES] = {0};
        for (unsigned j = 0; j < nodes; j++) {
            distances[j] = j < i ? 2 * (i - j) - 1 : 2 * (j - i);
        }
        topology_order(&row, i, distances);
    }
    struct numa_choice choice = {.mode = mode};
    struct placement_facts facts = {.topology = &row, .can_bind = true};
    placement_plan(p, &choice, &facts);
}
