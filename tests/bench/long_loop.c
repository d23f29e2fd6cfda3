/*
 * long_loop.c - what becomes of a process that goes on for long: 10^5 blocks of random sizes and
 * lifetimes, 16 of them live, and after each quarter the time of its steps, the mappings and
 * addresses that the process has by then, and its memory. All four should be level.
 */
#include "tests/bench/measure.h"

enum {
    STEPS = 100000,
    QUARTERS = 4,
    SLOTS = 16
};

/* Every power of two from 1 MiB to 32 MiB equally often, and up to twice that inside each. */
static size_t random_size(uint64_t random) {
    const size_t power = MIB << (random & 0xFFFF) % 6;
    return power + (random >> 16) % power;
}

/* Its first and last page, and a word in each 64 KiB: pages that come back one by one show here. */
static char *touch_here_and_there(char *p, size_t size) {
    for (size_t at = 0; at < size; at += 64 * KIB) {
        *(uint64_t *)(void *)(p + at) = at;
    }
    p[size - 1] = 1;
    return p;
}

static void steps(long count, uint64_t *state) {
    static char *slots[SLOTS];
    for (long i = 0; i < count; i++) {
        char **slot = &slots[(random_next(state) >> 40) % SLOTS];
        const size_t size = random_size(random_next(state));
        free(*slot);
        *slot = touch_here_and_there(malloc(size), size);
    }
}

static long mappings(void) {
    char text[16 * KIB];
    long lines = 0;
    ssize_t length;
    int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while ((length = read(file, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < length; i++) {
            lines += text[i] == '\n';
        }
    }
    close(file);
    return lines;
}

int main(void) {
    const long count = steps_wanted(STEPS) / QUARTERS;
    uint64_t state = 7;
    for (int quarter = 1; quarter <= QUARTERS; quarter++) {
        const double start = now_ns();
        steps(count, &state);
        const double ns = (now_ns() - start) / (double)count;
        printf(
            "{\"row\": \"quarter %d\", \"time\": %.6g, \"mappings\": %ld, \"addresses_mib\": %.1f, "
            "\"resident_mib\": %.1f}\n",
            quarter, ns, mappings(), proc_mib("/proc/self/status", "VmSize:"), resident_mib());
        fflush(stdout);
    }
    return 0;
}
