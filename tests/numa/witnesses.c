/*
 * witnesses.c - do move_pages(2), /proc/self/pagemap and /proc/self/numa_maps say the same of pages that
 * threads of all nodes write? They judge all that the other programs of this directory find.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/numa/nodes.h"

/* The last third is not written. Runs of pages are, so that this is not what interleaving would do. */
enum {
    PAGES = 600,
    WRITTEN = 400,
    RUN = 5
};

static struct node_list nodes;
static char *memory;
static void *pages[PAGES];

static int wanted_node(int n) {
    return n < WRITTEN ? nodes.ids[n / RUN % nodes.count] : NOWHERE;
}

static void write_some(int i) {
    for (int n = 0; n < WRITTEN; n++) {
        if (wanted_node(n) == nodes.ids[i]) {
            *(volatile char *)pages[n] = 1;
        }
    }
}

static int wrong(const int *said) {
    int count = 0;
    for (int n = 0; n < PAGES; n++) {
        count += said[n] != wanted_node(n);
    }
    return count;
}

int main(void) {
    nodes = nodes_to_run_on();
    memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || madvise(memory, PAGES * PAGE, MADV_NOHUGEPAGE) != 0) {
        give_up("mmap");
    }
    for (int n = 0; n < PAGES; n++) {
        pages[n] = memory + (size_t)n * PAGE;
    }
    struct placement before = anonymous_placement(0, UINTPTR_MAX);
    on_all_nodes(&nodes, nodes.count, write_some);
    struct placement after = anonymous_placement(0, UINTPTR_MAX);
    int said[PAGES];
    bool is_told = nodes_by_move_pages(PAGES, pages, said);
    expect(is_told && wrong(said) == 0, "move_pages tells the node of every page");
    is_told = nodes_by_pagemap(PAGES, pages, said);
    expect(is_told && wrong(said) == 0, "pagemap tells the node of every page");
    for (int i = 0; i < nodes.count; i++) {
        size_t more = after.on[nodes.ids[i]] - before.on[nodes.ids[i]];
        size_t wanted = WRITTEN / (size_t)nodes.count;
        expect(more >= wanted && more < wanted + 50, "numa_maps has %zu pages more on node %d",
               more, nodes.ids[i]);
    }
    return verdict();
}
