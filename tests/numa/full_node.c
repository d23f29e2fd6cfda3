/*
 * full_node.c - a thread on a small node asks for half more than the node has.
 *
 *     full_node NODE NEXT
 *
 * All of it has to be there, what the node has no room for on NEXT, the node that is nearest.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/numa/nodes.h"

enum {
    BLOCKS_MAX = 200
};
static const size_t BLOCK_BYTES = 8 * MIB;

static struct block blocks[BLOCKS_MAX];
static size_t count;

static void fill(void *argument) {
    (void)argument;
    for (size_t i = 0; i < count; i++) {
        blocks[i] = block_of(BLOCK_BYTES, ALL_PAGES);
        block_touch(&blocks[i]);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        give_up("usage: full_node NODE NEXT");
    }
    int node = atoi(argv[1]);
    int next = atoi(argv[2]);
    count = node_bytes(node, "MemTotal:") * 3 / 2 / BLOCK_BYTES;
    if (count == 0 || count > BLOCKS_MAX) {
        give_up("the node is too large");
    }
    size_t room = node_bytes(node, "MemFree:") / PAGE;
    on_node(node, fill, NULL);
    struct placement all = {0};
    size_t changed = 0;
    for (size_t i = 0; i < count; i++) {
        struct placement p = block_placement(&blocks[i], 1);
        placement_add(&all, &p);
        changed += block_changed_pages(&blocks[i]);
    }
    size_t others = placement_elsewhere(&all, node) - all.on[next];
    expect(all.pages == count * BLOCK_BYTES / PAGE && changed == 0,
           "%zu MiB are there and keep what was written", count * BLOCK_BYTES / MIB);
    expect(all.on[node] > room * 3 / 4, "%zu of %zu free pages of node %d are used", all.on[node],
           room, node);
    expect(all.on[next] > 0 && others < all.pages / 100,
           "%zu pages are on node %d, the next one, and %zu on none of the two", all.on[next], next,
           others);
    return verdict();
}
