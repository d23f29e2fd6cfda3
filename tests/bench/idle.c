/*
 * idle.c - how long a process that does nothing any more keeps what it has freed: 400 MiB in blocks
 * of random large sizes are touched and freed, and from then on nothing is called but clocks and
 * /proc. The time is that after which at most 16 MiB were left above what was there before; 14 s,
 * as long as it looks, stand for never, in a quick look as well.
 */
#include "tests/bench/measure.h"

enum {
    MOST_BLOCKS = 400,
    SAMPLES = 140,
    SAMPLE_MS = 100,
    NEARLY_ALL_MIB = 16
};

/* Every power of two from 1 MiB to 32 MiB equally often, and up to twice that inside each. */
static size_t random_size(uint64_t *state) {
    const size_t power = MIB << random_next(state) % 6;
    return power + random_next(state) % power;
}

static void fill_and_free(size_t bytes) {
    static char *blocks[MOST_BLOCKS];
    uint64_t state = 7;
    int count = 0;
    for (size_t left = bytes, size; left >= MIB && count < MOST_BLOCKS; left -= size) {
        size = random_size(&state);
        size = size < left ? size : left;
        blocks[count++] = touch(malloc(size), 0, size);
    }
    while (count > 0) {
        free(blocks[--count]);
    }
}

static void sleep_until(double ns) {
    const double left = ns - now_ns();
    struct timespec t = {.tv_sec = (time_t)(left / 1e9), .tv_nsec = (long)left % 1000000000};
    if (left > 0) {
        nanosleep(&t, NULL);
    }
}

int main(void) {
    const double before = resident_mib();
    fill_and_free(400 * MIB);
    const double start = now_ns();
    const long samples = steps_wanted(SAMPLES);
    double excess = resident_mib() - before;
    long sample = 0;
    while (excess > NEARLY_ALL_MIB && sample < samples) {
        sample++;
        sleep_until(start + 1e6 * SAMPLE_MS * (double)sample);
        excess = resident_mib() - before;
    }
    if (excess > NEARLY_ALL_MIB) {
        sample = SAMPLES;
    }
    printf("{\"row\": \"\", \"time\": %.6g, \"excess_mib\": %.1f}\n",
           (double)(sample * SAMPLE_MS) / 1e3, excess);
    return 0;
}
