/* latency.c - how long the driver takes for device and pinned memory, or the pools in its place. */
#include <malloc.h>

#include "tests/cuda/probe.h"

enum {
    ROUNDS = 50,
    BUSY_MS = 5
};

static const size_t sizes[] = {64 * KIB, MIB, 2 * MIB, 8 * MIB, 64 * MIB, 256 * MIB, GIB};

/* Before each pair: nothing is idle, so that it is a miss; a kernel has begun to run. */
struct state {
    const char *name;
    bool trimmed, busy;
};
static const struct state states[] = {
    {"hit", false, false}, {"miss", true, false}, {"busy", false, true}};

struct pair_times {
    double allocation[ROUNDS], free[ROUNDS], both[ROUNDS];
};

static void time_pair(struct pair_times *t, int i, size_t bytes) {
    double start = now_us();
    CUdeviceptr address = gpu_take(bytes);
    double between = now_us();
    gpu_give(address);
    t->free[i] = now_us() - between;
    t->allocation[i] = between - start;
    t->both[i] = t->free[i] + t->allocation[i];
}

static void tell_pair(size_t bytes, struct state state) {
    struct pair_times t;
    gpu_give(gpu_take(bytes));
    for (int i = 0; i < ROUNDS; i++) {
        (void)(state.trimmed && malloc_trim(0));
        if (state.busy && !gpu_work(NULL, BUSY_MS)) {
            return;
        }
        time_pair(&t, i, bytes);
    }
    (void)printf("pair_us_%zukib_%s %.2f\n", bytes / KIB, state.name, median(t.both, ROUNDS));
    (void)printf("allocation_us_%zukib_%s %.2f\n", bytes / KIB, state.name,
                 median(t.allocation, ROUNDS));
    (void)printf("free_us_%zukib_%s %.2f\n", bytes / KIB, state.name, median(t.free, ROUNDS));
}

void latency(void) {
    (void)gpu_begin();
    for (size_t i = 0; i < LENGTH(states); i++) {
        for (size_t j = 0; j < LENGTH(sizes); j++) {
            tell_pair(sizes[j], states[i]);
        }
    }
}

static double pinned_pair_us(size_t bytes) {
    double times[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        void *address = NULL;
        double start = now_us();
        OK(gpu.cuMemHostAlloc(&address, bytes, CU_MEMHOSTALLOC_PORTABLE));
        OK(gpu.cuMemFreeHost(address));
        times[i] = now_us() - start;
    }
    return median(times, ROUNDS);
}

void pinned_latency(void) {
    (void)gpu_begin();
    for (size_t bytes = MIB; bytes <= 64 * MIB; bytes *= 4) {
        (void)printf("pinned_pair_us_%zukib %.2f\n", bytes / KIB, pinned_pair_us(bytes));
    }
}
