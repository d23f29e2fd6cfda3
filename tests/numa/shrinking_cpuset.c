/*
 * shrinking_cpuset.c - a process is told, while it runs, that it may have the memory of fewer nodes.
 *
 *     shrinking_cpuset GROUP NODES
 *
 * GROUP is the folder of the cgroup (v2, with cpuset) that the process is in, NODES what remains. Threads on
 * all nodes go on as before: blocks that they ask for from then on are on the nodes that remain.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/numa/nodes.h"

enum {
    BLOCKS = 8
};

static struct node_list running;
static struct node_list wanted;
static struct block blocks[NODES_MAX][BLOCKS];
static size_t changed[NODES_MAX];

static void ask_and_touch(int i) {
    for (size_t n = 0; n < BLOCKS; n++) {
        if (blocks[i][n].address == NULL) {
            blocks[i][n] = block_of((n + 1) * MIB + n * 4321, ALL_PAGES);
            block_touch(&blocks[i][n]);
        }
    }
}

/* Some are idle when the group shrinks, some in use. */
static void free_some(int i) {
    for (int n = 0; n < BLOCKS; n += 2) {
        block_free(&blocks[i][n]);
    }
}

static void check(int i) {
    for (int n = 0; n < BLOCKS; n++) {
        changed[i] += block_changed_pages(&blocks[i][n]);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        give_up("usage: shrinking_cpuset GROUP NODES");
    }
    char path[200];
    (void)snprintf(path, sizeof path, "%s/cpuset.mems", argv[1]);
    wanted = node_list_of(argv[2]);
    running = nodes_to_run_on();
    wake_allocator();
    on_all_nodes(&running, running.count, ask_and_touch);
    on_all_nodes(&running, running.count, free_some);
    if (!file_write(path, argv[2])) {
        give_up(path);
    }
    on_all_nodes(&running, running.count, ask_and_touch);
    on_all_nodes(&running, running.count, check);
    struct placement p = {0};
    size_t lost = 0;
    for (int i = 0; i < running.count; i++) {
        lost += changed[i];
        for (int n = 0; n < BLOCKS; n += 2) {
            struct placement more = block_placement(&blocks[i][n], 1);
            placement_add(&p, &more);
        }
    }
    size_t others = p.pages;
    for (int i = 0; i < wanted.count; i++) {
        others -= p.on[wanted.ids[i]];
    }
    expect(p.pages > 0 && others == 0, "%zu of %zu pages are on nodes that are not allowed", others,
           p.pages);
    expect(lost == 0, "%zu pages lost what was written", lost);
    return verdict();
}
