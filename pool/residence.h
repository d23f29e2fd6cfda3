/*
 * residence.h - on which nodes the bytes of blocks really are: measured, not supposed.
 *
  * The kernel is asked page by page (move_pages(2) without a target), of no more than a certain number
 * of pages, spread evenly over all blocks; up to 256 MiB that is every one. Where it refuses, as in an
 * ordinary container, or does not see the pages whose users it watches (NUMA balancing, which leaves memory
 * with a policy alone), /proc/self/numa_maps tells of mappings: what several blocks share is divided
 * among them by what they hold.

 *
 * Async-signal-safe, thread-safe; errno may change. Blocks come and go meanwhile: the figures are of about one
 * instant.
 */
#ifndef POOL_RESIDENCE_H
#define POOL_RESIDENCE_H

#include "pool/host.h"

struct node_bytes {
    unsigned id; /* the kernel's number */
    size_t live;
    size_t idle;
};

struct residence {
    const char *measured_by; /* "move_pages", "numa_maps"; "nothing": refused, or no node matters */
    size_t local_bytes;      /* of blocks that have a home, there */
    size_t misplaced_bytes;  /* and elsewhere */
    unsigned count;
    struct node_bytes nodes[TOPOLOGY_NODES]; /* ascending */
};

void residence_measure(struct residence *r, const struct host *h);

#endif
