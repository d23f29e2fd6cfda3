/*
 * pinned_memory.c - where pinned memory of CUDA devices lies.
 *
 *     pinned_memory NODE... [own]
 *
 * Threads of all nodes pin memory for each device, whose pages have to be on the NODE of that number: "-" is the
 * one of the thread that asks. The policies of these threads are afterwards what they were before. With "own" these
 * prefer the first node, and that has to hold.
 *
 * The driver is the stand-in one, libcuda.so.1 in the loader's path, which writes on the pages itself.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cuda_hooks/cuda_abi.h"
#include "tests/numa/nodes.h"

enum {
    BLOCKS = 6
};

/* <linux/mempolicy.h> */
enum {
    POLICY_DEFAULT = 0,
    POLICY_PREFERRED = 1,
    POLICY_LOCAL = 4
};

static struct {
    CUresult (*init)(unsigned);
    CUresult (*retain)(CUcontext *, CUdevice);
    CUresult (*set_current)(CUcontext);
    CUresult (*host_alloc)(void **, size_t, unsigned);
} cuda;

static void find(void *library, const char *name, void *place) {
    void *function = dlsym(library, name);
    if (function == NULL) {
        give_up(name);
    }
    memcpy(place, &function, sizeof function);
}

static void open_driver(void) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == NULL) {
        give_up(dlerror());
    }
    find(library, "cuInit", &cuda.init);
    find(library, "cuDevicePrimaryCtxRetain", &cuda.retain);
    find(library, "cuCtxSetCurrent", &cuda.set_current);
    find(library, "cuMemHostAlloc", &cuda.host_alloc);
}

static void must(CUresult result, const char *what) {
    if (result != CUDA_SUCCESS) {
        give_up(what);
    }
}

static struct node_list nodes;
static int wanted[NODES_MAX]; /* by device; NOWHERE: that of the thread */
static int devices;
static bool has_own;

static struct {
    size_t pages;
    size_t elsewhere;
    int policies; /* that have changed */
} found[NODES_MAX];

static int policy_of_thread(unsigned long *set) {
    int mode = -1;
    unsigned long words[NODES_MAX] = {0};
    if (syscall(SYS_get_mempolicy, &mode, words, sizeof words * 8, NULL, 0) != 0) {
        return -1; /* a sandbox */
    }
    *set = words[0];
    return mode;
}

/* Every other thread without a policy asks for local allocation, which is what the default does. */
static int arrange_policy(int i, unsigned long *set) {
    unsigned long first = 1UL << nodes.ids[0];
    if (has_own) {
        (void)syscall(SYS_set_mempolicy, POLICY_PREFERRED, &first, sizeof first * 8);
    } else if (i % 2 == 1 && policy_of_thread(set) == POLICY_DEFAULT) {
        (void)syscall(SYS_set_mempolicy, POLICY_LOCAL, NULL, 0);
    }
    return policy_of_thread(set);
}

/* Blocks stay live: an idle one would serve the next thread, wherever it lies. */
static void pin(int i, int device) {
    CUcontext context = NULL;
    must(cuda.retain(&context, device), "cuDevicePrimaryCtxRetain");
    must(cuda.set_current(context), "cuCtxSetCurrent");
    for (size_t n = 0; n < BLOCKS; n++) {
        struct block b = {.bytes = (n + 1) * MIB + (n << 16), .step = SOME_PAGES};
        void *address = NULL;
        must(cuda.host_alloc(&address, b.bytes, 0), "cuMemHostAlloc");
        b.address = address;
        struct placement p = block_placement(&b, 1);
        found[i].pages += p.pages;
        found[i].elsewhere +=
            placement_elsewhere(&p, wanted[device] != NOWHERE ? wanted[device] : nodes.ids[i]);
    }
}

static void pin_for_all(int i) {
    unsigned long before = 0;
    unsigned long after = 0;
    int mode = arrange_policy(i, &before);
    for (int device = 0; device < devices; device++) {
        pin(i, device);
    }
    found[i].policies += policy_of_thread(&after) != mode || after != before;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        has_own = has_own || strcmp(argv[i], "own") == 0;
        if (strcmp(argv[i], "own") != 0) {
            wanted[devices++] = strcmp(argv[i], "-") == 0 ? NOWHERE : atoi(argv[i]);
        }
    }
    nodes = nodes_to_run_on();
    wake_allocator();
    open_driver();
    must(cuda.init(0), "cuInit");
    on_all_nodes(&nodes, nodes.count, pin_for_all);
    for (int i = 0; i < nodes.count; i++) {
        expect(found[i].pages > 0 && found[i].elsewhere == 0,
               "pinned from node %d: %zu of %zu pages are not where they belong", nodes.ids[i],
               found[i].elsewhere, found[i].pages);
        expect(found[i].policies == 0, "the policy of a thread on node %d is as before",
               nodes.ids[i]);
    }
    return verdict();
}
