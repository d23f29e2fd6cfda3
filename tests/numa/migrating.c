/*
 * migrating.c - a thread that moves from node to node between its requests.
 *
 *     migrating OPERATIONS
 *
 * A block goes back to the node that it is from, wherever it is freed, and is not handed out on another
 * one: the thread that frees it far from home gets a block of the node on which it is then.
 */
#include <stdlib.h>

#include "tests/numa/nodes.h"

enum {
    SLOTS = 16
};

static const size_t BLOCK_BYTES = 5 * MIB;

static struct block touched_block(size_t bytes) {
    struct block b = block_of(bytes, SOME_PAGES);
    block_touch(&b);
    return b;
}

static void expect_on(const struct block *b, int node, const char *what) {
    struct placement p = block_placement(b, 1);
    size_t elsewhere = placement_elsewhere(&p, node);
    expect(p.pages > 0 && elsewhere == 0, "%s: %zu of %zu pages are not on node %d", what,
           elsewhere, p.pages, node);
}

/* From home to away and back. */
static void return_home(int home, int away) {
    stay_on_node(home);
    struct block b = touched_block(BLOCK_BYTES);
    stay_on_node(away);
    block_free(&b);
    b = touched_block(BLOCK_BYTES);
    expect_on(&b, away, "after moving, a block of the same size");
    stay_on_node(home);
    struct block back = touched_block(BLOCK_BYTES);
    expect_on(&back, home, "back again, a block of the same size");
    block_free(&b);
    block_free(&back);
}

/* The first write is where the thread is: the pages follow it, or its first request. */
static void wander(const struct node_list *nodes, size_t operations) {
    struct block slots[SLOTS] = {{0}};
    uint64_t state = 1;
    size_t changed = 0;
    size_t elsewhere = 0;
    for (size_t n = 0; n < operations; n++) {
        int node = nodes->ids[chance(&state, (size_t)nodes->count)];
        stay_on_node(node);
        struct block *b = &slots[chance(&state, SLOTS)];
        if (b->address != NULL) {
            changed += block_changed_pages(b);
            block_free(b);
        }
        *b = touched_block(MIB + chance(&state, 4 * MIB));
        struct placement p = block_placement(b, 4);
        elsewhere += placement_elsewhere(&p, node);
    }
    for (int i = 0; i < SLOTS; i++) {
        block_free(&slots[i]);
    }
    expect(changed == 0, "%zu pages were written by somebody else", changed);
    expect(elsewhere == 0, "%zu pages were not on the node of their request", elsewhere);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        give_up("usage: migrating OPERATIONS");
    }
    struct node_list nodes = nodes_to_run_on();
    wake_allocator();
    return_home(nodes.ids[0], nodes.ids[nodes.count - 1]);
    return_home(nodes.ids[nodes.count - 1], nodes.ids[0]);
    wander(&nodes, strtoull(argv[1], NULL, 10));
    return verdict();
}
