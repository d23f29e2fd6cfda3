/*
 * placement.h - on which NUMA node a block's memory is to lie. A pure function of what the machine has,
 * what the user wants and what the task was given.
 *
 *     processor's node -> pool_of -> pool, whose memory is bound to its node, or lies where it is
 *                                    touched first
 *
 *     auto         a pool for each node. Memory lies where it is touched first, as without us, but what is
 *                  idle is handed out to threads of the node that it came from
 *     local        the same, and new memory is bound to the node of the thread that asks
 *     nodes:0,2    the same, with the nearest of those
 *     interleave   one pool, whose pages lie on all nodes by turns
 *     off          one pool, and no node is asked for
 *
 * Threads that stay on one node have one pool in either of the first two: no look at affinities is needed,
 * which may change. Where the task has a policy of its own (numactl) that decides, and there is one pool.
 * set_mempolicy(2), mbind(2), numa(7).
 */
#ifndef POOL_PLACEMENT_H
#define POOL_PLACEMENT_H

#include "pool/topology.h"

enum numa_mode {
    NUMA_AUTO,
    NUMA_LOCAL,
    NUMA_INTERLEAVE,
    NUMA_OFF,
    NUMA_NODES
};

struct numa_choice {
    enum numa_mode mode;
    struct node_set nodes; /* NUMA_NODES */
};

/* A pool's node and its memory. */
struct home {
    unsigned node; /* the kernel's number */
    bool is_home;  /* the pool's memory belongs there */
    struct binding binding;
    uint8_t nearest[TOPOLOGY_NODES]; /* all pools by distance, itself first */
};

struct placement {
    unsigned pools;
    struct home homes[TOPOLOGY_NODES]; /* so many as there are pools */
    uint8_t pool_of[NODE_IDS];         /* the pool for threads on that node */
    enum numa_mode mode;               /* as chosen */
    bool has_nodes;    /* there are several, and it matters on which one memory lies */
    bool is_respected; /* the task's own policy holds */
    const char *note;  /* why it is not as chosen; "" */
};

/* What is known when the pools open. */
struct placement_facts {
    const struct topology *topology; /* NULL: one node, or nothing is known */
    enum task_policy task;
    bool can_bind;          /* there is a companion */
    const char *why_cannot; /* if not; static */
};

/* The note, if any, is why_cannot or a literal. */
void placement_plan(struct placement *p, const struct numa_choice *choice,
                    const struct placement_facts *facts);

/* Where memory should lie that a device next to that node uses, and that whoever asks for it touches for it: with
 * the memory of threads there; or, where those would touch it first themselves, on their node. BINDING_NONE:
 * that does not matter. Pure. */
struct binding placement_near(const struct placement *p, unsigned node);

/* The words for what was chosen, and for what happens to new memory. */
const char *placement_mode_word(enum numa_mode mode);
const char *placement_word(const struct placement *p);

/* The latter for memory that is bound so. */
const char *placement_binding_word(const struct placement *p, enum binding_kind kind);

#endif
