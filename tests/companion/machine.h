/*
 * machine.h - a machine for the companion to tell of, and the companion itself.
 *
 * TEST_COMPANION names the library, TEST_LIBRARIES the folder of what else is built from the sources
 * here; tests/run sets both. hwloc reads its variables once in a process,
 * and every test is one.
 */
#ifndef TESTS_COMPANION_MACHINE_H
#define TESTS_COMPANION_MACHINE_H

#include "pool/topology.h"

/*
 * In HWLOC_XMLFILE, all that a synthetic machine cannot have. Distances are known among nodes 0, 1, 2
 * and 6; package 2 is outside the cpuset; PCI device 00:1f is near no node.
 *
 *     package 0: node 0, node 6 (HBM)                          CPU 0     PCI 41:00
 *     package 1: node 1                                        CPU 1     PCI 81:00
 *     package 2: node 2                                        CPU 2
 *     machine:   node 5 (CXL), node 7 (a GPU's), node 9 (NVM)            PCI 00:1f
 */
#define MACHINE "tests/companion/machine.xml"

/* The companion, loaded as the library does it. Fails the test if it cannot be. */
const struct topology_companion *companion(void);

/* What it discovers where the environment's `variable` is `value`. Fails the test if it is nothing. */
struct topology discovered(const char *variable, const char *value);

/* As many characters as the topology has nodes, then the end: '+' where the node is so. */
const char *nodes_with_cpus(const struct topology *t);
const char *nodes_allowed(const struct topology *t);

/* The ids of the nodes, and of those nearest to node i, between blanks. */
const char *ids_of(const struct topology *t);
const char *ids_near(const struct topology *t, unsigned i);

/* What stands on stderr after `action`. */
const char *words_of(void (*action)(void));

#endif
