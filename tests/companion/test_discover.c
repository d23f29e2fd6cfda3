/*
 * What the companion says of machines that are not this one. Distances that a kernel tells, and memory
 * that a node runs out of, are for tests with a guest.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/companion/machine.h"
#include "tests/numa/refuse.h"

#define EXPECT_TEXT(actual, expected) cr_expect(eq(str, (char *)(actual), (char *)(expected)))

static struct topology synthetic(const char *description) {
    return discovered("HWLOC_SYNTHETIC", description);
}

/* ---- synthetic machines ---- */

Test(discover, four_nodes_with_processors) {
    struct topology t = synthetic("node:4 pu:2");
    cr_assert(eq(u32, t.count, 4));
    EXPECT_TEXT(ids_of(&t), "0 1 2 3");
    EXPECT_TEXT(nodes_with_cpus(&t), "++++");
    EXPECT_TEXT(nodes_allowed(&t), "++++");
    for (unsigned i = 0; i < t.count; i++) {
        cr_expect(eq(sz, t.nodes[i].bytes, GIB));
        cr_expect(t.nodes[i].kind == MEMORY_DRAM);
    }
}

Test(discover, nodes_without_distances_are_equally_far) {
    struct topology t = synthetic("node:4 pu:2");
    EXPECT_TEXT(ids_near(&t, 0), "0 1 2 3");
    EXPECT_TEXT(ids_near(&t, 2), "2 3 0 1");
}

Test(discover, one_node) {
    struct topology t = synthetic("node:1 pu:2");
    cr_assert(eq(u32, t.count, 1));
    EXPECT_TEXT(nodes_with_cpus(&t), "+");
    EXPECT_TEXT(ids_near(&t, 0), "0");
}

Test(discover, a_node_beside_the_processors_of_others_has_none) {
    struct topology t = synthetic("[numa] pack:2 [numa] pu:2");
    cr_assert(eq(u32, t.count, 3));
    EXPECT_TEXT(nodes_with_cpus(&t), "++-");
}

Test(discover, of_two_nodes_beside_the_same_processors_the_second_has_none) {
    struct topology t = synthetic("pack:2 [numa] [numa] pu:2");
    cr_assert(eq(u32, t.count, 4));
    EXPECT_TEXT(nodes_with_cpus(&t), "+-+-");
}

Test(discover, numbers_with_holes_and_in_any_order) {
    struct topology t = synthetic("node:4(indexes=1023,5,0,9) pu:1");
    EXPECT_TEXT(ids_of(&t), "0 5 9 1023");
    EXPECT_TEXT(nodes_with_cpus(&t), "++++");
}

Test(discover, numbers_beyond_the_kernels_are_left_out) {
    struct topology t = synthetic("node:3(indexes=1024,7,5000) pu:1");
    EXPECT_TEXT(ids_of(&t), "7");
}

Test(discover, nothing_where_no_number_is_the_kernels) {
    cr_assert(setenv("HWLOC_SYNTHETIC", "node:2(indexes=1024,5000) pu:1", 1) == 0);
    struct topology t = {.count = 77};
    cr_expect(not(companion()->discover(&t)));
    cr_expect(eq(u32, t.count, 77));
}

Test(discover, of_too_many_nodes_the_first) {
    struct topology t = synthetic("node:100 pu:1");
    cr_assert(eq(u32, t.count, TOPOLOGY_NODES));
    cr_expect(eq(u32, t.nodes[TOPOLOGY_NODES - 1].id, TOPOLOGY_NODES - 1));
    cr_expect(eq(u32, t.nodes[7].nearest[TOPOLOGY_NODES - 1], 6));
}

/* ---- a machine from a file ---- */

Test(discover, kinds_of_memory) {
    struct topology t = discovered("HWLOC_XMLFILE", MACHINE);
    EXPECT_TEXT(ids_of(&t), "0 1 2 5 6 7 9");
    static const enum memory_kind kinds[] = {MEMORY_DRAM, MEMORY_DRAM,           MEMORY_DRAM,
                                             MEMORY_FAR,  MEMORY_HIGH_BANDWIDTH, MEMORY_DEVICE,
                                             MEMORY_FAR};
    for (unsigned i = 0; i < t.count; i++) {
        cr_expect(t.nodes[i].kind == kinds[i], "node %u", t.nodes[i].id);
        cr_expect(eq(sz, t.nodes[i].bytes, i < 3 ? 1000 * (i + 1) : 1000 * t.nodes[i].id));
    }
}

Test(discover, what_is_outside_the_cpuset_has_neither_memory_nor_processors) {
    struct topology t = discovered("HWLOC_XMLFILE", MACHINE);
    EXPECT_TEXT(nodes_allowed(&t), "++-++++");
    EXPECT_TEXT(nodes_with_cpus(&t), "++-----");
}

Test(discover, nearer_nodes_come_first_and_those_of_no_known_distance_last) {
    struct topology t = discovered("HWLOC_XMLFILE", MACHINE);
    EXPECT_TEXT(ids_near(&t, 0), "0 6 1 2 5 7 9");
    EXPECT_TEXT(ids_near(&t, 1), "1 2 0 6 5 7 9"); /* 0 is 32 from here, but 21 the other way */
    EXPECT_TEXT(ids_near(&t, 4), "6 0 1 2 7 9 5");
    EXPECT_TEXT(ids_near(&t, 3), "5 6 7 9 0 1 2");
}

Test(discover, nothing_from_a_file_that_is_none) {
    cr_assert(setenv("HWLOC_XMLFILE", "/dev/null", 1) == 0);
    struct topology t = {.count = 77};
    cr_expect(not(companion()->discover(&t)));
    cr_expect(eq(u32, t.count, 77));
}

/* ---- manners ---- */

static void discover_all(void) {
    static struct topology t;
    cr_expect(companion()->discover(&t));
}

/* All that a program with one thread says when hwloc has two reasons to complain. */
static const char *words_alone(const char *variables) {
    static char words[1024];
    char command[1024];
    (void)snprintf(command, sizeof command,
                   "HWLOC_MEMTIERS_GUESS=nonsense HWLOC_COMPONENTS=nothing %s %s/alone 2>&1",
                   variables, getenv("TEST_LIBRARIES"));
    FILE *out = popen(command, "r");
    cr_assert(out != NULL);
    words[fread(words, 1, sizeof words - 1, out)] = '\0';
    cr_assert(eq(i32, pclose(out), 0));
    return words;
}

Test(discover, in_silence_and_with_the_environment_left_alone) {
    EXPECT_TEXT(words_alone(""), "known, kept\n");
}

Test(discover, aloud_where_the_user_wants_to_hear_it) {
    const char *words = words_alone("HWLOC_HIDE_ERRORS=0");
    cr_expect(strstr(words, "nonsense") != NULL && strstr(words, "`nothing'") != NULL, "%s", words);
}

static void *wait_for_end(void *mutex) {
    (void)pthread_mutex_lock(mutex);
    return NULL;
}

/* Another thread may read and change it. */
Test(discover, beside_other_threads_never_touches_the_environment) {
    static pthread_mutex_t end = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;
    (void)pthread_mutex_lock(&end);
    cr_assert(pthread_create(&thread, NULL, wait_for_end, &end) == 0);
    cr_assert(setenv("HWLOC_MEMTIERS_GUESS", "nonsense", 1) == 0);
    cr_expect(strstr(words_of(discover_all), "nonsense") != NULL);
    (void)pthread_mutex_unlock(&end);
    (void)pthread_join(thread, NULL);
}

/* ---- this machine ---- */

Test(discover, this_machine) {
    static struct topology t;
    cr_assert(companion()->discover(&t));
    unsigned cpu = 0;
    unsigned id = 0;
    cr_assert(getcpu(&cpu, &id) == 0);
    bool is_found = false;
    for (unsigned i = 0; i < t.count; i++) {
        const struct node *n = &t.nodes[i];
        is_found = is_found || (n->id == id && n->has_cpus && n->is_allowed && n->bytes > GIB / 16);
        cr_expect(i == 0 || n->id > t.nodes[i - 1].id);
        cr_expect(eq(u32, n->nearest[0], i));
    }
    cr_expect(is_found, "the node that this runs on, %u", id);
}

/* hwloc would visit each to ask it what it is. */
Test(discover, where_the_thread_stays_on_its_processor) {
    cr_assert(forbid_call(SYS_sched_setaffinity));
    discover_all();
}
