/* waiting.c - which work a free waits for: of its stream, another one, another context, another device. */
#include <pthread.h>
#include <time.h>

#include "tests/cuda/probe.h"

enum {
    WORK_MS = 200
};

struct free_of {
    CUdeviceptr device; /* or */
    void *pinned;
};

static struct free_of take(bool is_pinned) {
    struct free_of f = {0};
    if (is_pinned) {
        OK(gpu.cuMemHostAlloc(&f.pinned, 8 * MIB, 0));
    } else {
        f.device = gpu_take(8 * MIB);
    }
    return f;
}

/* With work under way: 1: the free took as long as that, 0: it did not. */
static int waits(struct free_of f) {
    double start = now_us();
    OK(f.pinned != NULL ? gpu.cuMemFreeHost(f.pinned) : gpu.cuMemFree_v2(f.device));
    return now_us() - start > WORK_MS * 1000 / 2;
}

static void tell_wait(const char *memory, const char *where, bool working, struct free_of f) {
    if (working) {
        (void)printf("waits_%s_%s %d\n", memory, where, waits(f));
        OK(gpu.cuCtxSynchronize());
    } else {
        (void)printf("waits_%s_%s unknown\n", memory, where);
    }
}

/* The block is the main context's, the work another's. */
static void tell_wait_for_context(const char *memory, const char *where, CUcontext other) {
    struct free_of f = take(memory[0] == 'p');
    OK(gpu.cuCtxSetCurrent(other));
    bool working = gpu_work(NULL, WORK_MS);
    OK(gpu.cuCtxSetCurrent(gpu.context));
    tell_wait(memory, where, working, f);
    OK(gpu.cuCtxSetCurrent(other));
    OK(gpu.cuCtxSynchronize());
    OK(gpu.cuCtxSetCurrent(gpu.context));
}

/* Block and work are the main context's, while another one is current. */
static void tell_wait_from_context(const char *memory, CUcontext other) {
    struct free_of f = take(memory[0] == 'p');
    bool working = gpu_work(NULL, WORK_MS);
    OK(gpu.cuCtxSetCurrent(other));
    tell_wait(memory, "own_context_from_another", working, f);
    OK(gpu.cuCtxSetCurrent(gpu.context));
    OK(gpu.cuCtxSynchronize());
}

static void *free_it(void *address) {
    OK(gpu.cuCtxSetCurrent(gpu.context));
    gpu_give(*(const CUdeviceptr *)address);
    return NULL;
}

/* While another thread's free waits: 1: an allocation waits as well. */
static void tell_allocation_beside_free(void) {
    static const struct timespec soon = {.tv_nsec = 20 * 1000000};
    pthread_t thread;
    CUdeviceptr freed = gpu_take(8 * MIB);
    if (!gpu_work(NULL, WORK_MS) || pthread_create(&thread, NULL, free_it, &freed) != 0) {
        return;
    }
    (void)nanosleep(&soon, NULL);
    double start = now_us();
    CUdeviceptr address = gpu_take(32 * MIB);
    (void)printf("waits_allocation_beside_free %d\n", now_us() - start > WORK_MS * 1000 / 2);
    (void)pthread_join(thread, NULL);
    gpu_give(address);
}

static void tell_waits(const char *memory, CUstream stream, CUcontext other, CUcontext far) {
    bool is_pinned = memory[0] == 'p';
    struct free_of f = take(is_pinned);
    tell_wait(memory, "legacy_stream", gpu_work(NULL, WORK_MS), f);
    f = take(is_pinned);
    tell_wait(memory, "non_blocking_stream", gpu_work(stream, WORK_MS), f);
    tell_wait_from_context(memory, other);
    tell_wait_for_context(memory, "other_context", other);
    if (far != NULL) {
        tell_wait_for_context(memory, "other_device", far);
    } else {
        (void)printf("waits_%s_other_device unknown\n", memory);
    }
}

void waiting(void) {
    CUcontext own = gpu_begin();
    CUstream stream = NULL;
    OK(gpu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUcontext other = gpu_context_on(0);
    CUcontext far = gpu.devices > 1 ? gpu_context_on(1) : NULL;
    OK(gpu.cuCtxSetCurrent(own));
    tell_waits("device", stream, other, far);
    tell_waits("pinned", stream, other, far);
    tell_allocation_beside_free();
}
