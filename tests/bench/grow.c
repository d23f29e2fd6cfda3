/*
 * grow.c - a buffer that grows by realloc and is filled as it grows, from cold, as a reader of
 * unknown length does it.
 *
 *     grow eighths    from 1 MiB to 1 GiB, by 1/8          grow steps    from 1 to 256 MiB, by 1 MiB
 */
#include "tests/bench/measure.h"

static size_t next_size(size_t size, int by_eighths) {
    return by_eighths ? (size + size / 8 + PAGE - 1) / PAGE * PAGE : size + MIB;
}

static char *touch(char *p, size_t from, size_t to) {
    for (size_t at = from; at < to; at += PAGE) {
        p[at] = 1;
    }
    return p;
}

int main(int argc, char **argv) {
    const int by_eighths = argc > 1 && strcmp(argv[1], "eighths") == 0;
    const size_t last_mib = (size_t)steps_wanted(by_eighths ? 1024 : 256), last = last_mib * MIB;
    char row[32];
    snprintf(row, sizeof row, "to %zu MiB", last_mib);
    struct usage start = usage_now(RUSAGE_SELF);
    char *p = touch(malloc(MIB), 0, MIB);
    for (size_t size = MIB, next; size < last; size = next) {
        next = next_size(size, by_eighths);
        char *grown = realloc(p, next);
        if (grown == NULL) {
            perror("realloc");
            return 1;
        }
        p = touch(grown, size, next);
    }
    keep(p);
    free(p);
    struct usage used = usage_since(start, RUSAGE_SELF);
    print_row(row, used.ns / 1e6, used, 1);
    return 0;
}
