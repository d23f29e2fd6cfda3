/*
 * gather.c - a large block where only small ones are idle: 70 blocks of 2 to 3 MiB are filled and
 * freed, then 128 MiB are asked for, less than they have together, and touched. An allocator that
 * can hand out idle memory in another shape needs no fresh page for that, and grows by nothing.
 */
#include "tests/bench/measure.h"

enum {
    BLOCKS = 70
};
static const size_t asked = 128 * MIB;

static size_t random_size(uint64_t *state) {
    return 2 * MIB + random_next(state) % (MIB / PAGE + 1) * PAGE;
}

static void leave_idle_blocks(void) {
    static char *blocks[BLOCKS];
    uint64_t state = 7;
    for (int i = 0; i < BLOCKS; i++) {
        const size_t size = random_size(&state);
        blocks[i] = touch(malloc(size), 0, size);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}

int main(void) {
    leave_idle_blocks();
    const double before = resident_mib();
    struct usage start = usage_now(RUSAGE_SELF);
    char *p = malloc(asked);
    struct usage alone = usage_since(start, RUSAGE_SELF);
    touch(p, 0, asked);
    struct usage used = usage_since(start, RUSAGE_SELF);
    const double grown = resident_mib() - before;
    printf("{\"row\": \"malloc alone\", \"time\": %.6g}\n", alone.ns / 1e3);
    printf("{\"row\": \"malloc and touch\", \"time\": %.6g, \"faults\": %.6g, \"system_ms\": %.6g, "
           "\"peak_mib\": %.1f, \"grown_mib\": %.1f}\n",
           used.ns / 1e3, used.faults, used.system_ms, peak_mib(), grown);
    free(p);
    return 0;
}
