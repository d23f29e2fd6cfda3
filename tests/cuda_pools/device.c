#include "tests/cuda_pools/device.h"

#include <time.h>

struct fake_cuda *fake;

const CUstreamCaptureMode capture_modes[CAPTURE_MODES] = {CU_STREAM_CAPTURE_MODE_GLOBAL,
                                                          CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
                                                          CU_STREAM_CAPTURE_MODE_RELAXED};

CUcontext begin(void) {
    CUcontext context = NULL;
    fake = fake_cuda();
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    return context;
}

CUcontext context_on(CUdevice device) {
    CUcontext context = NULL;
    OK(cuCtxCreate_v2(&context, 0, device));
    return context;
}

CUcontext current(void) {
    CUcontext context = NULL;
    OK(cuCtxGetCurrent(&context));
    return context;
}

CUdeviceptr take(size_t size) {
    CUdeviceptr address = 0;
    OK(cuMemAlloc_v2(&address, size));
    CHECK(address != 0);
    return address;
}

void give(CUdeviceptr address) {
    OK(cuMemFree_v2(address));
}

void give_and_take(size_t size) {
    give(take(size));
}

void *take_pinned(size_t size, unsigned flags) {
    void *address = NULL;
    OK(cuMemHostAlloc(&address, size, flags));
    CHECK(address != NULL);
    return address;
}

void give_pinned(void *address) {
    OK(cuMemFreeHost(address));
}

void work_ms(unsigned milliseconds) {
    CHECK(fake->work(NULL, milliseconds * 1000ULL));
}

uint64_t allocations(void) {
    return fake->calls("cuMemAlloc_v2") + fake->calls("cuMemAllocPitch_v2");
}

uint64_t frees(void) {
    return fake->calls("cuMemFree_v2");
}

uint64_t pinned_allocations(void) {
    return fake->calls("cuMemHostAlloc") + fake->calls("cuMemAllocHost_v2");
}

uint64_t pinned_frees(void) {
    return fake->calls("cuMemFreeHost");
}

uint64_t waits(void) {
    static const char *const functions[] = {"cuCtxSynchronize", "cuCtxSynchronize_v2",
                                            "cuStreamSynchronize", "cuEventSynchronize"};
    uint64_t n = 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        n += fake->calls(functions[i]);
    }
    return n;
}

bool is_empty(void) {
    return fake->used(0) == 0;
}

CUstream capture(CUstreamCaptureMode mode) {
    CUstream stream = NULL;
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuStreamBeginCapture_v2(stream, mode));
    return stream;
}

void capture_ends_well(CUstream stream) {
    CUgraph graph = NULL;
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuStreamDestroy_v2(stream));
}

void sleep_ms(unsigned milliseconds) {
    struct timespec t = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) != 0) {
    }
}
