/*
 * subject_recycling.c - what blocks contain, and how much is resident, while they lend each other
 * their pages.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/preload/subject.h"

/* ---- contents: in each page its number, and whose it is ---- */

static uint64_t word_of(uint64_t seed, size_t page) {
    return seed * UINT64_C(0x9e3779b97f4a7c15) + page;
}

static void mark(char *p, size_t from, size_t to, uint64_t seed) {
    for (size_t i = (from + PAGE - 1) / PAGE; i < to / PAGE; i++) {
        *(uint64_t *)(p + i * PAGE + seed % 500 * 8) = word_of(seed, i);
    }
}

static bool is_marked(const char *p, size_t bytes, uint64_t seed) {
    for (size_t i = 0; i < bytes / PAGE; i++) {
        if (*(const uint64_t *)(p + i * PAGE + seed % 500 * 8) != word_of(seed, i)) {
            return false;
        }
    }
    return true;
}

enum {
    THREADS = 4,
    SLOTS = 12
};

static uint64_t end_ms;

struct slot {
    char *p;
    size_t bytes;
    uint64_t seed;
};

static void take(struct slot *s, uint32_t *state) {
    s->seed = draw(state);
    s->bytes = MIB + draw(state) % (16 * MIB);
    switch (draw(state) % 3) {
    case 0:
        s->p = calloc(1, s->bytes);
        CHECK(s->p != NULL && is_zero(s->p, s->bytes));
        break;
    case 1: CHECK(posix_memalign((void **)&s->p, 64 * KIB, s->bytes) == 0); break;
    default: s->p = get(s->bytes);
    }
    mark(s->p, 0, s->bytes, s->seed);
}

static void resize(struct slot *s, uint32_t *state) {
    size_t bytes = MIB + draw(state) % (24 * MIB);
    s->p = realloc(s->p, bytes);
    CHECK(s->p != NULL && malloc_usable_size(s->p) >= bytes);
    size_t kept = bytes < s->bytes ? bytes : s->bytes;
    CHECK(is_marked(s->p, kept, s->seed));
    mark(s->p, kept / PAGE * PAGE, bytes, s->seed);
    s->bytes = bytes;
}

static void drop(struct slot *s) {
    CHECK(is_marked(s->p, s->bytes, s->seed));
    free(s->p);
    s->p = NULL;
}

static void *use_slots(void *argument) {
    struct slot slots[SLOTS] = {{0}};
    uint32_t state = (uint32_t)(uintptr_t)argument;
    while (clock_ms() < end_ms) {
        struct slot *s = &slots[draw(&state) % SLOTS];
        if (s->p == NULL) {
            take(s, &state);
        } else if (draw(&state) % 3 == 0) {
            resize(s, &state);
        } else {
            drop(s);
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].p != NULL) {
            drop(&slots[i]);
        }
    }
    return NULL;
}

/* For so many milliseconds as the argument says, if there is one. */
void four_threads_keep_their_contents(void) {
    const char *ms = subject_arguments[0];
    end_ms = clock_ms() + (ms != NULL ? strtoull(ms, NULL, 10) : 2000);
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, use_slots, (void *)(i + 1)) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* What was lent from a block that was full is zero for calloc, wherever it went. */
void calloc_is_zero_in_lent_pages(void) {
    for (size_t mib = 2; mib <= 256; mib = mib * 3 / 2) {
        char *blocks[40];
        for (int i = 0; i < 40; i++) {
            blocks[i] = get(5 * MIB / 2 + (size_t)i * 100 * KIB);
            memset(blocks[i], 0xff, 5 * MIB / 2 + (size_t)i * 100 * KIB);
        }
        for (int i = 0; i < 40; i++) {
            free(blocks[i]);
        }
        char *p = calloc(mib, MIB);
        CHECK(p != NULL && is_zero(p, mib * MIB));
        memset(p, 0xff, mib * MIB);
        free(p);
    }
}

/* ---- resident ---- */

void a_large_block_takes_the_pages_of_small_ones(void) {
    char *blocks[70];
    for (size_t i = 0; i < 70; i++) {
        blocks[i] = get_touched(2 * MIB + draw(&(uint32_t){(uint32_t)i + 1}) % MIB);
    }
    for (int i = 0; i < 70; i++) {
        free(blocks[i]);
    }
    size_t before = smaps_bytes("Rss:");
    char *p = get_touched(128 * MIB);
    CHECK(smaps_bytes("Rss:") <= before + 4 * MIB);
    CHECK(peak_resident_bytes() <= before + 8 * MIB);
    free(p);
}

/* Sizes in any order, that many MiB at most live at once; the peak of what was is returned. */
static size_t shuffle_sizes(size_t live_max, int steps) {
    struct slot slots[64] = {{0}};
    uint32_t state = 5;
    size_t live = 0;
    size_t peak = 0;
    for (int n = 0; n < steps; n++) {
        struct slot *s = &slots[draw(&state) % 64];
        if (s->p != NULL) {
            live -= s->bytes;
            free(s->p);
        }
        s->bytes = MIB + draw(&state) % (MIB << draw(&state) % 6);
        s->p = live + s->bytes <= live_max ? get_touched(s->bytes) : NULL;
        live += s->p != NULL ? s->bytes : 0;
        peak = live > peak ? live : peak;
    }
    for (int i = 0; i < 64; i++) {
        free(slots[i].p);
    }
    return peak;
}

/* The argument: at most so many MiB are live. */
void tell_peaks_of_shuffled_sizes(void) {
    size_t before = smaps_bytes("Rss:");
    size_t peak = shuffle_sizes(strtoull(subject_arguments[0], NULL, 10) * MIB, 3000);
    tell("live", peak);
    tell("resident", peak_resident_bytes() - before);
}

/* ---- forks while pages move ---- */

static char *steady[8];

/* The child's own requests take what its parent had idle, or was just moving. */
static void check_steady(void) {
    for (size_t i = 0; i < 8; i++) {
        CHECK(is_marked(steady[i], (i + 1) * 3 * MIB / 2, i));
    }
    struct slot own[SLOTS];
    uint32_t state = 7;
    for (int i = 0; i < SLOTS; i++) {
        take(&own[i], &state);
    }
    for (int i = 0; i < SLOTS; i++) {
        drop(&own[i]);
    }
    for (size_t i = 0; i < 8; i++) {
        CHECK(is_marked(steady[i], (i + 1) * 3 * MIB / 2, i));
    }
}

void forks_while_pages_move_lose_nothing(void) {
    pthread_t threads[2];
    end_ms = clock_ms() + 3000;
    for (uintptr_t i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, use_slots, (void *)(i + 1)) == 0);
    }
    while (clock_ms() < end_ms) {
        for (size_t i = 0; i < 8; i++) {
            steady[i] = get((i + 1) * 3 * MIB / 2);
            mark(steady[i], 0, (i + 1) * 3 * MIB / 2, i);
        }
        CHECK(in_child(check_steady) == 0);
        for (int i = 0; i < 8; i++) {
            free(steady[i]);
        }
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}
