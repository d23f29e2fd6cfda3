/*
 * topology.h - the NUMA nodes of this machine, as far as this process may use them.
 *
 *     /sys/devices/system/node/online  "0"    one node: nothing here is needed
 *                                      "0-3"  the companion, libbigmalloc-topology.so, tells more
 *
 * The companion is a library of its own, since hwloc and libnuma call malloc and are not installed
 * everywhere. Without it nodes are what getcpu(2) tells, and memory lies where it is first touched.
 */
#ifndef POOL_TOPOLOGY_H
#define POOL_TOPOLOGY_H

#include "pool/util.h"

enum {
    NODE_IDS =
        1024, /* the kernel's numbers of nodes: 0 to 1023 (CONFIG_NODES_SHIFT is 10 at most) */
    TOPOLOGY_NODES = 64 /* so many nodes are told apart */
};

/* A set of the kernel's numbers. */
struct node_set {
    uint64_t words[NODE_IDS / 64];
};

static inline bool node_set_has(const struct node_set *s, unsigned id) {
    return id < NODE_IDS && (s->words[id / 64] >> (id % 64) & 1) != 0;
}

static inline void node_set_add(struct node_set *s, unsigned id) {
    s->words[id / 64] |= (uint64_t)1 << (id % 64);
}

/* Reads a list as the kernel writes it, "0,2-3"; a newline may end it. False, and the set unchanged: it
 * is none, it is empty, or it names a number beyond NODE_IDS. "List format" in cpuset(7). Pure. */
MUST_CHECK bool node_set_parse(struct node_set *s, const char *text);

enum memory_kind {
    MEMORY_DRAM,
    MEMORY_HIGH_BANDWIDTH, /* HBM, MCDRAM */
    MEMORY_FAR,            /* CXL, NVDIMM */
    MEMORY_DEVICE          /* on a GPU, coherent */
};

struct node {
    unsigned id; /* the kernel's number */
    enum memory_kind kind;
    size_t bytes;    /* 0: not known */
    bool has_cpus;   /* that this process may see; threads run there */
    bool is_allowed; /* memory of it may be had: the cpuset has it */
    uint8_t
        nearest[TOPOLOGY_NODES]; /* all nodes by distance, as indices into nodes[]; itself first */
};

/* Nodes in ascending order of their ids; of more than TOPOLOGY_NODES the first ones. */
struct topology {
    unsigned count;
    struct node nodes[TOPOLOGY_NODES];
};

/* Writes nodes[from].nearest from the distances of all nodes to that one, in any unit. It comes first
 * whatever they say; and of nodes that are equally far the next in a circle, so that what does not fit
 * on a node of many equal ones does not fall on the same neighbour from everywhere. Pure. */
void topology_order(struct topology *t, unsigned from, const uint64_t distances[TOPOLOGY_NODES]);

/* Where memory is to lie. */
enum binding_kind {
    BINDING_NONE,      /* where it is first touched, or as the task's policy has it */
    BINDING_PREFERRED, /* on the one node of the set, while that has room: never strictly, as a program
                           would be killed on a full node while others are empty */
    BINDING_INTERLEAVE, /* on the nodes of the set by turns; by their weights where the kernel has any */
};

struct binding {
    enum binding_kind kind;
    struct node_set nodes;
};

/* What get_mempolicy(2) says of the calling thread. */
enum task_policy {
    TASK_POLICY_NONE,    /* the default, or local allocation, which is the same */
    TASK_POLICY_OTHER,   /* numactl or the program has set one */
    TASK_POLICY_UNKNOWN, /* refused: an ordinary container */
};

/*
 * What the companion offers, under this name. All functions are thread-safe and may change errno. They are
 * a system call or two, and async-signal-safe, but for discover, which calls malloc and reads files for a
 * millisecond, which makes it a cancellation point.
 */
#define TOPOLOGY_COMPANION "bigmalloc_topology_companion"

enum {
    TOPOLOGY_VERSION = 2
};

struct topology_companion {
    unsigned version; /* TOPOLOGY_VERSION of its build */

    /* False: nothing could be learnt, and t is unchanged. */
    bool (*discover)(struct topology *t);

    enum task_policy (*task_policy)(void);

    /* mbind(2) of whole pages, without moving what is there already. 0, or the error's number: EPERM
     * and ENOSYS in a sandbox, EINVAL where no node of the set is allowed. */
    int (*bind)(void *address, size_t bytes, const struct binding *binding);

    /* The node of each page, or a negative error's number: -ENOENT, and on older kernels -EFAULT, where
     * no page is. 0, or the error's number. move_pages(2). */
    int (*locate)(size_t count, void *const *pages, int *nodes);

    /* What the calling thread touches first, or the kernel for it, lies as bound, which is not BINDING_NONE, and
     * as before again: *was is for prefer_as_before. 0, or the error's number: as of bind, and EEXIST where
     * the thread has a policy of its own, which stays. set_mempolicy(2). */
    int (*prefer)(const struct binding *binding, int *was);
    void (*prefer_as_before)(int was);
};

/* What is known without a companion: the online nodes' numbers, each with processors and memory for all,
 * and none nearer than another but itself. `online` is the text of the file named above. False, and t
 * unchanged: it makes no sense, or there is but one. Pure. */
MUST_CHECK bool topology_plain(struct topology *t, const char *online);

#endif
