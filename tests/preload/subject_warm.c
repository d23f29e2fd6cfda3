/*
 * subject_warm.c - programs whose steps are alike, but for the page faults of the first.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/preload/subject.h"

enum {
    BLOCKS = 7
};

/* 8 to 32 MiB each, 140 MiB together, of which every byte is written. */
static void take_a_step(void) {
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t bytes = (8 + 4 * i) * MIB;
        blocks[i] = get(bytes);
        memset(blocks[i], 1, bytes);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}

static size_t faults_of_a_step(void) {
    size_t before = page_faults();
    take_a_step();
    return page_faults() - before;
}

/* Its first large request opens the pools; without a helper all is there then. */
void tell_the_faults_of_the_first_step(void) {
    free(get(MIB));
    tell("beforehand", resident_bytes());
    tell("first", faults_of_a_step());
    tell("second", faults_of_a_step());
}

/* All of it is there, and idle, which each block is a moment after it became resident. */
static size_t before_it_came;

static bool is_warm(void) {
    return mallinfo2().fordblks >= 140 * MIB && smaps_bytes("Rss:") >= before_it_came + 140 * MIB;
}

void tell_the_faults_once_memory_is_there(void) {
    before_it_came = smaps_bytes("Rss:");
    free(get(MIB));
    tell("warm", comes_true(is_warm, 10000));
    tell("first", faults_of_a_step());
}

/* Its child needs twice as much. */
void fork_before_the_end(void) {
    take_a_step();
    CHECK(in_child(take_a_step) == 0);
}
