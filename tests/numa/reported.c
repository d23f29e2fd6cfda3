/*
 * reported.c - prints what the kernel says of its memory, for comparison with what the library says.
 *
 *     reported [balanced]
 *
 * Threads on all nodes have live and idle blocks, more on higher nodes, some of them half written, and the
 * process ends while they are so. A line "# kernel NODE BYTES" for each node tells what mappings have there
 * that begin between the lowest and the highest address of all blocks that there were.
 *
 * With "balanced" it first waits until the kernel's NUMA balancing has marked pages, to learn who uses them.
 * They are resident as before, and numa_maps counts them, but move_pages(2) does not find them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/numa/nodes.h"

enum {
    BLOCKS = 8
};

static struct node_list nodes;
static struct block asked[NODES_MAX + 1]
                         [BLOCKS]; /* also those that were freed; the last ones by main */

static void leave_blocks(int i) {
    struct block *own = asked[i];
    for (size_t n = 0; n < BLOCKS; n++) {
        own[n] = block_of((n + 2 + 2 * (size_t)i) * MIB, ALL_PAGES);
        struct block written = own[n];
        written.bytes /= n % 4 == 3 ? 2 : 1;
        block_touch(&written);
    }
    for (int n = 0; n < BLOCKS; n += 3) {
        free(own[n].address);
    }
}

/* From the first to the last address. */
struct range {
    uintptr_t low;
    uintptr_t high;
};

static void range_add(struct range *r, const struct block *b) {
    uintptr_t address = (uintptr_t)b->address;
    r->low = address < r->low ? address : r->low;
    r->high = address + b->bytes > r->high ? address + b->bytes : r->high;
}

static struct placement placement_of_all(void) {
    struct range r = {.low = UINTPTR_MAX};
    for (int i = 0; i <= NODES_MAX; i++) {
        for (int n = 0; n < BLOCKS && asked[i][n].address != NULL; n++) {
            range_add(&r, &asked[i][n]);
        }
    }
    return anonymous_placement(r.low, r.high);
}

static double cpu_seconds(void) {
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Work makes the kernel look, after a second; sleep does not. */
static bool is_marked(const struct block *b, double seconds_max) {
    int node = 0;
    void *page = b->address;
    for (double end = cpu_seconds() + seconds_max; node != NOWHERE && cpu_seconds() < end;) {
        if (!nodes_by_move_pages(1, &page, &node)) {
            give_up("move_pages");
        }
    }
    return node == NOWHERE;
}

static void wait_for_balancing(void) {
    const struct block *b = &asked[NODES_MAX][0];
    expect(is_marked(b, 20), "balancing marks pages");
    struct placement found = block_placement(b, 1);
    void *page = b->address;
    int node = NOWHERE;
    bool is_read = nodes_by_pagemap(1, &page, &node);
    expect(is_read && node != NOWHERE, "of %zu resident pages of a block move_pages finds %zu",
           b->bytes / PAGE, found.pages);
}

int main(int argc, char **argv) {
    bool is_balanced = argc == 2 && strcmp(argv[1], "balanced") == 0;
    nodes = nodes_to_run_on();
    asked[NODES_MAX][0] = block_of(4 * MIB, ALL_PAGES);
    block_touch(&asked[NODES_MAX][0]);
    on_all_nodes(&nodes, nodes.count, leave_blocks);
    if (is_balanced) {
        wait_for_balancing();
    }
    struct placement p = placement_of_all();
    for (int node = 0; node < NODES_MAX; node++) {
        if (p.on[node] > 0) {
            (void)printf("# kernel %d %zu\n", node, p.on[node] * PAGE);
        }
    }
    expect(p.pages > 0, "the kernel knows of %zu pages", p.pages);
    return verdict();
}
