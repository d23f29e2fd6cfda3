/*
 * subject_resizing.c - realloc that moves pages, and calloc that has to be zero without touching them:
 * contents in each page, and how much is resident meanwhile.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "tests/preload/subject.h"

static size_t mapped(void) {
    return smaps_bytes("Rss:");
}

/* ---- realloc ---- */

static void mark(char *p, size_t from, size_t to) {
    for (size_t i = (from + PAGE - 1) / PAGE; i < to / PAGE; i++) {
        *(size_t *)(p + i * PAGE + i % 500 * 8) = i + 1;
    }
}

static bool is_marked(const char *p, size_t bytes) {
    for (size_t i = 0; i < bytes / PAGE; i++) {
        if (*(const size_t *)(p + i * PAGE + i % 500 * 8) != i + 1) {
            return false;
        }
    }
    return true;
}

/* All that it had is there, all that it has can be used. */
static char *resize(char *p, size_t old, size_t new) {
    p = realloc(p, new);
    CHECK(p != NULL && malloc_usable_size(p) >= new);
    CHECK(is_marked(p, old < new ? old : new));
    mark(p, old < new ? old / PAGE *PAGE : 0, new);
    return p;
}

enum {
    LARGEST = 300
};

static char *grow(char *p, size_t *bytes) {
    while (*bytes < LARGEST * MIB) {
        size_t more = *bytes + *bytes / 8;
        p = resize(p, *bytes, more);
        *bytes = more;
    }
    return p;
}

static char *shrink(char *p, size_t *bytes) {
    while (*bytes > MIB) {
        size_t less = *bytes - *bytes / 8;
        p = resize(p, *bytes, less);
        *bytes = less;
    }
    return p;
}

void realloc_grows_by_eighths_and_shrinks_back(void) {
    for (int round = 0; round < 3; round++) {
        char *p = NULL;
        CHECK(posix_memalign((void **)&p, PAGE << round, MIB) == 0);
        mark(p, 0, MIB);
        size_t bytes = MIB;
        p = grow(p, &bytes);
        p = shrink(p, &bytes);
        CHECK(is_marked(p, bytes));
        free(p);
    }
}

/* Not even for a moment, as the peak tells; and what is cut off is of use to others, or gone. */
void realloc_needs_no_second_copy(void) {
    size_t before = mapped();
    size_t bytes = MIB;
    char *p = get_touched(bytes);
    mark(p, 0, bytes);
    while (bytes < LARGEST * MIB) {
        p = resize(p, bytes, bytes + bytes / 8);
        bytes += bytes / 8;
        CHECK(mapped() <= before + bytes + 16 * MIB);
    }
    CHECK(peak_resident_bytes() <= before + bytes + 16 * MIB);
    while (bytes > 100 * MIB) {
        p = resize(p, bytes, bytes - bytes / 8);
        bytes -= bytes / 8;
    }
    char *other = get_touched(180 * MIB);
    CHECK(mapped() <= before + 16 * MIB + LARGEST * 9 / 8 * MIB);
    CHECK(is_marked(p, bytes));
    free(other);
    (void)malloc_trim(0);
    CHECK(mapped() <= before + bytes + 16 * MIB);
    CHECK(is_marked(p, bytes));
    free(p);
}

/* In one step, and in place. */
void a_shrunk_block_gives_up_the_rest(void) {
    size_t before = mapped();
    char *p = get_touched(256 * MIB);
    mark(p, 0, 256 * MIB);
    p = resize(p, 256 * MIB, 64 * MIB);
    char *other = get(190 * MIB);
    size_t faults = page_faults();
    touch(other, 190 * MIB);
    tell("faults", page_faults() - faults);
    CHECK(mapped() <= before + 264 * MIB);
    free(other);
    (void)malloc_trim(0);
    CHECK(mapped() <= before + 68 * MIB);
    CHECK(is_marked(p, 64 * MIB));
    free(p);
}

/* ---- calloc ---- */

static void free_dirty_blocks(size_t mib) {
    char *blocks[64];
    size_t count = mib / 10;
    for (size_t i = 0; i < count; i++) {
        blocks[i] = get(10 * MIB);
        memset(blocks[i], 0xff, 10 * MIB);
    }
    for (size_t i = 0; i < count; i++) {
        free(blocks[i]);
    }
}

/* Zero in a page of every so often, and resident only there. */
static void use_sparsely(size_t bytes) {
    size_t before = mapped();
    char *p = calloc(1, bytes);
    CHECK(p != NULL);
    CHECK(mapped() <= before + 4 * MIB);
    for (size_t i = 0; i < bytes; i += bytes / 8) {
        CHECK(is_zero(p + i, PAGE));
        p[i] = 1;
    }
    CHECK(is_zero(p + bytes - PAGE, PAGE));
    CHECK(mapped() <= before + 24 * MIB);
    free(p);
}

/* More than what is idle, and not so much that the kernel refuses it. */
static size_t large_part_of_memory(void) {
    struct sysinfo info;
    CHECK(sysinfo(&info) == 0);
    size_t half = (size_t)info.totalram * info.mem_unit / 2 / MIB * MIB;
    return half < 4 * GIB ? half : 4 * GIB;
}

void a_sparse_calloc_takes_no_idle_pages(void) {
    free_dirty_blocks(600);
    use_sparsely(600 * MIB);
    free_dirty_blocks(640);
    use_sparsely(large_part_of_memory());
    use_sparsely(large_part_of_memory());
    use_sparsely(600 * MIB);
}

/* A large block that was full is its own neighbour's source of pages. */
void a_sparse_calloc_of_a_dirty_block_takes_no_pages(void) {
    char *p = get(700 * MIB);
    memset(p, 0xff, 700 * MIB);
    free(p);
    use_sparsely(700 * MIB);
    use_sparsely(600 * MIB);
    p = calloc(1, 700 * MIB);
    CHECK(p != NULL && is_zero(p, 700 * MIB));
    free(p);
}
