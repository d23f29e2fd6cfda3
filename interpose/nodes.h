/*
 * nodes.h - what the pools are told of this machine's NUMA nodes.
 */
#ifndef INTERPOSE_NODES_H
#define INTERPOSE_NODES_H

#include "pool/placement.h"

/*
 * Plans where memory is to lie as the user has chosen. The companion that can bind it there; NULL: nobody
 * has to, or there is none. Once, while the library passes requests through, as the companion's libraries
 * allocate; without a lock of ours, as the loader takes its own.
 */
const struct topology_companion *nodes_plan(struct placement *p, const struct numa_choice *choice);

#endif
