/*
 * subject_contents.c - what is in a block: kept by realloc, zero from calloc.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/preload/subject.h"

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* The block of `bytes` bytes filled with `seed`, in a new size, filled anew. */
static void *resize(void *p, size_t bytes, size_t new_bytes, uint64_t seed) {
    p = realloc(p, new_bytes);
    CHECK(p != NULL && malloc_usable_size(p) >= new_bytes);
    CHECK(is_filled(p, least(bytes, new_bytes) / 8 * 8, seed));
    fill(p, new_bytes, seed + 1);
    return p;
}

static void walk(const size_t *sizes, size_t count) {
    void *p = get(sizes[0]);
    fill(p, sizes[0], 0);
    for (size_t i = 1; i < count; i++) {
        p = resize(p, sizes[i - 1], sizes[i], i - 1);
    }
    free(p);
}

void realloc_keeps_contents_across_the_threshold(void) {
    static const size_t sizes[] = {100, MIB - 1, MIB,       MIB - 1,  2 * MIB,
                                   10,  8 * MIB, MIB,       64 * KIB, 33 * MIB + 1,
                                   1,   MIB + 1, 100 * MIB, 900,      3 * MIB};
    walk(sizes, sizeof sizes / sizeof *sizes);
}

void realloc_keeps_contents_within_a_class(void) {
    static const size_t sizes[] = {8 * MIB,           8 * MIB - 1,       7 * MIB + 900 * KIB,
                                   7 * MIB + MIB / 2, 8 * MIB,           8 * MIB + 1,
                                   9 * MIB,           8 * MIB + PAGE,    5 * MIB,
                                   5 * MIB + PAGE,    4 * MIB + MIB / 2, 4 * MIB};
    walk(sizes, sizeof sizes / sizeof *sizes);
}

void realloc_grows_in_many_steps(void) {
    char *p = NULL;
    for (size_t i = 1; i <= 40; i++) {
        p = realloc(p, i * MIB);
        CHECK(p != NULL);
        fill(p + (i - 1) * MIB, MIB, i);
    }
    for (size_t i = 1; i <= 40; i++) {
        CHECK(is_filled(p + (i - 1) * MIB, MIB, i));
    }
    free(p);
}

void realloc_shrinks_in_many_steps(void) {
    char *p = get(64 * MIB);
    fill(p, 64 * MIB, 7);
    for (size_t bytes = 63 * MIB; bytes >= 64; bytes -= bytes / 5 / 8 * 8 + 8) {
        p = realloc(p, bytes);
        CHECK(p != NULL && is_filled(p, bytes / 8 * 8, 7));
    }
    free(p);
}

/* Sizes from 1 B to 16 MiB, each power as likely as the next. */
void realloc_keeps_contents_in_any_order(void) {
    enum {
        BLOCKS = 16,
        STEPS = 1500
    };
    void *blocks[BLOCKS] = {NULL};
    size_t sizes[BLOCKS] = {0};
    uint64_t seeds[BLOCKS] = {0};
    unsigned state = 1;
    for (int step = 0; step < STEPS; step++) {
        state = state * 1664525 + 1013904223;
        unsigned i = state >> 28;
        size_t bytes = ((size_t)1 << (state >> 8) % 24) + (state >> 12) % 64;
        blocks[i] = blocks[i] == NULL ? get(bytes) : realloc(blocks[i], bytes);
        CHECK(blocks[i] != NULL);
        CHECK(is_filled(blocks[i], least(sizes[i], bytes) / 8 * 8, seeds[i]));
        sizes[i] = bytes;
        seeds[i] = state;
        fill(blocks[i], bytes, state);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}

void realloc_takes_aligned_blocks(void) {
    for (size_t alignment = 16; alignment <= 64 * MIB; alignment *= 4) {
        void *p = NULL;
        CHECK(posix_memalign(&p, alignment, 2 * MIB) == 0);
        fill(p, 2 * MIB, 0);
        p = resize(p, 2 * MIB, 5 * MIB, 0);
        p = resize(p, 5 * MIB, 100, 1);
        free(p);
    }
}

/* ---- calloc ---- */

static void dirty(void *p) {
    memset(p, 0xff, malloc_usable_size(p));
}

static void check_calloc(size_t bytes) {
    char *p = calloc(1, bytes);
    CHECK(p != NULL);
    CHECK(is_zero(p, malloc_usable_size(p)));
    dirty(p);
    free(p);
}

void calloc_is_zero_after_dirty_use(void) {
    static const size_t sizes[] = {1,       100,          MIB - 1,      MIB,      MIB + 1,
                                   5 * MIB, 32 * MIB - 1, 32 * MIB + 1, 40 * MIB, 100 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int round = 0; round < 3; round++) {
            check_calloc(sizes[i]);
        }
    }
}

void calloc_is_zero_after_a_little_was_dirty(void) {
    static const size_t sizes[] = {2 * MIB, 40 * MIB};
    for (int i = 0; i < 2; i++) {
        char *p = get(sizes[i]);
        memset(p, 0xff, 100);
        p[sizes[i] - 1] = 1;
        free(p);
        check_calloc(sizes[i]);
    }
}

void calloc_is_zero_in_a_very_large_block(void) {
    char *p = get(640 * MIB);
    dirty(p);
    p = realloc(p, 580 * MIB);
    CHECK(p != NULL);
    free(p);
    check_calloc(520 * MIB);
    check_calloc(640 * MIB);
}

/* An idle block of another class may serve, whose dirt reaches further. */
void calloc_is_zero_in_a_block_of_the_next_class(void) {
    static const size_t sizes[][2] = {{9 * MIB, 8 * MIB},   {9 * MIB, 8 * MIB + MIB / 2},
                                      {15 * MIB, 8 * MIB},  {60 * MIB, 36 * MIB},
                                      {45 * MIB, 40 * MIB}, {36 * MIB, 33 * MIB}};
    for (int i = 0; i < 6; i++) {
        char *p = get(sizes[i][0]);
        dirty(p);
        free(p);
        check_calloc(sizes[i][1]);
        check_calloc(sizes[i][0]);
    }
}

void calloc_is_zero_after_realloc_in_place(void) {
    static const size_t sizes[] = {8 * MIB, 40 * MIB};
    for (int i = 0; i < 2; i++) {
        char *p = get(sizes[i]);
        dirty(p);
        p = realloc(p, sizes[i] - 900 * KIB);
        p = realloc(p, sizes[i] - 600 * KIB);
        free(p);
        check_calloc(sizes[i]);
        p = get(sizes[i] - 900 * KIB);
        p = realloc(p, sizes[i]);
        dirty(p);
        p = realloc(p, sizes[i] - 900 * KIB);
        free(p);
        check_calloc(sizes[i] - 700 * KIB);
        check_calloc(sizes[i]);
    }
}

void calloc_is_zero_in_every_size(void) {
    for (size_t bytes = MIB; bytes < 24 * MIB; bytes += 123 * KIB + 17) {
        check_calloc(bytes);
        free(get_touched(bytes + bytes / 16));
    }
}

void calloc_is_zero_for_aligned_and_resized_neighbours(void) {
    void *p = NULL;
    CHECK(posix_memalign(&p, 64, 10 * MIB) == 0);
    dirty(p);
    p = realloc(p, 3 * MIB);
    dirty(p);
    free(p);
    check_calloc(10 * MIB);
    check_calloc(3 * MIB);
    CHECK(posix_memalign(&p, 4 * MIB, 10 * MIB) == 0);
    dirty(p);
    free(p);
    check_calloc(10 * MIB);
}

void a_fresh_calloc_is_resident_only_where_touched(void) {
    size_t before = resident_bytes();
    char *p = calloc(GIB / 8, 8);
    CHECK(p != NULL);
    CHECK(p[0] == 0 && p[GIB / 2] == 0 && p[GIB - 1] == 0);
    CHECK(resident_bytes() - before < 16 * MIB);
    free(p);
}

/* Where it is very large: below, writing zeros is cheaper than fresh pages. */
void a_recycled_calloc_is_resident_only_where_touched(void) {
    free(get_touched(640 * MIB));
    char *p = calloc(1, 640 * MIB);
    CHECK(p != NULL && p[0] == 0 && p[300 * MIB] == 0 && p[640 * MIB - 1] == 0);
    CHECK(resident_bytes() < 64 * MIB);
    free(p);
}

/* ---- what nobody wrote ---- */

static bool is_all(const unsigned char *p, size_t from, size_t to, unsigned char byte) {
    while (from < to && p[from] == byte) {
        from++;
    }
    return from >= to;
}

/* An idle block of that size, full of something else. */
static void soil(size_t bytes) {
    void *p = get(bytes);
    memset(p, 0x3c, bytes);
    free(p);
}

/* The byte on the command line, in everything that is new, and nowhere else. */
static void check_new(unsigned char *p, size_t kept, size_t bytes, unsigned char byte) {
    CHECK(p != NULL && is_all(p, kept, bytes, byte));
    CHECK(is_all(p, 0, kept, 0x11));
    memset(p, 0x11, bytes);
}

static void check_growth(size_t from, size_t to, unsigned char byte) {
    unsigned char *p = realloc(NULL, from);
    if (from >= MIB) {
        check_new(p, 0, from, byte);
    }
    memset(p, 0x11, malloc_usable_size(p));
    size_t kept = malloc_usable_size(p);
    p = realloc(p, to);
    check_new(p, kept, to, byte);
    free(p);
}

void new_blocks_are_filled(void) {
    unsigned char byte = (unsigned char)strtoul(subject_arguments[0], NULL, 16);
    soil(48 * MIB);
    unsigned char *p = malloc(3 * MIB + 5);
    check_new(p, 0, 3 * MIB + 5, byte);
    free(p);
    p = aligned_alloc(64 * KIB, 5 * MIB);
    check_new(p, 0, 5 * MIB, byte);
    free(p);
    p = calloc(3, MIB);
    check_new(p, 0, 3 * MIB, 0);
    free(p);
    check_growth(100 * KIB, 2 * MIB, byte); /* jemalloc's, and then ours */
    check_growth(2 * MIB, 2 * MIB + 100 * KIB, byte);
    check_growth(2 * MIB, 30 * MIB, byte);
    p = realloc(malloc(20 * MIB), 2 * MIB);
    memset(p, 0x11, 2 * MIB);
    p = realloc(p, 20 * MIB);
    check_new(p, 2 * MIB, 20 * MIB, byte);
    free(p);
}

/* How much of memory that nobody wrote to is resident. */
void tell_what_is_resident_of_a_new_block(void) {
    size_t before = resident_bytes();
    void *p = malloc(256 * MIB);
    CHECK(p != NULL);
    tell("resident", resident_bytes() - before);
    free(p);
}
