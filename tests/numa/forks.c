/*
 * forks.c - a process that has blocks on all nodes forks children that move to the nodes: new blocks of
 * theirs are on their nodes, the inherited ones keep what was written, and the parent goes on as before.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/numa/nodes.h"

enum {
    BLOCKS = 6
};

static struct node_list nodes;
static struct block blocks[NODES_MAX][BLOCKS];

static void ask_and_touch(int i) {
    for (size_t n = 0; n < BLOCKS; n++) {
        blocks[i][n] = block_of((n + 2) * MIB, ALL_PAGES);
        block_touch(&blocks[i][n]);
    }
}

/* So that there are idle blocks at the time of the fork. */
static void free_half(int i) {
    for (int n = 0; n < BLOCKS; n += 2) {
        block_free(&blocks[i][n]);
    }
}

static void touch_and_free_rest(int i) {
    for (int n = 1; n < BLOCKS; n += 2) {
        block_free(&blocks[i][n]);
    }
}

/* All blocks of node i that were just asked for. */
static size_t pages_elsewhere(int i) {
    size_t elsewhere = 0;
    for (int n = 0; n < BLOCKS; n++) {
        struct placement p = block_placement(&blocks[i][n], 1);
        elsewhere +=
            p.pages == 0 ? blocks[i][n].bytes / PAGE : placement_elsewhere(&p, nodes.ids[i]);
    }
    return elsewhere;
}

static bool is_unchanged(int i) {
    size_t changed = 0;
    for (int n = 1; n < BLOCKS; n += 2) {
        changed += block_changed_pages(&blocks[i][n]);
    }
    return changed == 0;
}

enum child_status {
    CHILD_FINE = 10,
    CHILD_LOST_CONTENTS,
    CHILD_ELSEWHERE
};

/* Frees what it inherited, and asks anew. */
static enum child_status live_as_child(int i) {
    stay_on_node(nodes.ids[i]);
    for (int other = 0; other < nodes.count; other++) {
        if (!is_unchanged(other)) {
            return CHILD_LOST_CONTENTS;
        }
        touch_and_free_rest(other);
    }
    for (int round = 0; round < 3; round++) {
        ask_and_touch(i);
        if (pages_elsewhere(i) > 0) {
            return CHILD_ELSEWHERE;
        }
        free_half(i);
        touch_and_free_rest(i);
    }
    return CHILD_FINE;
}

static int status_of_child(int i) {
    pid_t child = fork();
    if (child < 0) {
        give_up("fork");
    }
    if (child == 0) {
        _exit((int)live_as_child(i));
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int main(void) {
    nodes = nodes_to_run_on();
    wake_allocator();
    on_all_nodes(&nodes, nodes.count, ask_and_touch);
    on_all_nodes(&nodes, nodes.count, free_half);
    for (int i = 0; i < nodes.count; i++) {
        int status = status_of_child(i);
        expect(status == CHILD_FINE,
               "a child on node %d: %d (%d: contents lost, %d: pages elsewhere)", nodes.ids[i],
               status, CHILD_LOST_CONTENTS, CHILD_ELSEWHERE);
    }
    for (int i = 0; i < nodes.count; i++) {
        expect(is_unchanged(i), "the parent's blocks of node %d keep what was written",
               nodes.ids[i]);
    }
    on_all_nodes(&nodes, nodes.count, touch_and_free_rest);
    on_all_nodes(&nodes, nodes.count, ask_and_touch);
    for (int i = 0; i < nodes.count; i++) {
        size_t elsewhere = pages_elsewhere(i);
        expect(elsewhere == 0, "afterwards %zu pages of the parent's are not on node %d", elsewhere,
               nodes.ids[i]);
    }
    return verdict();
}
