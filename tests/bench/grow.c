/*
 * grow.c - a buffer that realloc makes larger, filled as it grows, from cold, as a reader of unknown
 * length does it; or smaller, from one that is full.
 *
 *     grow eighths    from 1 MiB to 1 GiB, by 1/8          grow steps    from 1 to 256 MiB, by 1 MiB
 *     grow shrink     from 1 GiB to 1 MiB, by 1/8
 */
#include "tests/bench/measure.h"

/* The next size of a row of them; the last one stops it. */
typedef size_t row_of_sizes(size_t size);

static size_t whole_pages(size_t size) {
    return (size + PAGE - 1) / PAGE * PAGE;
}

static size_t more_by_eighths(size_t size) {
    return whole_pages(size + size / 8);
}

static size_t more_by_steps(size_t size) {
    return size + MIB;
}

static size_t less_by_eighths(size_t size) {
    size_t next = whole_pages(size - size / 8);
    return next < MIB ? MIB : next;
}

static char *resize(char *p, size_t size) {
    char *resized = realloc(p, size);
    if (resized == NULL) {
        perror("realloc");
        exit(1);
    }
    return resized;
}

static void grow(size_t last, row_of_sizes *next_size) {
    char row[32];
    snprintf(row, sizeof row, "to %zu MiB", last / MIB);
    struct usage start = usage_now(RUSAGE_SELF);
    char *p = touch(malloc(MIB), 0, MIB);
    for (size_t size = MIB, next; size < last; size = next) {
        next = next_size(size);
        p = touch(resize(p, next), size, next);
    }
    keep(p);
    free(p);
    struct usage used = usage_since(start, RUSAGE_SELF);
    print_row(row, used.ns / 1e6, used, 1);
}

/* What stays resident with the last MiB tells whether the rest went back, and so what it cost. */
static void shrink(size_t first) {
    char *p = touch(malloc(first), 0, first);
    struct usage start = usage_now(RUSAGE_SELF);
    for (size_t size = first; size > MIB;) {
        size = less_by_eighths(size);
        p = resize(p, size);
    }
    struct usage used = usage_since(start, RUSAGE_SELF);
    printf("{\"row\": \"from %zu MiB\", \"time\": %.6g, \"faults\": %.6g, \"system_ms\": %.6g, "
           "\"peak_mib\": %.1f, \"resident_mib\": %.1f}\n",
           first / MIB, used.ns / 1e6, used.faults, used.system_ms, peak_mib(), resident_mib());
    free(p);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    const size_t gib = (size_t)steps_wanted(1024) * MIB;
    if (strcmp(how, "shrink") == 0) {
        shrink(gib);
    } else if (strcmp(how, "eighths") == 0) {
        grow(gib, more_by_eighths);
    } else {
        grow(gib / 4, more_by_steps);
    }
    return 0;
}
