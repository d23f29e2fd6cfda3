/*
 * churn.c - a program with 300 MiB in large blocks of all sizes, which come and go.
 *
 *     churn OPERATIONS
 *
 * An operation is a malloc of 1 to 40 MiB, after as many blocks, chosen at random, were freed as
 * must be for it. Every page is written at once, and is still so when its block is freed: if not,
 * the program says where and exits with 1. It prints how many operations it did in a second.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)

enum {
    SLOTS = 300 /* no block is smaller than 1 MiB */
};

static const size_t LIVE_MAX = 300 * MIB;
static const size_t BLOCK_MIN = 1 * MIB;
static const size_t BLOCK_MAX = 40 * MIB;

struct slot {
    char *address;
    size_t bytes;
    uint64_t mark;
};

static struct slot slots[SLOTS];
static size_t slot_count;
static size_t live_bytes;

/* Xorshift, by Marsaglia (2003): the same numbers everywhere. */
static uint64_t chance(uint64_t n) {
    static uint64_t state = 88172645463325252U;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
}

static volatile uint64_t *word_of_page(const struct slot *s, size_t offset) {
    return (volatile uint64_t *)(s->address + offset);
}

static void write_pages(const struct slot *s) {
    for (size_t offset = 0; offset < s->bytes; offset += PAGE) {
        *word_of_page(s, offset) = s->mark + offset;
    }
}

static void check_pages(const struct slot *s) {
    for (size_t offset = 0; offset < s->bytes; offset += PAGE) {
        if (*word_of_page(s, offset) != s->mark + offset) {
            (void)fprintf(stderr, "a block of %zu bytes changed at %zu\n", s->bytes, offset);
            exit(EXIT_FAILURE);
        }
    }
}

static void drop_any(void) {
    struct slot *s = &slots[chance(slot_count)];
    check_pages(s);
    free(s->address);
    live_bytes -= s->bytes;
    *s = slots[--slot_count];
}

/* Sizes are whole words, so that the last page has one, too. */
static void operate(uint64_t mark) {
    size_t bytes = BLOCK_MIN + chance(BLOCK_MAX - BLOCK_MIN) / sizeof mark * sizeof mark;
    while (live_bytes + bytes > LIVE_MAX) {
        drop_any();
    }
    struct slot *s = &slots[slot_count++];
    *s = (struct slot){.address = malloc(bytes), .bytes = bytes, .mark = mark << 32};
    if (s->address == NULL) {
        (void)fprintf(stderr, "%zu bytes were refused\n", bytes);
        exit(EXIT_FAILURE);
    }
    live_bytes += bytes;
    write_pages(s);
}

static double now_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    uint64_t operations = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
    if (operations == 0) {
        (void)fprintf(stderr, "usage: churn OPERATIONS\n");
        return 2;
    }
    double began = now_s();
    for (uint64_t i = 0; i < operations; i++) {
        operate(i + 1);
    }
    (void)printf("%.0f operations per second\n", (double)operations / (now_s() - began));
    while (slot_count > 0) {
        drop_any();
    }
    return EXIT_SUCCESS;
}
