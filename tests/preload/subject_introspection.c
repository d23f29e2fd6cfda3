/*
 * subject_introspection.c - what a program may ask of its allocator: mallinfo(3), mallopt(3),
 * malloc_trim(3), malloc_info(3), malloc_stats(3).
 */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/preload/subject.h"

void mallinfo2_counts_a_large_block(void) {
    struct mallinfo2 before = mallinfo2();
    void *p = get(48 * MIB);
    struct mallinfo2 during = mallinfo2();
    CHECK(during.hblks == before.hblks + 1);
    CHECK(during.hblkhd >= before.hblkhd + 48 * MIB);
    CHECK(during.hblkhd <= before.hblkhd + 54 * MIB);
    free(p);
    CHECK(mallinfo2().hblks == before.hblks);
    CHECK(mallinfo2().hblkhd == before.hblkhd);
}

void mallinfo2_counts_small_blocks(void) {
    static void *blocks[2000];
    free(get(1));
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 2000; i++) {
        blocks[i] = get(5000);
    }
    CHECK(mallinfo2().uordblks >= before + 2000 * 5000);
    for (int i = 0; i < 2000; i++) {
        free(blocks[i]);
    }
}

void mallinfo2_counts_idle_blocks_as_free(void) {
    size_t before = mallinfo2().fordblks;
    free(get_touched(48 * MIB));
    CHECK(mallinfo2().fordblks >= before + 48 * MIB);
}

void mallinfo_says_the_most_it_can(void) {
    void *p = get(3 * GIB);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    CHECK(mallinfo().hblkhd == INT_MAX);
#pragma GCC diagnostic pop
    free(p);
}

void mallopt_takes_what_libc_takes(void) {
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1);
    CHECK(mallopt(M_ARENA_MAX, 2) == 1);
    CHECK(mallopt(M_PERTURB, 0) == 1);
}

void malloc_trim_gives_idle_memory_back(void) {
    size_t before = resident_bytes();
    free(get_touched(200 * MIB));
    CHECK(resident_bytes() > before + 180 * MIB);
    CHECK(malloc_trim(0) == 1);
    CHECK(resident_bytes() < before + 20 * MIB);
    /* The thread that gives memory back may leave some of its own behind meanwhile. */
    int trims = 0;
    while (malloc_trim(0) != 0 && trims < 10) {
        trims++;
    }
    CHECK(trims < 10);
}

void malloc_trim_gives_small_blocks_back(void) {
    enum {
        BLOCKS = 20000
    };
    static void *blocks[BLOCKS];
    size_t before = resident_bytes();
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = get_touched(8000);
    }
    CHECK(resident_bytes() > before + 120 * MIB);
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
    CHECK(malloc_trim(0) == 1);
    CHECK(resident_bytes() < before + 30 * MIB);
}

void malloc_info_writes_to_its_stream(void) {
    void *p = get(48 * MIB);
    CHECK(malloc_info(0, stdout) == 0);
    free(p);
}

void malloc_info_refuses_unknown_options(void) {
    CHECK(malloc_info(1, stdout) != 0);
}

void malloc_stats_writes_to_stderr(void) {
    void *p = get(48 * MIB);
    malloc_stats();
    free(p);
}
