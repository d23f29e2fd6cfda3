/*
 * nearby.h - host memory next to the device that reads and writes it.
 *
 *     PCI address --sysfs--> node --placement--> binding --set_mempolicy--> pages of the calling thread
 *
 * A driver that pins memory asks the kernel for its pages while it is called. The kernel takes them from where the
 * policy of the calling thread has them, so this thread prefers the node for as long as the call takes. What a
 * driver takes in threads of its own is out of reach; and a thread that it starts meanwhile keeps the preference.
 *
 * A policy that the program or numactl has set for the thread holds. set_mempolicy(2), numa(7).
 */
#ifndef POOL_NEARBY_H
#define POOL_NEARBY_H

#include <stdatomic.h>

#include "pool/placement.h"

struct nearby {
    int node;          /* the kernel's number of the one next to the device; -1: not known */
    _Atomic int error; /* why memory did not come from there when it last mattered; 0: it did */
};

/* The node next to a device at a PCI address, as CUDA writes it: "0000:3B:00.0". -1: the address is none, or
 * nobody knows. `sysfs` is "/sys" but in tests. Async-signal-safe, preserves errno. */
int nearby_node(const char *sysfs, const char *pci_address);

/* The calling thread's new pages come from near the device until nearby_end, which is told what `was` before. False:
 * they do not. Without several nodes that is so at once; what the system refuses is tried once. Preserves errno. */
MUST_CHECK bool nearby_begin(struct nearby *n, const struct placement *p,
                             const struct topology_companion *companion, int *was);
void nearby_end(const struct topology_companion *companion, int was);

/* The words for where the memory lies, "preferred", or why not. */
const char *nearby_word(const struct nearby *n, const struct placement *p);

#endif
