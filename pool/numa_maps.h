/*
 * numa_maps.h - lines of /proc/PID/numa_maps: how many pages of a mapping lie on which node.
 *
 *     7f5400000000 prefer:1 anon=1024 dirty=1024 active=0 N0=512 N1=512 kernelpagesize_kB=4
 *
 * See numa(7). Pure; the text may be anything.
 */
#ifndef POOL_NUMA_MAPS_H
#define POOL_NUMA_MAPS_H

#include "pool/topology.h"

struct numa_mapping {
    uintptr_t start;
    unsigned count; /* of nodes that have pages of it */
    unsigned ids[TOPOLOGY_NODES];
    size_t bytes[TOPOLOGY_NODES];
};

/* False: the line is none of these. Nodes beyond TOPOLOGY_NODES are left out. */
MUST_CHECK bool numa_maps_parse(struct numa_mapping *m, const char *line);

#endif
