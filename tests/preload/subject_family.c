/*
 * subject_family.c - every function of the malloc family, at its edges: malloc(3),
 * posix_memalign(3), malloc_usable_size(3).
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/preload/subject.h"

/* 2.43 of libc has them; declared as C23 does. */
void free_sized(void *p, size_t bytes);
void free_aligned_sized(void *p, size_t alignment, size_t bytes);

typedef void *allocate(size_t bytes);
typedef void *allocate_two(size_t a, size_t b);

static const size_t SIZES[] = {1,       8,           100,         4 * KIB,      100 * KIB,
                               MIB - 1, MIB,         MIB + 1,     2 * MIB,      2 * MIB + 1,
                               5 * MIB, 8 * MIB - 1, 9 * MIB + 7, 33 * MIB + 1, 64 * MIB};

enum {
    SIZE_COUNT = sizeof SIZES / sizeof *SIZES
};

static bool is_aligned(const void *p, size_t alignment) {
    return (uintptr_t)p % alignment == 0;
}

/* A block of that size: written, read, freed. */
static void use(void *p, size_t bytes) {
    CHECK(p != NULL);
    fill(p, bytes, bytes);
    CHECK(malloc_usable_size(p) >= bytes);
    CHECK(is_filled(p, bytes, bytes));
    free(p);
}

static void *calloc_in_words(size_t bytes) {
    return calloc((bytes + 7) / 8, 8);
}

static void *realloc_of_null(size_t bytes) {
    return realloc(opaque_pointer(NULL), bytes);
}

static void *reallocarray_of_null(size_t bytes) {
    return reallocarray(opaque_pointer(NULL), 1, bytes);
}

static void *posix_memalign_64(size_t bytes) {
    void *p = NULL;
    return posix_memalign(&p, 64, bytes) == 0 ? p : NULL;
}

static void *aligned_alloc_64(size_t bytes) {
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void *memalign_64(size_t bytes) {
    return memalign(64, bytes);
}

void every_function_serves_small_and_large(void) {
    static allocate *const functions[] = {malloc,      calloc_in_words,      realloc_of_null,
                                          valloc,      reallocarray_of_null, posix_memalign_64,
                                          memalign_64, aligned_alloc_64,     pvalloc};
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        for (size_t i = 0; i < SIZE_COUNT; i++) {
            use(functions[f](SIZES[i]), SIZES[i]);
        }
    }
}

void the_names_of_libc_serve_small_and_large(void) {
    static const char *const names[] = {"__libc_malloc", "__libc_valloc", "__libc_pvalloc"};
    for (size_t f = 0; f < sizeof names / sizeof *names; f++) {
        allocate *function = (allocate *)function_named(names[f]);
        use(function(100), 100);
        use(function(8 * MIB), 8 * MIB);
    }
    allocate_two *libc_calloc = (allocate_two *)function_named("__libc_calloc");
    allocate_two *libc_memalign = (allocate_two *)function_named("__libc_memalign");
    void *(*libc_realloc)(void *, size_t) = function_named("__libc_realloc");
    void (*libc_free)(void *) = function_named("__libc_free");
    use(libc_calloc(2, 4 * MIB), 8 * MIB);
    use(libc_memalign(4 * KIB, 8 * MIB), 8 * MIB);
    void *p = libc_realloc(NULL, 100);
    CHECK(p != NULL);
    fill(p, 100, 1);
    p = libc_realloc(p, 8 * MIB);
    CHECK(is_filled(p, 96, 1));
    libc_free(p);
}

void old_and_new_names_of_free_work(void) {
    void (*old)(void *) = function_named("cfree");
    void (*libc_cfree)(void *) = function_named("__libc_cfree");
    void (*sized)(void *, size_t) = function_named("free_sized");
    void (*aligned_sized)(void *, size_t, size_t) = function_named("free_aligned_sized");
    int (*aligned)(void **, size_t, size_t) = function_named("__posix_memalign");
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        old(get(SIZES[i]));
        libc_cfree(get(SIZES[i]));
        sized(get(SIZES[i]), SIZES[i]);
        void *p = NULL;
        CHECK(aligned(&p, 64, SIZES[i]) == 0 && is_aligned(p, 64));
        aligned_sized(p, 64, SIZES[i]);
    }
    sized(NULL, 8);
    aligned_sized(NULL, 64, 64);
}

/* ---- zero bytes, and far too many ---- */

void no_bytes_get_a_pointer_of_their_own(void) {
    void *p[] = {malloc(0), malloc(0), calloc(0, 8), calloc(8, 0), realloc(NULL, 0)};
    for (int i = 0; i < 5; i++) {
        CHECK(p[i] != NULL);
        for (int j = 0; j < i; j++) {
            CHECK(p[i] != p[j]);
        }
    }
    for (int i = 0; i < 5; i++) {
        free(p[i]);
    }
}

static const size_t IMPOSSIBLE[] = {PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4095,
                                    SIZE_MAX - 1, SIZE_MAX};

static bool is_refused(void *p) {
    bool refused = p == NULL && errno == ENOMEM;
    errno = 0;
    return refused;
}

void sizes_beyond_ptrdiff_max_are_refused_with_enomem(void) {
    errno = 0;
    for (size_t i = 0; i < sizeof IMPOSSIBLE / sizeof *IMPOSSIBLE; i++) {
        size_t bytes = opaque(IMPOSSIBLE[i]);
        CHECK(is_refused(malloc(bytes)));
        CHECK(is_refused(calloc(1, bytes)));
        CHECK(is_refused(realloc(opaque_pointer(NULL), bytes)));
        CHECK(is_refused(memalign(64, bytes)));
        CHECK(is_refused(aligned_alloc(4 * MIB, bytes)));
        CHECK(is_refused(valloc(bytes)));
        CHECK(is_refused(pvalloc(bytes)));
        void *p = &p;
        CHECK(posix_memalign(&p, 64, bytes) == ENOMEM && p == &p);
        errno = 0;
    }
}

void products_that_overflow_are_refused_with_enomem(void) {
    size_t half = opaque((size_t)1 << 33);
    void *block = get(8 * MIB);
    fill(block, 8 * MIB, 3);
    errno = 0;
    CHECK(is_refused(calloc(half, half)));
    CHECK(is_refused(calloc(opaque(SIZE_MAX), 2)));
    CHECK(is_refused(calloc(2, opaque(SIZE_MAX / 2 + 1))));
    CHECK(is_refused(reallocarray(opaque_pointer(NULL), half, half)));
    CHECK(is_refused(reallocarray(opaque_pointer(block), half, half)));
    CHECK(is_filled(block, 8 * MIB, 3));
    free(block);
}

void realloc_that_fails_leaves_the_block(void) {
    static const size_t sizes[] = {100, 8 * MIB};
    for (int i = 0; i < 2; i++) {
        void *p = get(sizes[i]);
        fill(p, sizes[i], 4);
        errno = 0;
        CHECK(is_refused(realloc(opaque_pointer(p), opaque(PTRDIFF_MAX))));
        CHECK(is_refused(realloc(opaque_pointer(p), opaque(SIZE_MAX))));
        CHECK(is_filled(p, sizes[i], 4));
        free(p);
    }
}

void realloc_to_no_bytes_frees(void) {
    CHECK(realloc(get(100), 0) == NULL);
    CHECK(realloc(get(8 * MIB), 0) == NULL);
    CHECK(reallocarray(get(8 * MIB), 0, 8) == NULL);
}

/* ---- alignment ---- */

void bad_alignments_are_refused_with_einval(void) {
    static const size_t bad[] = {0, 1, 2, 3, 4, 12, 24, 100, 4097};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        void *p = &p;
        errno = EDOM;
        CHECK(posix_memalign(&p, bad[i], 100) == EINVAL);
        CHECK(posix_memalign(&p, bad[i], 8 * MIB) == EINVAL);
        CHECK(p == &p && errno == EDOM);
    }
}

/* As in POSIX; libc itself sets errno here. */
void posix_memalign_that_fails_leaves_errno(void) {
    void *p = &p;
    errno = EDOM;
    CHECK(posix_memalign(&p, 64, opaque(SIZE_MAX)) == ENOMEM);
    CHECK(posix_memalign(&p, 64, opaque((size_t)1 << 46)) == ENOMEM);
    CHECK(p == &p && errno == EDOM);
}

/* As since 2.38 of libc; before, it rounded up. */
void aligned_alloc_wants_a_power_of_two(void) {
    static const size_t bad[] = {0, 3, 24, 4097};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 0;
        CHECK(aligned_alloc(opaque(bad[i]), 8 * MIB) == NULL && errno == EINVAL);
        errno = 0;
        CHECK(aligned_alloc(opaque(bad[i]), 96) == NULL && errno == EINVAL);
    }
    free(aligned_alloc(1, 100));
}

void memalign_rounds_an_alignment_up(void) {
    static const size_t odd[] = {0, 1, 3, 24, 100, 4097};
    static const size_t even[] = {1, 1, 4, 32, 128, 8192};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        void *small = memalign(opaque(odd[i]), 100);
        void *large = memalign(opaque(odd[i]), 8 * MIB);
        CHECK(is_aligned(small, even[i]) && is_aligned(large, even[i]));
        use(small, 100);
        use(large, 8 * MIB);
    }
    errno = 0;
    CHECK(memalign(opaque(SIZE_MAX), 100) == NULL && errno == EINVAL);
}

void blocks_are_aligned_as_asked(void) {
    for (size_t alignment = 8; alignment <= GIB; alignment *= 2) {
        void *small = NULL;
        void *large = NULL;
        CHECK(posix_memalign(&small, alignment, 100) == 0 && is_aligned(small, alignment));
        CHECK(posix_memalign(&large, alignment, 3 * MIB) == 0 && is_aligned(large, alignment));
        use(small, 100);
        use(large, 3 * MIB);
    }
}

void blocks_are_aligned_for_every_type(void) {
    for (size_t i = 2; i < SIZE_COUNT; i++) {
        void *p[] = {malloc(SIZES[i]), calloc(1, SIZES[i]), realloc(get(16), SIZES[i])};
        for (int j = 0; j < 3; j++) {
            CHECK(is_aligned(p[j], 16));
            free(p[j]);
        }
    }
}

void valloc_and_pvalloc_give_whole_pages(void) {
    static const size_t sizes[] = {1, 100, 4097, MIB - 1, MIB + 1, 8 * MIB + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *p = valloc(sizes[i]);
        CHECK(is_aligned(p, PAGE));
        use(p, sizes[i]);
        size_t pages = (sizes[i] + PAGE - 1) / PAGE * PAGE;
        p = pvalloc(sizes[i]);
        CHECK(is_aligned(p, PAGE) && malloc_usable_size(p) >= pages);
        use(p, pages);
    }
}

/* ---- size and errno ---- */

void all_of_the_usable_size_can_be_used(void) {
    unsigned char *blocks[SIZE_COUNT];
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        blocks[i] = get(SIZES[i]);
        size_t usable = malloc_usable_size(blocks[i]);
        CHECK(usable >= SIZES[i]);
        memset(blocks[i], (int)i, usable);
    }
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        size_t usable = malloc_usable_size(blocks[i]);
        CHECK(blocks[i][0] == i && memcmp(blocks[i], blocks[i] + 1, usable - 1) == 0);
        free(blocks[i]);
    }
    CHECK(malloc_usable_size(NULL) == 0);
}

void free_of_null_does_nothing(void) {
    errno = EDOM;
    free(opaque_pointer(NULL));
    CHECK(errno == EDOM);
}

void free_leaves_errno(void) {
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        void *p = get_touched(SIZES[i]);
        void *q = get(SIZES[i]);
        errno = EDOM;
        free(p);
        free(q);
        CHECK(errno == EDOM);
    }
}

void success_leaves_errno(void) {
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        errno = EDOM;
        void *p = malloc(SIZES[i]);
        void *q = calloc(1, SIZES[i]);
        p = realloc(p, SIZES[i] * 2);
        CHECK(p != NULL && q != NULL && errno == EDOM);
        free(p);
        free(q);
    }
}
