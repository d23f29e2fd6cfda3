/*
 * growth.c - a thread on each node grows blocks by realloc, while other blocks come and go around them: all
 * pages stay on its node, and keep what was written.
 */
#include <stdlib.h>

#include "tests/numa/nodes.h"

enum {
    ROUNDS = 2
};
static const size_t FIRST_BYTES = 1 * MIB + 5 * PAGE;
static const size_t LAST_BYTES = 25 * MIB;

static struct node_list nodes;
static size_t pages[NODES_MAX];
static size_t elsewhere[NODES_MAX];
static size_t lost[NODES_MAX];

/* What was written before is marked with the address that the block had then. */
static size_t changed_since(const struct block *b, const struct block *before) {
    size_t changed = 0;
    for (size_t offset = 0; offset < before->bytes; offset += before->step * PAGE) {
        const volatile uintptr_t *word = (const volatile uintptr_t *)(b->address + offset);
        changed += *word != (uintptr_t)before->address + offset;
    }
    return changed;
}

static void grow_step(struct block *b, int i) {
    struct block before = *b;
    b->bytes = b->bytes * 3 / 2 / PAGE * PAGE;
    b->address = realloc(b->address, b->bytes);
    if (b->address == NULL) {
        give_up("realloc");
    }
    lost[i] += changed_since(b, &before);
    block_touch(b);
    struct placement p = block_placement(b, 1);
    pages[i] += p.pages;
    elsewhere[i] += placement_elsewhere(&p, nodes.ids[i]);
}

static void grow(int i) {
    for (int round = 0; round < ROUNDS; round++) {
        struct block b = block_of(FIRST_BYTES, SOME_PAGES);
        block_touch(&b);
        while (b.bytes < LAST_BYTES) {
            struct block passing = block_of(b.bytes + MIB, SOME_PAGES);
            block_touch(&passing);
            block_free(&passing);
            grow_step(&b, i);
        }
        block_free(&b);
    }
}

int main(void) {
    nodes = nodes_to_run_on();
    wake_allocator();
    on_all_nodes(&nodes, nodes.count, grow);
    for (int i = 0; i < nodes.count; i++) {
        expect(pages[i] > 0 && elsewhere[i] == 0, "%zu of %zu pages are not on node %d",
               elsewhere[i], pages[i], nodes.ids[i]);
        expect(lost[i] == 0, "%zu pages lost what was written", lost[i]);
    }
    return verdict();
}
