/*
 * fake_nodes.h - a machine with several NUMA nodes, and a companion that writes down what it is asked.
 *
 * Its nodes stand in a row, each with processors: 0, 1, 2 ... The further their numbers are apart, the
 * further are the nodes; of two at the same distance the lower is the nearer. The processor that a thread
 * runs on is on inject.node (see inject.h).
 */
#ifndef TESTS_POOL_FAKE_NODES_H
#define TESTS_POOL_FAKE_NODES_H

#include "pool/placement.h"

struct fake_nodes {
    int bind_error;     /* what bind answers */
    size_t bind_calls;  /* so far */
    char *bound;        /* by the last of them: what, ... */
    size_t bound_bytes; /* how much, ... */
    struct binding binding;
    int locate_error; /* what locate answers */
    int prefer_error; /* what prefer answers */
    size_t prefer_calls;
    bool is_preferred; /* the binding, and not as before */
    size_t located;    /* pages that it was asked for */
    /* The node of a page, or a negative error's number. NULL: all are on node 0. */
    int (*node_of)(const void *page);
};

extern struct fake_nodes fake_nodes;
extern const struct topology_companion fake_companion;

/* The plan for that mode on a machine with so many nodes. */
void fake_nodes_plan(struct placement *p, enum numa_mode mode, unsigned nodes);

#endif
