/*
 * first_touch.c - fresh blocks, asked for by one thread and written by threads on all nodes, a part each.
 *
 *     first_touch huge|small
 *
 * Prints for each block which nodes its pages are on, in runs of "node x pages": to be compared between
 * allocators. Blocks begin on 2 MiB, whatever the allocator; so do the parts with "huge". With "small" the
 * process has no huge pages, and the parts begin on any page.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "tests/numa/nodes.h"

enum {
    BLOCKS = 6
};

static struct node_list nodes;
static struct block blocks[BLOCKS];
static size_t part_unit;

/* Of n units each node gets as many, but for the last one, which gets the rest. */
static void touch_part(int i) {
    for (int n = 0; n < BLOCKS; n++) {
        size_t part = blocks[n].bytes / part_unit / (size_t)nodes.count * part_unit;
        size_t begin = (size_t)i * part;
        bool is_last = i == nodes.count - 1;
        struct block b = {.address = blocks[n].address + begin,
                          .bytes = is_last ? blocks[n].bytes - begin : part,
                          .step = ALL_PAGES};
        block_touch(&b);
    }
}

static void print_runs(const struct block *b) {
    int last = NOWHERE;
    size_t run = 0;
    for (size_t offset = 0; offset < b->bytes; offset += PAGE) {
        void *page = b->address + offset;
        int node = NOWHERE;
        if (!nodes_by_move_pages(1, &page, &node) && !nodes_by_pagemap(1, &page, &node)) {
            give_up("nobody tells where pages lie");
        }
        if (node != last && run > 0) {
            (void)printf("%d x %zu, ", last, run);
            run = 0;
        }
        last = node;
        run++;
    }
    (void)printf("%d x %zu\n", last, run);
}

static struct block aligned_block(size_t bytes) {
    struct block b = {.bytes = bytes, .step = ALL_PAGES};
    if (posix_memalign((void **)&b.address, HUGE_PAGE, bytes) != 0) {
        give_up("posix_memalign");
    }
    return b;
}

int main(int argc, char **argv) {
    bool small = argc == 2 && strcmp(argv[1], "small") == 0;
    if (!small && (argc != 2 || strcmp(argv[1], "huge") != 0)) {
        give_up("usage: first_touch huge|small");
    }
    if (small && prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0) {
        give_up("prctl");
    }
    nodes = nodes_to_run_on();
    part_unit = small ? PAGE : HUGE_PAGE;
    for (size_t n = 0; n < BLOCKS; n++) {
        blocks[n] = aligned_block(small ? 3 * MIB + n * 333 * PAGE : (5 + 3 * n) * HUGE_PAGE);
    }
    on_all_nodes(&nodes, nodes.count, touch_part);
    for (size_t n = 0; n < BLOCKS; n++) {
        print_runs(&blocks[n]);
    }
    return EXIT_SUCCESS;
}
