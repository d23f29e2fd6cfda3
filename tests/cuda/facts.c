/* facts.c - what this driver does, where no document tells, and the pools depend on it. */
#include <pthread.h>

#include "tests/cuda/probe.h"

struct variant {
    const char *symbol, *base;
    int version;
    uint64_t flags;
};

#define LEGACY CU_GET_PROC_ADDRESS_DEFAULT
#define PER_THREAD CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM
static const struct variant variants[] = {
#define DRIVER_PASS(symbol, base, introduced, streams, kind, parameters, arguments) \
    {#symbol, #base, introduced, streams},
#include "cuda_hooks/driver.def"
};

/* Whether what is exported is what cuGetProcAddress gives for the version that brought it. */
static void tell_addresses(void) {
    int same = 0;
    for (size_t i = 0; i < LENGTH(variants); i++) {
        const struct variant *v = &variants[i];
        void *exported = gpu_find(v->symbol);
        void *given = NULL;
        if (gpu.cuGetProcAddress(v->base, &given, v->version, v->flags) != CUDA_SUCCESS ||
            given != exported) {
            (void)printf("address_differs %s\n", v->symbol);
        } else {
            same++;
        }
    }
    (void)printf("same_addresses %d\n", same);
}

/* ---- costs ---- */

static CUresult wait_for_nothing(void) {
    return gpu.cuCtxSynchronize();
}

static CUresult ask_for_context(void) {
    CUcontext context = NULL;
    return gpu.cuCtxGetCurrent(&context);
}

static CUresult ask_for_memory(void) {
    size_t free_bytes = 0;
    size_t bytes = 0;
    return gpu.cuMemGetInfo_v2(&free_bytes, &bytes);
}

/* What pools call beside allocations and frees, while the device has nothing to do. */
static void tell_costs(void) {
    enum {
        BATCHES = 21,
        CALLS = 200
    };
    static const struct {
        const char *name;
        CUresult (*call)(void);
    } costs[] = {{"idle_wait_us", wait_for_nothing},
                 {"current_context_us", ask_for_context},
                 {"memory_info_us", ask_for_memory}};
    double us[BATCHES];
    for (size_t i = 0; i < LENGTH(costs); i++) {
        for (int batch = 0; batch < BATCHES; batch++) {
            double start = now_us();
            for (int n = 0; n < CALLS; n++) {
                OK(costs[i].call());
            }
            us[batch] = (now_us() - start) / CALLS;
        }
        (void)printf("%s %.3f\n", costs[i].name, median(us, BATCHES));
    }
}

/* ---- captures ---- */

/* What a call answers while a stream is captured, and what becomes of the capture. */
struct in_capture {
    const char *name;
    CUresult (*call)(void);
    CUresult result;
};

static CUdeviceptr spare; /* was there before the capture began */

static CUresult allocate_in_capture(void) {
    CUdeviceptr address = 0;
    return gpu.cuMemAlloc_v2(&address, 8 * MIB);
}

static CUresult free_in_capture(void) {
    CUdeviceptr address = spare;
    spare = 0;
    return gpu.cuMemFree_v2(address);
}

static void *call_by_other(void *argument) {
    struct in_capture *c = argument;
    OK(gpu.cuCtxSetCurrent(gpu.context));
    c->result = c->call();
    return NULL;
}

static void *call_by_relaxed(void *argument) {
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    OK(gpu.cuThreadExchangeStreamCaptureMode(&mode));
    return call_by_other(argument);
}

static void tell_in_capture(CUstreamCaptureMode mode, struct in_capture c,
                            void *(*thread_main)(void *)) {
    CUstream stream = NULL;
    CUgraph graph = NULL;
    pthread_t thread;
    spare = gpu_take(8 * MIB);
    OK(gpu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(gpu.cuStreamBeginCapture_v2(stream, mode));
    if (thread_main == NULL || pthread_create(&thread, NULL, thread_main, &c) != 0) {
        c.result = c.call();
    } else {
        (void)pthread_join(thread, NULL);
    }
    CUresult ended = gpu.cuStreamEndCapture(stream, &graph);
    (void)printf(" %d,%d", (int)c.result, (int)ended);
    (void)gpu.cuStreamDestroy_v2(stream);
    if (spare != 0) {
        gpu_give(spare);
    }
}

/* By the capturing thread, by another one, and by another one that has relaxed its own mode. */
static void tell_captures(void) {
    static const struct in_capture calls[] = {{.name = "wait", .call = wait_for_nothing},
                                              {.name = "allocation", .call = allocate_in_capture},
                                              {.name = "free", .call = free_in_capture},
                                              {.name = "memory_info", .call = ask_for_memory},
                                              {.name = "current", .call = ask_for_context}};
    static const char *const modes[] = {"global", "thread_local", "relaxed"};
    for (int mode = 0; mode < (int)LENGTH(modes); mode++) {
        for (size_t i = 0; i < LENGTH(calls); i++) {
            (void)printf("in_%s_capture_%s_by_same_other_relaxed", modes[mode], calls[i].name);
            tell_in_capture((CUstreamCaptureMode)mode, calls[i], NULL);
            tell_in_capture((CUstreamCaptureMode)mode, calls[i], call_by_other);
            tell_in_capture((CUstreamCaptureMode)mode, calls[i], call_by_relaxed);
            (void)printf("\n");
        }
    }
}

/* ---- memory ---- */

static size_t free_bytes_now(void) {
    size_t free_bytes = 0;
    size_t bytes = 0;
    OK(gpu.cuMemGetInfo_v2(&free_bytes, &bytes));
    return free_bytes;
}

/* What an allocation of that size costs the device, and on what it begins at least. */
static void tell_footprint(size_t bytes) {
    enum {
        BLOCKS = 32
    };
    CUdeviceptr blocks[BLOCKS];
    CUdeviceptr all = 0;
    size_t before = free_bytes_now();
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = gpu_take(bytes);
        all |= blocks[i];
    }
    size_t after = free_bytes_now();
    (void)printf("footprint_kib_of_%zukib %zu\n", bytes / KIB, (before - after) / BLOCKS / KIB);
    (void)printf("aligned_kib_of_%zukib %zu\n", bytes / KIB, (size_t)(all & -all) / KIB);
    for (int i = 0; i < BLOCKS; i++) {
        gpu_give(blocks[i]);
    }
}

static void tell_pitch(size_t width) {
    CUdeviceptr address = 0;
    size_t pitch = 0;
    OK(gpu.cuMemAllocPitch_v2(&address, &pitch, width, 1024, 4));
    (void)printf("pitch_of_%zu %zu\n", width, pitch);
    gpu_give(address);
}

/* Of a size that is no round number; whether it is where one was freed; whether that was cleared. */
static void tell_of_memory_again(void) {
    enum {
        WRITTEN = 0x5a5a5a5a
    };
    const size_t bytes = 8 * MIB + 1;
    const uint32_t written = WRITTEN;
    uint32_t found = 0;
    CUdeviceptr base = 0;
    size_t range = 0;
    CUdeviceptr first = gpu_take(bytes);
    OK(gpu.cuMemGetAddressRange_v2(&base, &range, first + MIB));
    (void)printf("range_is_of_the_requested_size %d\n", base == first && range == bytes);
    OK(gpu.cuMemcpyHtoD_v2(first, &written, sizeof written));
    gpu_give(first);
    CUdeviceptr second = gpu_take(bytes);
    OK(gpu.cuMemcpyDtoH_v2(&found, second, sizeof found));
    (void)printf("freed_address_comes_again %d\nfreed_memory_is_cleared %d\n", first == second,
                 found != written);
    gpu_give(second);
}

static void tell_memory(void) {
    static const size_t sizes[] = {64 * KIB,      MIB,           5 * MIB / 4, 3 * MIB / 2,
                                   2 * MIB - KIB, 2 * MIB,       9 * MIB / 4, 3 * MIB,
                                   5 * MIB - KIB, 10 * MIB + KIB};
    static const size_t widths[] = {1, 513, 1000, 5000, 100000};
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        tell_footprint(sizes[i]);
    }
    for (size_t i = 0; i < LENGTH(widths); i++) {
        tell_pitch(widths[i]);
    }
    tell_of_memory_again();
}

void device(void) {
    int version = 0;
    char name[128] = "";
    char pci_address[16] = "";
    (void)gpu_begin();
    OK(gpu.cuDriverGetVersion(&version));
    OK(gpu.cuDeviceGetName(name, sizeof name - 1, 0));
    OK(gpu.cuDeviceGetPCIBusId(pci_address, sizeof pci_address, 0));
    (void)printf("device %s\ndriver %d\ndevices %d\npci_address %s\nstand_in %d\n", name, version,
                 gpu.devices, pci_address, gpu.stand_in != NULL);
}

void facts(void) {
    (void)gpu_begin();
    (void)printf("kernels %d\n", gpu_work(NULL, 1));
    OK(gpu.cuCtxSynchronize());
    tell_addresses();
    tell_costs();
    tell_memory();
    tell_captures();
}
