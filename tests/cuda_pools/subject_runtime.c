/* subject_runtime.c - the same through the runtime, and what a report is made of. */
#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>

#include "tests/cuda_pools/device.h"

static struct {
    int (*alloc)(void **, size_t);
    int (*alloc_pitch)(void **, size_t *, size_t, size_t);
    int (*free)(void *);
    int (*alloc_host)(void **, size_t);
    int (*free_host)(void *);
    int (*info)(size_t *, size_t *);
    int (*reset)(void);
} cuda;

static void find(void *library, const char *name, void *place) {
    void *function = dlsym(library, name);
    CHECK(function != NULL);
    memcpy(place, &function, sizeof function);
}

static void open_runtime(void) {
    fake = fake_cuda();
    void *library = dlopen("libcudart_fake.so", RTLD_NOW);
    CHECK(library != NULL);
    find(library, "cudaMalloc", &cuda.alloc);
    find(library, "cudaMallocPitch", &cuda.alloc_pitch);
    find(library, "cudaFree", &cuda.free);
    find(library, "cudaMallocHost", &cuda.alloc_host);
    find(library, "cudaFreeHost", &cuda.free_host);
    find(library, "cudaMemGetInfo", &cuda.info);
    find(library, "cudaDeviceReset", &cuda.reset);
}

static void give_and_take_by_the_runtime(void) {
    void *address = NULL;
    OK(cuda.alloc(&address, 8 * MIB));
    OK(cuda.free(address));
}

void a_loop_of_the_runtime_asks_the_driver_once(void) {
    open_runtime();
    give_and_take_by_the_runtime();
    fake->forget();
    for (int i = 0; i < 100; i++) {
        give_and_take_by_the_runtime();
    }
    CHECK(allocations() == 0 && frees() == 0);
    size_t available = 0;
    size_t total = 0;
    OK(cuda.info(&available, &total));
    CHECK(available == total);
    OK(cuda.free(NULL));
}

void pitched_memory_of_the_runtime_is_pooled(void) {
    open_runtime();
    void *address = NULL;
    size_t pitch = 0;
    for (int i = 0; i < 100; i++) {
        OK(cuda.alloc_pitch(&address, &pitch, 1000, 4000));
        CHECK(pitch == 1024);
        OK(cuda.free(address));
    }
    CHECK(allocations() <= 2 && frees() <= 1);
}

void pinned_memory_of_the_runtime_is_pooled(void) {
    open_runtime();
    void *address = NULL;
    for (int i = 0; i < 100; i++) {
        OK(cuda.alloc_host(&address, 8 * MIB));
        OK(cuda.free_host(address));
    }
    CHECK(pinned_allocations() == 1 && pinned_frees() == 0);
}

void a_reset_of_the_runtime_forgets(void) {
    open_runtime();
    give_and_take_by_the_runtime();
    OK(cuda.reset());
    CHECK(is_empty());
}

/* ---- statistics ---- */

void make_twenty_requests_of_each_kind(void) {
    (void)begin();
    for (int i = 0; i < 20; i++) {
        give_and_take(8 * MIB);
        give_pinned(take_pinned(8 * MIB, 0));
    }
    tell("device_allocations", allocations());
    tell("pinned_allocations", pinned_allocations());
    tell("waits", waits());
}

static uint64_t successes(const char *symbol) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < fake->logged; i++) {
        n += strcmp(fake->log[i].symbol, symbol) == 0 && fake->log[i].result == CUDA_SUCCESS;
    }
    return n;
}

static uint64_t us_inside(const char *symbol) {
    uint64_t ns = 0;
    for (uint64_t i = 0; i < fake->logged; i++) {
        const struct fake_cuda_call *call = &fake->log[i];
        ns += strcmp(call->symbol, symbol) == 0 ? call->end_ns - call->begin_ns : 0;
    }
    return ns / 1000;
}

/* Two hits; a block that is waited for, one that is shown to others, and two that are trimmed. */
void make_requests_of_every_fate(void) {
    (void)begin();
    CUdeviceptr blocks[] = {take(8 * MIB), take(16 * MIB), take(32 * MIB)};
    CUipcMemHandle handle;
    work_ms(30);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        give(blocks[i]);
    }
    give_and_take(8 * MIB);
    CUdeviceptr shown = take(16 * MIB);
    OK(cuIpcGetMemHandle(&handle, shown));
    give(shown);
    uint64_t used = fake->used(0);
    (void)malloc_trim(0);
    tell("trimmed", used - fake->used(0));
    tell("allocations", successes("cuMemAlloc_v2"));
    tell("frees", successes("cuMemFree_v2"));
    tell("waits", waits());
    tell("wait_us", us_inside("cuCtxSynchronize"));
}

/* What it has handed out, while some of it is live and some idle. */
void tell_what_the_driver_counts(void) {
    enum {
        BLOCKS = 24
    };
    CUdeviceptr blocks[BLOCKS];
    uint32_t state = 7;
    size_t asked = 0;
    (void)begin();
    uint64_t before = fake->used(0);
    for (int i = 0; i < BLOCKS; i++) {
        size_t bytes = (1 + draw(&state) % 40) * MIB;
        blocks[i] = take(bytes);
        asked += i % 3 != 0 ? bytes : 0;
    }
    for (int i = 0; i < BLOCKS; i += 3) {
        give(blocks[i]);
    }
    tell("used", fake->used(0) - before);
    tell("asked", asked);
    CHECK(raise(SIGUSR1) == 0);
}

/* One of each reason why a pool does not, and one that the driver refuses as well. */
void make_requests_that_the_driver_serves(void) {
    (void)begin();
    give_and_take(2 * MIB);
    fake->knobs.memory = 64 * MIB;
    give(take(512 * KIB));
    CUstream stream = capture(CU_STREAM_CAPTURE_MODE_RELAXED);
    CUdeviceptr captured = take(8 * MIB);
    capture_ends_well(stream);
    give(captured);
    CUdeviceptr address = 0;
    OK(cuMemAllocAsync(&address, 4 * MIB, NULL));
    REFUSED(cuMemAlloc_v2(&address, 128 * MIB), CUDA_ERROR_OUT_OF_MEMORY);
    size_t free_bytes = 0;
    size_t bytes = 0;
    OK(cuMemGetInfo_v2(&free_bytes, &bytes));
    tell("free", free_bytes);
}

/* A context that shows its memory to another one, and one that fails. */
void make_requests_of_contexts_that_keep_nothing(void) {
    CUcontext first = begin();
    CUcontext second = context_on(1);
    OK(cuCtxEnablePeerAccess(first, 0));
    OK(cuCtxPopCurrent_v2(NULL));
    give(take(8 * MIB));
    OK(cuCtxSetCurrent(second));
    CUdeviceptr address = take(8 * MIB);
    fake->fail("cuCtxSynchronize", 1, CUDA_ERROR_NOT_PERMITTED);
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_NOT_PERMITTED);
    give(take(8 * MIB));
}
