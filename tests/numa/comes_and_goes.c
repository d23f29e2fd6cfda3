/*
 * comes_and_goes.c - the processors of a node, or its memory, go offline while threads ask for blocks, and
 * come back.
 *
 *     comes_and_goes NODE PART...       (folders of sysfs: all of its processors, or pieces of its memory)
 *
 * The kernel moves the threads elsewhere, or the pages, which it does not bring back. Nothing fails; blocks keep what
 * was written; and when the node is whole again, new blocks for its threads are on it again.
 */
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/numa/nodes.h"

enum {
    SLOTS = 8,
    ROUNDS = 3,
    PARTS_MAX = 64
};

static int node;
static struct node_list running;
static char *parts[PARTS_MAX];
static int part_count;
static atomic_bool enough;
static atomic_size_t changed;
static atomic_size_t operations;
static size_t gone;

/* The folder of a node has only what is online, so the parts are known by where its links lead. Memory that
 * the kernel itself uses cannot go. How many did. */
static size_t switch_parts(const char *to) {
    size_t count = 0;
    for (int i = 0; i < part_count; i++) {
        char path[300];
        (void)snprintf(path, sizeof path, "%s/online", parts[i]);
        bool switched = file_write(path, to);
        if (!switched && errno != EBUSY && errno != EINVAL) {
            give_up(path);
        }
        count += switched;
    }
    return count;
}

static void come_and_go(struct block *b, uint64_t *state) {
    if (b->address != NULL) {
        atomic_fetch_add(&changed, block_changed_pages(b));
        block_free(b);
    } else {
        *b = block_of(MIB + chance(state, 3 * MIB), SOME_PAGES);
        block_touch(b);
    }
    atomic_fetch_add(&operations, 1);
}

/* Thread 0 switches, the others live. */
static void live(int i) {
    struct block slots[SLOTS] = {{0}};
    uint64_t state = (uint64_t)i + 1;
    for (int round = 0; i == 0 && round < ROUNDS; round++) {
        gone += switch_parts("0");
        for (size_t until = atomic_load(&operations) + 60; atomic_load(&operations) < until;) {
            come_and_go(&slots[chance(&state, SLOTS)], &state);
        }
        (void)switch_parts("1");
    }
    atomic_store(&enough, atomic_load(&enough) || i == 0);
    while (!atomic_load(&enough)) {
        come_and_go(&slots[chance(&state, SLOTS)], &state);
    }
    for (int s = 0; s < SLOTS; s++) {
        block_free(&slots[s]);
    }
}

static size_t elsewhere;
static size_t pages;

static void ask_again(void *argument) {
    (void)argument;
    struct block own[SLOTS];
    for (size_t i = 0; i < SLOTS; i++) {
        own[i] = block_of((i + 1) * MIB, ALL_PAGES);
        block_touch(&own[i]);
        struct placement p = block_placement(&own[i], 1);
        pages += p.pages;
        elsewhere += placement_elsewhere(&p, node);
    }
    for (int i = 0; i < SLOTS; i++) {
        block_free(&own[i]);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        give_up("usage: comes_and_goes NODE PART...");
    }
    node = atoi(argv[1]);
    while (part_count < argc - 2 && part_count < PARTS_MAX) {
        char *part = realpath(argv[part_count + 2], NULL);
        if (part == NULL) {
            give_up(argv[part_count + 2]);
        }
        parts[part_count++] = part;
    }
    running = nodes_to_run_on();
    wake_allocator();
    on_all_nodes(&running, running.count, live);
    expect(atomic_load(&changed) == 0, "%zu of %zu operations found pages changed",
           atomic_load(&changed), atomic_load(&operations));
    expect(gone >= ROUNDS, "%zu parts were gone, in %d rounds", gone, ROUNDS);
    (void)malloc_trim(0); /* what is idle may be anywhere */
    on_node(node, ask_again, NULL);
    expect(pages > 0 && elsewhere == 0, "%zu of %zu pages are not on node %d after its return",
           elsewhere, pages, node);
    return verdict();
}
