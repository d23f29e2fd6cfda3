#include "pool/placement.h"

/* ---- one pool ---- */

static void plan_one(struct placement *p, const char *note) {
    *p = (struct placement){.pools = 1, .note = note};
}

static bool may_hold(const struct node *n) {
    return n->is_allowed && n->has_cpus;
}

static void plan_interleave(struct placement *p, const struct topology *t) {
    plan_one(p, "");
    struct binding *b = &p->homes[0].binding;
    b->kind = BINDING_INTERLEAVE;
    for (unsigned i = 0; i < t->count; i++) {
        if (may_hold(&t->nodes[i])) {
            node_set_add(&b->nodes, t->nodes[i].id);
        }
    }
}

/* ---- a pool for each node ---- */

/* What is used while a plan is made: pools by the indices of the topology. */
struct draft {
    const struct topology *topology;
    bool is_home[TOPOLOGY_NODES];
    uint8_t pool[TOPOLOGY_NODES]; /* of a home */
};

/* The homes among all nodes, the nearest to `from` first. How many they are. */
static unsigned list_nearest(const struct draft *d, const struct node *from, uint8_t *pools) {
    unsigned count = 0;
    for (unsigned i = 0; i < d->topology->count; i++) {
        unsigned near = from->nearest[i];
        if (d->is_home[near]) {
            pools[count++] = d->pool[near];
        }
    }
    return count;
}

static void add_home(struct placement *p, struct draft *d, unsigned index, bool bind) {
    struct home *h = &p->homes[p->pools];
    h->node = d->topology->nodes[index].id;
    h->is_home = true;
    if (bind) {
        h->binding.kind = BINDING_PREFERRED;
        node_set_add(&h->binding.nodes, h->node);
    }
    d->pool[index] = (uint8_t)p->pools++;
}

/* Processors may come to nodes that are not known yet: any home will do for them. */
static void serve_all_nodes(struct placement *p, const struct draft *d) {
    for (unsigned id = 0; id < NODE_IDS; id++) {
        p->pool_of[id] = (uint8_t)(id % p->pools);
    }
    for (unsigned i = 0; i < d->topology->count; i++) {
        const struct node *n = &d->topology->nodes[i];
        uint8_t pools[TOPOLOGY_NODES];
        (void)list_nearest(d, n, pools);
        p->pool_of[n->id] = pools[0];
        if (d->is_home[i]) {
            (void)list_nearest(d, n, p->homes[d->pool[i]].nearest);
        }
    }
}

/* False, and nothing planned: no node is a home. */
static bool plan_homes(struct placement *p, struct draft *d, bool bind) {
    *p = (struct placement){.note = ""};
    for (unsigned i = 0; i < d->topology->count; i++) {
        if (d->is_home[i]) {
            add_home(p, d, i, bind);
        }
    }
    if (p->pools == 0) {
        return false;
    }
    serve_all_nodes(p, d);
    return true;
}

/* Nodes without processors, slow memory or precious, are a home for nobody who did not ask for them. */
static void choose_homes(struct draft *d, const struct node_set *asked) {
    for (unsigned i = 0; i < d->topology->count; i++) {
        const struct node *n = &d->topology->nodes[i];
        d->is_home[i] = asked != NULL ? n->is_allowed && node_set_has(asked, n->id) : may_hold(n);
    }
}

static bool plan_nodes(struct placement *p, const struct topology *t, const struct node_set *asked,
                       bool bind) {
    struct draft d = {.topology = t};
    choose_homes(&d, asked);
    return plan_homes(p, &d, bind);
}

/* ---- which of them ---- */

static void plan_auto(struct placement *p, const struct topology *t, const char *note) {
    if (!plan_nodes(p, t, NULL, false)) {
        plan_one(p, "no node has both processors and memory");
    }
    if (*note != '\0') {
        p->note = note;
    }
}

static void plan_bound(struct placement *p, const struct topology *t,
                       const struct numa_choice *choice) {
    bool asked = choice->mode == NUMA_NODES;
    if (choice->mode == NUMA_INTERLEAVE) {
        plan_interleave(p, t);
    } else if (!plan_nodes(p, t, asked ? &choice->nodes : NULL, true)) {
        plan_auto(p, t, asked ? "none of these nodes can be had" : "");
    }
}

void placement_plan(struct placement *p, const struct numa_choice *choice,
                    const struct placement_facts *facts) {
    bool wants_binding = choice->mode != NUMA_AUTO && choice->mode != NUMA_OFF;
    if (facts->topology == NULL || choice->mode == NUMA_OFF) {
        plan_one(p, "");
    } else if (facts->task == TASK_POLICY_OTHER) {
        plan_one(p, wants_binding ? "the task has a policy of its own" : "");
        p->is_respected = true;
    } else if (!wants_binding) {
        plan_auto(p, facts->topology, "");
    } else if (!facts->can_bind) {
        plan_auto(p, facts->topology, facts->why_cannot);
    } else {
        plan_bound(p, facts->topology, choice);
    }
    p->mode = choice->mode;
    p->has_nodes = facts->topology != NULL && choice->mode != NUMA_OFF;
}

struct binding placement_near(const struct placement *p, unsigned node) {
    if (!p->has_nodes || p->is_respected || node >= NODE_IDS) {
        return (struct binding){.kind = BINDING_NONE};
    }
    const struct home *h = &p->homes[p->pool_of[node]];
    struct binding b = h->binding;
    if (b.kind == BINDING_NONE && h->is_home) {
        b.kind = BINDING_PREFERRED;
        node_set_add(&b.nodes, h->node);
    }
    return b;
}

const char *placement_mode_word(enum numa_mode mode) {
    switch (mode) {
    case NUMA_AUTO: return "auto";
    case NUMA_LOCAL: return "local";
    case NUMA_INTERLEAVE: return "interleave";
    case NUMA_OFF: return "off";
    case NUMA_NODES: return "nodes";
    }
    return "";
}

const char *placement_binding_word(const struct placement *p, enum binding_kind kind) {
    switch (kind) {
    case BINDING_NONE: return p->is_respected ? "task policy" : "first touch";
    case BINDING_PREFERRED: return "preferred";
    case BINDING_INTERLEAVE: return "interleaved";
    }
    return "";
}

const char *placement_word(const struct placement *p) {
    return placement_binding_word(p, p->homes[0].binding.kind);
}
