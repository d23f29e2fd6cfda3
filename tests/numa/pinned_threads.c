/*
 * pinned_threads.c - two threads on each node, with blocks of all sizes that come and go.
 *
 *     pinned_threads OPERATIONS BLOCK_MIB_MAX
 *
 * An operation is a malloc, or a free by this thread or by any other one, on whichever node. Who asked for
 * a block writes all of its pages, or of most blocks some. They have to lie on the node of that thread: some of them
 * are looked at as soon as they are written, all of them when the block goes.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/numa/nodes.h"

enum {
    THREADS_MAX = 2 * NODES_MAX,
    SLOTS = 6,
    SAMPLE = 16 /* one in so many of the pages that are written is looked at at once */
};

static struct node_list nodes;
static size_t operations; /* of each thread */
static size_t block_max;
static _Atomic(char *) handed[THREADS_MAX]; /* for one thread to free, by another one */

static struct count {
    size_t pages;
    size_t elsewhere;
    size_t changed;
} counts[THREADS_MAX];

static void look(const struct block *b, size_t sample, int i) {
    struct placement p = block_placement(b, sample);
    counts[i].pages += p.pages;
    counts[i].elsewhere += placement_elsewhere(&p, nodes.ids[i % nodes.count]);
}

/* Half of the blocks are freed by the thread that happens to hand over the next one to the same. */
static void let_go(struct block *b, int i, uint64_t *state) {
    look(b, 1, i);
    counts[i].changed += block_changed_pages(b);
    if (chance(state, 2) == 0) {
        block_free(b);
        return;
    }
    size_t other = chance(state, 2 * (size_t)nodes.count);
    free(atomic_exchange(&handed[other], b->address));
    *b = (struct block){0};
}

static void come_and_go(int i) {
    struct block slots[SLOTS] = {{0}};
    uint64_t state = (uint64_t)i + 1;
    for (size_t n = 0; n < operations; n++) {
        struct block *b = &slots[chance(&state, SLOTS)];
        if (b->address != NULL) {
            let_go(b, i, &state);
            continue;
        }
        enum page_step step = chance(&state, 16) == 0 ? ALL_PAGES : SOME_PAGES;
        *b = block_of(MIB + chance(&state, block_max - MIB), step);
        block_touch(b);
        look(b, SAMPLE, i);
    }
    for (int s = 0; s < SLOTS; s++) {
        if (slots[s].address != NULL) {
            let_go(&slots[s], i, &state);
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        give_up("usage: pinned_threads OPERATIONS BLOCK_MIB_MAX");
    }
    nodes = nodes_to_run_on();
    wake_allocator();
    int threads = 2 * nodes.count;
    operations = strtoull(argv[1], NULL, 10) / (size_t)threads;
    block_max = strtoull(argv[2], NULL, 10) * MIB;
    on_all_nodes(&nodes, threads, come_and_go);
    struct count sum = {0};
    for (int i = 0; i < threads; i++) {
        sum.pages += counts[i].pages;
        sum.elsewhere += counts[i].elsewhere;
        sum.changed += counts[i].changed;
        free(atomic_load(&handed[i]));
    }
    expect(sum.pages > operations * 16,
           "%zu pages of blocks of %d threads on %d nodes were looked at", sum.pages, threads,
           nodes.count);
    expect(sum.elsewhere == 0, "%zu of them were on another node than their thread", sum.elsewhere);
    expect(sum.changed == 0, "%zu pages were written by somebody else", sum.changed);
    return verdict();
}
