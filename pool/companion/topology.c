/*
 * topology.c - libbigmalloc-topology.so: what hwloc and libnuma know, behind pool/topology.h.
 *
 *     libbigmalloc.so --dlopen--> libbigmalloc-topology.so --> libhwloc, libnuma --malloc--> libbigmalloc.so
 *
 * This folder is no part of the library proper, which needs libc alone: it is built where both
 * packages are, and is the one place that may include their headers.
 *
 * hwloc tells nodes, distances and kinds of memory; libnuma has the calls. Its own ideas of policies are
 * not used: they print what fails. The wrappers of the calls do nothing else.
 *
 * hwloc's own variables work: HWLOC_SYNTHETIC="node:4 pu:2" or HWLOC_XMLFILE=machine.xml gives
 * another machine, of which it says what is allowed. hwloc reads them once in a process.
 */
#include "pool/topology.h"

#include "pool/text_file.h"

#include <assert.h>
#include <errno.h>
#include <hwloc.h>
#include <numaif.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <unistd.h>

/* The calls take sets as arrays of unsigned long, and of one bit less than their argument maxnode. */
static_assert(sizeof(unsigned long) == sizeof(uint64_t),
              "a word of a node_set is one of the kernel's");

enum {
    MAXNODE = NODE_IDS + 1,
    WEIGHTED_INTERLEAVE = 6 /* MPOL_WEIGHTED_INTERLEAVE, which libnuma's header may not have yet */
};

static bool is_empty(const struct node_set *s) {
    static const struct node_set empty;
    return memcmp(s, &empty, sizeof empty) == 0;
}

/* ---- hwloc without words ---- */

/* The environment with one variable more; NULL: no memory. */
static char **environment_with(char **old, char *variable) {
    size_t count = 0;
    while (old != NULL && old[count] != NULL) {
        count++;
    }
    char **new = malloc((count + 2) * sizeof *new);
    if (new != NULL) {
        if (count != 0) {
            memcpy(new, old, count * sizeof *new);
        }
        new[count] = variable;
        new[count + 1] = NULL;
    }
    return new;
}

/* The machine's nodes and processors, those of other cpusets too. NULL: hwloc cannot tell. */
static hwloc_topology_t load_aloud(void) {
    hwloc_topology_t topology = NULL;
    if (hwloc_topology_init(&topology) != 0) {
        return NULL;
    }
    /* Who asks the processors what they are must run on each: in a thread of the program's. */
    (void)hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
    (void)hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
    if (hwloc_topology_load(topology) != 0) {
        hwloc_topology_destroy(topology);
        return NULL;
    }
    return topology;
}

/*
 * hwloc tells stderr of plugins that do not load and of tables of the firmware that it doubts, and only
 * a variable stops it. The program's environment has that while hwloc loads, behind a variable of the
 * same name that the user may have set; and only while no other thread is there to read it or, worse,
 * to change it, which would be lost. With threads there may be a line on stderr, once.
 */
static hwloc_topology_t load(void) {
    static char silence[] = "HWLOC_HIDE_ERRORS=2";
    char **own = environ;
    char **silenced = __libc_single_threaded ? environment_with(own, silence) : NULL;
    if (silenced != NULL) {
        environ = silenced;
    }
    hwloc_topology_t topology = load_aloud();
    if (environ == silenced) { /* a plugin may have set a variable, and so moved all */
        environ = own;
    }
    free(silenced);
    return topology;
}

/* ---- nodes ---- */

/* What hwloc calls them; it knows them from the firmware's tables and the drivers. */
static const struct {
    const char *name;
    enum memory_kind kind;
} kinds[] = {
    {"MCDRAM", MEMORY_HIGH_BANDWIDTH},
    {"HBM", MEMORY_HIGH_BANDWIDTH},
    {"NVM", MEMORY_FAR},
    {"SPM", MEMORY_FAR}, /* for special purposes, and no faster than the rest, or it were HBM */
    {"CXL-DRAM", MEMORY_FAR},
    {"CXL-HBM", MEMORY_FAR},
    {"CXL-SPM", MEMORY_FAR},
    {"CXL-NVM", MEMORY_FAR},
    {"CXL-GPUMemory", MEMORY_DEVICE},
    {"GPUMemory", MEMORY_DEVICE}};

static enum memory_kind kind_of(const char *subtype) {
    for (size_t i = 0; subtype != NULL && i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(subtype, kinds[i].name) == 0) {
            return kinds[i].kind;
        }
    }
    return MEMORY_DRAM;
}

/* The node that a processor belongs to in hwloc's eyes: of the memory around it the closest, and of
 * several that are equally close the first. */
static unsigned node_of(hwloc_obj_t processor) {
    hwloc_obj_t around = processor;
    while (around->memory_first_child == NULL && around->parent != NULL) {
        around = around->parent;
    }
    hwloc_obj_t memory = around->memory_first_child;
    while (memory != NULL && memory->type != HWLOC_OBJ_NUMANODE) { /* behind a cache of its own */
        memory = memory->memory_first_child;
    }
    return memory != NULL ? memory->os_index : NODE_IDS;
}

/* Nodes with processors. hwloc counts a node that has none among those whose processors it is close to,
 * so the kernel's word goes first. */
static struct node_set nodes_with_cpus(hwloc_topology_t topology) {
    char text[4 * KIB];
    struct node_set set = {0};
    if (hwloc_topology_is_thissystem(topology) != 0 &&
        text_file_read("/sys/devices/system/node/has_cpu", text, sizeof text) &&
        node_set_parse(&set, text)) {
        return set;
    }
    hwloc_obj_t processor = NULL;
    while ((processor = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, processor)) != NULL) {
        unsigned id = node_of(processor);
        if (id < NODE_IDS) {
            node_set_add(&set, id);
        }
    }
    return set;
}

/* What the kernel grants this task. libnuma reads the same line, but only once, when it is loaded, and
 * get_mempolicy(2) tells the same, but not in a sandbox. */
static bool read_nodes_of_task(struct node_set *s) {
    static const char name[] = "\nMems_allowed_list:\t";
    char text[16 * KIB]; /* it has a mask of all processors, too */
    if (!text_file_read("/proc/self/status", text, sizeof text)) {
        return false;
    }
    char *line = strstr(text, name);
    if (line == NULL) {
        return false;
    }
    line += sizeof name - 1;
    line[strcspn(line, "\n")] = '\0';
    return node_set_parse(s, line);
}

/* The nodes whose memory the process may have. Without /proc it is as hwloc found in the files of the
 * cpuset, which a container may show in part. */
static struct node_set nodes_allowed(hwloc_topology_t topology) {
    struct node_set set = {0};
    if (hwloc_topology_is_thissystem(topology) != 0 && read_nodes_of_task(&set)) {
        return set;
    }
    hwloc_const_nodeset_t allowed = hwloc_topology_get_allowed_nodeset(topology);
    for (unsigned id = 0; id < NODE_IDS; id++) {
        if (hwloc_bitmap_isset(allowed, id) != 0) {
            node_set_add(&set, id);
        }
    }
    return set;
}

/* Fills in all but their order. */
static void find_nodes(struct topology *t, hwloc_topology_t topology) {
    struct node_set with_cpus = nodes_with_cpus(topology);
    struct node_set allowed = nodes_allowed(topology);
    hwloc_const_cpuset_t own_cpus = hwloc_topology_get_allowed_cpuset(topology);
    for (unsigned id = 0; id < NODE_IDS && t->count < TOPOLOGY_NODES; id++) {
        hwloc_obj_t node = hwloc_get_numanode_obj_by_os_index(topology, id);
        if (node == NULL) {
            continue;
        }
        t->nodes[t->count++] =
            (struct node){.id = id,
                          .kind = kind_of(node->subtype),
                          .bytes = node->attr->numanode.local_memory,
                          .has_cpus = node_set_has(&with_cpus, id) &&
                                      hwloc_bitmap_intersects(node->cpuset, own_cpus) != 0,
                          .is_allowed = node_set_has(&allowed, id)};
    }
}

/* ---- distances ---- */

/* The matrix of latencies that the firmware claims (SLIT; ACPI, 5.2.17); NULL: there is none. The
 * measured ones (HMAT) are no help: the kernel tells those of a node's nearest processors alone. */
static struct hwloc_distances_s *find_distances(hwloc_topology_t topology) {
    struct hwloc_distances_s *distances = NULL;
    unsigned count = 1;
    int status = hwloc_distances_get_by_type(topology, HWLOC_OBJ_NUMANODE, &count, &distances,
                                             HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0);
    return status == 0 && count > 0 ? distances : NULL;
}

/* Where a node stands in the matrix; its size: nowhere. */
static unsigned column_of(const struct hwloc_distances_s *d, unsigned id) {
    unsigned column = 0;
    while (column < d->nbobjs && (d->objs[column] == NULL || d->objs[column]->os_index != id)) {
        column++;
    }
    return column;
}

/* From one node to all; what is not in the matrix is as far as can be. */
static void measure(uint64_t distances[TOPOLOGY_NODES], const struct topology *t, unsigned from,
                    const struct hwloc_distances_s *d) {
    unsigned row = column_of(d, t->nodes[from].id);
    for (unsigned i = 0; i < t->count; i++) {
        unsigned column = column_of(d, t->nodes[i].id);
        bool is_known = row < d->nbobjs && column < d->nbobjs;
        distances[i] = is_known ? d->values[(size_t)row * d->nbobjs + column] : UINT64_MAX;
    }
}

static void order_nodes(struct topology *t, hwloc_topology_t topology) {
    struct hwloc_distances_s *matrix = find_distances(topology);
    for (unsigned i = 0; i < t->count; i++) {
        uint64_t distances[TOPOLOGY_NODES] = {0};
        if (matrix != NULL) {
            measure(distances, t, i, matrix);
        }
        topology_order(t, i, distances);
    }
    if (matrix != NULL) {
        hwloc_distances_release(topology, matrix);
    }
}

static bool discover(struct topology *t) {
    hwloc_topology_t topology = load();
    if (topology == NULL) {
        return false;
    }
    struct topology found = {0};
    find_nodes(&found, topology);
    order_nodes(&found, topology);
    hwloc_topology_destroy(topology);
    if (found.count == 0) {
        return false;
    }
    *t = found;
    return true;
}

/* ---- the calls ---- */

/* *mode is for set_mempolicy, which takes it without nodes where the task has no policy of its own: before
 * Linux 5.14 local allocation was to prefer no node. */
static enum task_policy policy_of_task(int *mode) {
    struct node_set nodes = {0};
    if (get_mempolicy(mode, nodes.words, MAXNODE, NULL, 0) != 0) {
        return TASK_POLICY_UNKNOWN;
    }
    bool is_local = *mode == MPOL_DEFAULT || *mode == MPOL_LOCAL ||
                    (*mode == MPOL_PREFERRED && is_empty(&nodes));
    return is_local ? TASK_POLICY_NONE : TASK_POLICY_OTHER;
}

static enum task_policy task_policy(void) {
    int mode = MPOL_DEFAULT;
    return policy_of_task(&mode);
}

static int prefer(const struct binding *binding, int *was) {
    int mode = MPOL_DEFAULT;
    enum task_policy policy = policy_of_task(&mode);
    if (policy != TASK_POLICY_NONE) {
        return policy == TASK_POLICY_OTHER ? EEXIST : errno;
    }
    int wanted = binding->kind == BINDING_INTERLEAVE ? MPOL_INTERLEAVE : MPOL_PREFERRED;
    if (set_mempolicy(wanted, binding->nodes.words, MAXNODE) != 0) {
        return errno;
    }
    *was = mode;
    return 0;
}

static void prefer_as_before(int was) {
    (void)set_mempolicy(was, NULL, 0);
}

static int bind_as(void *address, size_t bytes, int mode, const struct node_set *nodes) {
    return mbind(address, bytes, mode, nodes->words, MAXNODE, 0) == 0 ? 0 : errno;
}

/* By the weights of the nodes, which Linux 6.9 has. What it does not know is EINVAL, as is much else:
 * it is the mode's fault where the older mode is taken. */
static int interleave(void *address, size_t bytes, const struct node_set *nodes) {
    static atomic_bool has_no_weights;
    if (!atomic_load_explicit(&has_no_weights, memory_order_relaxed)) {
        int error = bind_as(address, bytes, WEIGHTED_INTERLEAVE, nodes);
        if (error != EINVAL) {
            return error;
        }
    }
    int error = bind_as(address, bytes, MPOL_INTERLEAVE, nodes);
    if (error == 0) {
        atomic_store_explicit(&has_no_weights, true, memory_order_relaxed);
    }
    return error;
}

static int bind_pages(void *address, size_t bytes, const struct binding *binding) {
    static const struct node_set nowhere;
    switch (binding->kind) {
    case BINDING_NONE: return bind_as(address, bytes, MPOL_DEFAULT, &nowhere);
    case BINDING_PREFERRED: return bind_as(address, bytes, MPOL_PREFERRED, &binding->nodes);
    case BINDING_INTERLEAVE: return interleave(address, bytes, &binding->nodes);
    }
    return EINVAL;
}

/* The call leaves the array of pages alone; only its declaration does not say so. */
static int locate(size_t count, void *const *pages, int *nodes) {
    void **unchanged = NULL;
    memcpy(&unchanged, &pages, sizeof unchanged);
    return move_pages(0, count, unchanged, NULL, nodes, 0) == 0 ? 0 : errno;
}

/* ---- ---- */

extern const struct topology_companion bigmalloc_topology_companion;
__attribute__((visibility("default")))
const struct topology_companion bigmalloc_topology_companion = {.version = TOPOLOGY_VERSION,
                                                                .discover = discover,
                                                                .task_policy = task_policy,
                                                                .bind = bind_pages,
                                                                .locate = locate,
                                                                .prefer = prefer,
                                                                .prefer_as_before =
                                                                    prefer_as_before};
