/*
 * subject_fork.c - processes that fork, with memory idle and in use, and with other threads.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/preload/subject.h"

static char *shared;

static void use_shared(void) {
    CHECK(is_filled(shared, 40 * MIB, 1));
    fill(shared, 40 * MIB, 2);
    shared = realloc(shared, 50 * MIB);
    CHECK(shared != NULL && is_filled(shared, 40 * MIB, 2));
    free(shared);
    free(get_touched(40 * MIB));
}

void a_child_has_the_blocks_of_its_parent(void) {
    free(get_touched(64 * MIB));
    shared = get(40 * MIB);
    fill(shared, 40 * MIB, 1);
    CHECK(in_child(use_shared) == 0);
    CHECK(is_filled(shared, 40 * MIB, 1));
    CHECK(in_child(use_shared) == 0);
    free(shared);
}

static void tell_child_resident(void) {
    tell("child", resident_bytes());
}

void idle_memory_is_not_inherited(void) {
    free(get_touched(256 * MIB));
    CHECK(in_child(tell_child_resident) == 0);
    tell("parent", resident_bytes());
}

/* A child that lives on, and how to end it. */
static pid_t linger(int *end_pipe) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        char byte;
        (void)close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    (void)close(ends[0]);
    *end_pipe = ends[1];
    return pid;
}

static void release_child(pid_t pid, int end_pipe) {
    int status = 0;
    (void)close(end_pipe);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* On small pages each page of the block is a fault, unless it is still the parent's alone. */
void the_first_step_after_a_fork_takes_no_faults(void) {
    free(get_touched(128 * MIB));
    int end_pipe = -1;
    pid_t pid = linger(&end_pipe);
    size_t before = page_faults();
    char *p = get_touched(128 * MIB);
    CHECK(page_faults() - before < 200);
    free(p);
    release_child(pid, end_pipe);
}

/* ---- what a child wrote where its parent was idle ---- */

static char *reused;

static void check_reused(void) {
    CHECK(is_filled(reused, 8 * MIB, 5));
    CHECK(is_filled(shared, 40 * MIB, 6));
    fill(reused, 8 * MIB, 7);
}

static void reuse_and_fork(void) {
    reused = get(8 * MIB);
    shared = get(40 * MIB);
    fill(reused, 8 * MIB, 5);
    fill(shared, 40 * MIB, 6);
    CHECK(in_child(check_reused) == 0);
    check_reused();
    free(reused);
    free(shared);
    reused = calloc(1, 8 * MIB);
    CHECK(reused != NULL && is_zero(reused, 8 * MIB));
}

void a_grandchild_has_what_its_parent_wrote(void) {
    char *a = get_touched(8 * MIB);
    char *b = get_touched(8 * MIB);
    char *c = get_touched(40 * MIB);
    memset(a, 0xff, 8 * MIB);
    memset(b, 0xff, 8 * MIB);
    memset(c, 0xff, 40 * MIB);
    free(a);
    free(b);
    free(c);
    for (int i = 0; i < 3; i++) {
        CHECK(in_child(reuse_and_fork) == 0);
    }
    reuse_and_fork();
}

/* What the parent handed out again after a fork must reach its next child. */
void a_second_child_has_what_the_parent_wrote_after_the_first(void) {
    free(get_touched(8 * MIB));
    free(get_touched(40 * MIB));
    CHECK(in_child(tell_child_resident) == 0);
    reused = get(8 * MIB);
    shared = get(40 * MIB);
    fill(reused, 8 * MIB, 5);
    fill(shared, 40 * MIB, 6);
    CHECK(in_child(check_reused) == 0);
    check_reused();
}

static void calloc_in_child(void) {
    for (size_t bytes = MIB; bytes <= 64 * MIB; bytes *= 2) {
        char *p = calloc(1, bytes);
        CHECK(p != NULL && is_zero(p, bytes));
        memset(p, 0xff, bytes);
        free(p);
        p = calloc(1, bytes);
        CHECK(p != NULL && is_zero(p, bytes));
    }
}

void calloc_is_zero_in_a_child(void) {
    for (size_t bytes = MIB; bytes <= 64 * MIB; bytes *= 2) {
        char *p = get(bytes);
        memset(p, 0xff, bytes);
        free(p);
    }
    CHECK(in_child(calloc_in_child) == 0);
    calloc_in_child();
}

/* ---- other threads ---- */

static atomic_bool over;

/* Of many sizes at once, so that jemalloc is kept in its locks. */
static void use_small(unsigned random) {
    enum {
        BLOCKS = 100
    };
    void *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = get(1 + (random + i * 977) % 60000);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}

/* Large, small, calloc and realloc, with a mark in each block that must be there at its end. */
static void *stay_busy(void *argument) {
    unsigned state = (unsigned)(uintptr_t)argument;
    while (!atomic_load(&over)) {
        state = state * 1664525 + 1013904223;
        size_t bytes = MIB + (state >> 10);
        char *p = state % 2 == 0 ? get(bytes) : calloc(1, bytes);
        CHECK(p != NULL);
        p[bytes - 1] = 'a';
        p = realloc(p, bytes + MIB);
        CHECK(p != NULL && p[bytes - 1] == 'a');
        free(p);
        use_small(state);
    }
    return NULL;
}

static void allocate_both(void) {
    use_small(7);
    char *small = get(100);
    char *large = get(8 * MIB);
    memset(small, 1, 100);
    large[0] = 1;
    large[8 * MIB - 1] = 1;
    free(large);
    free(small);
    large = calloc(1, 3 * MIB);
    CHECK(large != NULL && large[0] == 0 && large[3 * MIB - 1] == 0);
    free(large);
}

static void *fork_many_times(void *argument) {
    for (size_t i = 0; i < (size_t)(uintptr_t)argument; i++) {
        CHECK(in_child(allocate_both) == 0);
        allocate_both();
    }
    return NULL;
}

static void start_busy_threads(pthread_t *threads, uintptr_t n) {
    for (uintptr_t i = 0; i < n; i++) {
        CHECK(pthread_create(&threads[i], NULL, stay_busy, (void *)(i + 1)) == 0);
    }
}

static void stop_busy_threads(pthread_t *threads, uintptr_t n) {
    atomic_store(&over, true);
    for (uintptr_t i = 0; i < n; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

void a_storm_of_forks_among_five_busy_threads(void) {
    pthread_t threads[5];
    start_busy_threads(threads, 5);
    (void)fork_many_times((void *)(uintptr_t)300);
    stop_busy_threads(threads, 5);
}

static void fork_from_threads(pthread_t *threads, size_t n, size_t times) {
    pthread_t busy[2];
    start_busy_threads(busy, 2);
    for (size_t i = 0; i < n; i++) {
        CHECK(pthread_create(&threads[i], NULL, fork_many_times, (void *)(uintptr_t)times) == 0);
    }
    for (size_t i = 0; i < n; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    stop_busy_threads(busy, 2);
}

void two_threads_fork_at_once(void) {
    pthread_t forking[2];
    fork_from_threads(forking, 2, 50);
}

/* With so much idle at first that the helper is at work, and stopped for each. */
void four_threads_fork_at_once(void) {
    pthread_t forking[4];
    free(get_touched(64 * MIB));
    fork_from_threads(forking, 4, 50);
    free(get_touched(64 * MIB));
}

/* The first large request of all races with forks. */
static void *ask_first(void *argument) {
    free(get_touched(8 * MIB));
    return argument;
}

static void fork_while_starting(void) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&threads[i], NULL, ask_first, NULL) == 0);
    }
    CHECK(in_child(allocate_both) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

void forks_race_with_the_first_large_request(void) {
    for (int i = 0; i < 100; i++) {
        CHECK(in_child(fork_while_starting) == 0);
    }
}

/* Generations, each with memory idle and in use. */
void children_of_children_go_on(void) {
    for (int generation = 0; generation < 12; generation++) {
        free(get_touched(16 * MIB));
        char *p = get(4 * MIB);
        fill(p, 4 * MIB, (uint64_t)generation);
        pid_t pid = fork();
        CHECK(pid >= 0);
        CHECK(is_filled(p, 4 * MIB, (uint64_t)generation));
        if (pid != 0) {
            int status = 0;
            CHECK(waitpid(pid, &status, 0) == pid);
            free(p);
            _exit(status == 0 ? 0 : 1);
        }
    }
}

void fork_without_a_large_request(void) {
    free(get(100));
    CHECK(in_child(allocate_both) == 0);
}
