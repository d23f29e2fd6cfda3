/* A companion of another version, of which nothing is known but its version. */
#include "pool/topology.h"

extern const struct topology_companion bigmalloc_topology_companion;
const struct topology_companion bigmalloc_topology_companion = {.version = TOPOLOGY_VERSION + 1};
