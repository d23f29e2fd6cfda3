/*
 * handed_over.c - fresh blocks that one node asks for, and another one writes first.
 *
 *     handed_over asker|writer [cold]
 *
 * On which of the two their pages have to be: with node-local memory with the one that asked; where the first
 * write places them, with the other one. A block that grows in other hands stays where it is. With "cold" these
 * are the first large requests of the process, from all nodes at once.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/numa/nodes.h"

enum {
    BLOCKS = 8
};

static struct node_list nodes;
static struct block blocks[NODES_MAX][BLOCKS];

static void ask(int i) {
    for (size_t n = 0; n < BLOCKS; n++) {
        blocks[i][n] = block_of((n + 2) * 3 * MIB / 2, SOME_PAGES);
    }
}

/* The blocks of the next node. */
static void write_first(int i) {
    for (int n = 0; n < BLOCKS; n++) {
        block_touch(&blocks[(i + 1) % nodes.count][n]);
    }
}

static void grow(int i) {
    for (int n = 0; n < BLOCKS; n++) {
        struct block *b = &blocks[(i + 1) % nodes.count][n];
        b->bytes *= 2;
        b->address = realloc(b->address, b->bytes);
        if (b->address == NULL) {
            give_up("realloc");
        }
        block_touch(b);
    }
}

static void judge(const char *what, bool by_writer) {
    size_t pages = 0;
    size_t elsewhere = 0;
    for (int i = 0; i < nodes.count; i++) {
        int writer = nodes.ids[(i + nodes.count - 1) % nodes.count];
        for (int n = 0; n < BLOCKS; n++) {
            struct placement p = block_placement(&blocks[i][n], 1);
            pages += p.pages;
            elsewhere += placement_elsewhere(&p, by_writer ? writer : nodes.ids[i]);
        }
    }
    expect(pages > 0 && elsewhere == 0, "%s: %zu of %zu pages are not with the %s", what, elsewhere,
           pages, by_writer ? "writer" : "asker");
}

int main(int argc, char **argv) {
    bool by_writer = argc > 1 && strcmp(argv[1], "writer") == 0;
    if (!by_writer && (argc < 2 || strcmp(argv[1], "asker") != 0)) {
        give_up("usage: handed_over asker|writer [cold]");
    }
    nodes = nodes_to_run_on();
    if (argc < 3) {
        wake_allocator();
    }
    on_all_nodes(&nodes, nodes.count, ask);
    on_all_nodes(&nodes, nodes.count, write_first);
    judge("fresh blocks", by_writer);
    on_all_nodes(&nodes, nodes.count, grow);
    judge("twice as large", by_writer);
    return verdict();
}
