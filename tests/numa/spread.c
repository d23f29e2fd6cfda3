/*
 * spread.c - blocks that threads of all nodes ask for, write, free, and ask for again in other sizes.
 *
 *     spread NODES MIB [PERCENT]
 *
 * MIB are asked for in all, half as much by the thread of each node as by that of the node before. All
 * pages have to be on NODES, a list as "0,2-3"; with PERCENT, on each of them as many, but for so much of
 * the most.
 */
#include <stdlib.h>

#include "tests/numa/nodes.h"

enum {
    BLOCKS_MAX = 200 /* of each thread */
};

/* The kernel interleaves huge pages by their addresses, so that blocks of other sizes than a huge page for
 * each node, or several, have more on some nodes than on others. */
static const size_t SIZE_UNIT = 4 * HUGE_PAGE;

static struct node_list running;
static struct node_list wanted;
static size_t bytes_of_all;
static size_t round_number;
static struct block blocks[NODES_MAX][BLOCKS_MAX];

/* 1/2, 1/4, ..., and for the last one as much as for the one before. */
static size_t share(int i) {
    return bytes_of_all >> (i + 1 < running.count ? i + 1 : i);
}

/* Others in each round. */
static void ask_and_touch(int i) {
    uint64_t state = (uint64_t)i + 1 + 100 * round_number;
    size_t left = share(i);
    for (struct block *b = blocks[i]; left > 0 && b < blocks[i] + BLOCKS_MAX; b++) {
        size_t bytes = (1 + chance(&state, 4)) * SIZE_UNIT;
        *b = block_of(bytes < left ? bytes : left, SOME_PAGES);
        block_touch(b);
        left -= b->bytes;
    }
}

static void free_all(int i) {
    for (int n = 0; n < BLOCKS_MAX; n++) {
        block_free(&blocks[i][n]);
    }
}

static struct placement placement_of_all(void) {
    struct placement sum = {0};
    for (int i = 0; i < running.count; i++) {
        for (int n = 0; n < BLOCKS_MAX; n++) {
            struct placement p = block_placement(&blocks[i][n], 1);
            placement_add(&sum, &p);
        }
    }
    return sum;
}

static size_t on_other_nodes(const struct placement *p) {
    size_t others = 0;
    for (int node = 0; node < NODES_MAX; node++) {
        others += node_list_has(&wanted, node) ? 0 : p->on[node];
    }
    return others;
}

static double percent_apart(const struct placement *p) {
    size_t least = p->on[wanted.ids[0]];
    size_t most = least;
    for (int i = 1; i < wanted.count; i++) {
        size_t pages = p->on[wanted.ids[i]];
        least = pages < least ? pages : least;
        most = pages > most ? pages : most;
    }
    return most == 0 ? 100 : 100.0 * (double)(most - least) / (double)most;
}

static void judge(const char *blocks_are, double percent) {
    struct placement p = placement_of_all();
    size_t others = on_other_nodes(&p);
    expect(others == 0, "%s: %zu of %zu pages are on other nodes", blocks_are, others, p.pages);
    if (percent > 0) {
        double apart = percent_apart(&p);
        expect(apart <= percent, "%s: the nodes' shares are %.2f %% apart", blocks_are, apart);
    }
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 4) {
        give_up("usage: spread NODES MIB [PERCENT]");
    }
    wanted = node_list_of(argv[1]);
    bytes_of_all = strtoull(argv[2], NULL, 10) * MIB;
    double percent = argc == 4 ? atof(argv[3]) : 0;
    running = nodes_to_run_on();
    wake_allocator();
    on_all_nodes(&running, running.count, ask_and_touch);
    judge("fresh blocks", percent);
    on_all_nodes(&running, running.count, free_all);
    round_number++;
    on_all_nodes(&running, running.count, ask_and_touch);
    judge("blocks after others", percent);
    return verdict();
}
