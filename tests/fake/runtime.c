/*
 * runtime.c - a runtime library of a dozen functions that finds the driver as the real one does:
 *
 *   dlopen("libcuda.so.1"), dlsym("cuGetProcAddress_v2"), a question for the name "";
 *   then it asks for cuInit, for cuGetProcAddress of 11.3, and for that of 12.0, which from there
 *   on is the one it asks: a hook that does not answer with itself here sees nothing more;
 *   then for each function by base name, version and flags, without a place for the status;
 *   where the question for "" is refused as by a stub library, for each by dlsym of the full name.
 *
 * What it found is in the driver's own log. The functions bear the runtime's names and numbers.
 */
#include "cuda_hooks/cuda_abi.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    PORTABLE = CU_MEMHOSTALLOC_PORTABLE,
    INSUFFICIENT_DRIVER = 35,
    RUNTIME_VERSION = 13000,
    PER_THREAD = CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM
};

/* BIND(field, base name, suffix of the symbol, version asked for, flags, parameters) */
#define BINDINGS(BIND) \
    BIND(init, cuInit, , 2000, 0, (unsigned)) \
    BIND(version, cuDriverGetVersion, , 2020, 0, (int *)) \
    BIND(count, cuDeviceGetCount, , 2000, 0, (int *)) \
    BIND(retain, cuDevicePrimaryCtxRetain, , 7000, 0, (CUcontext *, CUdevice)) \
    BIND(reset, cuDevicePrimaryCtxReset, , 7000, 0, (CUdevice)) \
    BIND(set_current, cuCtxSetCurrent, , 4000, 0, (CUcontext)) \
    BIND(get_current, cuCtxGetCurrent, , 4000, 0, (CUcontext *)) \
    BIND(synchronize, cuCtxSynchronize, , 2000, 0, (void)) \
    BIND(alloc, cuMemAlloc, _v2, 3020, 0, (CUdeviceptr *, size_t)) \
    BIND(release, cuMemFree, _v2, 3020, 0, (CUdeviceptr)) \
    BIND(alloc_pitch, cuMemAllocPitch, _v2, 3020, 0, \
         (CUdeviceptr *, size_t *, size_t, size_t, unsigned)) \
    BIND(host_alloc, cuMemHostAlloc, , 2020, 0, (void **, size_t, unsigned)) \
    BIND(host_free, cuMemFreeHost, , 2000, 0, (void *)) \
    BIND(info, cuMemGetInfo, _v2, 3020, 0, (size_t *, size_t *)) \
    BIND(copy, cuMemcpy, , 4000, 0, (CUdeviceptr, CUdeviceptr, size_t)) \
    BIND(set, cuMemsetD8, _v2, 3020, 0, (CUdeviceptr, unsigned char, size_t)) \
    BIND(alloc_async, cuMemAllocAsync, , 11020, 0, (CUdeviceptr *, size_t, CUstream)) \
    BIND(free_async, cuMemFreeAsync, , 11020, 0, (CUdeviceptr, CUstream)) \
    BIND(alloc_async_ptsz, cuMemAllocAsync, _ptsz, 11020, PER_THREAD, \
         (CUdeviceptr *, size_t, CUstream)) \
    BIND(free_async_ptsz, cuMemFreeAsync, _ptsz, 11020, PER_THREAD, (CUdeviceptr, CUstream))

static struct {
#define FIELD(field, base, suffix, version, flags, parameters) CUresult(*field) parameters;
    BINDINGS(FIELD)
#undef FIELD
} driver;

typedef CUresult get_proc(const char *, void **, int, uint64_t, CUdriverProcAddressQueryResult *);

struct binding {
    void **place;
    const char *base, *symbol;
    int version;
    uint64_t flags;
};

static void bind_by_name(void *library, const struct binding *b) {
    *b->place = dlsym(library, b->symbol);
}

static void bind_by_version(get_proc *get, const struct binding *b) {
    if (get(b->base, b->place, b->version, b->flags, NULL) != CUDA_SUCCESS) {
        *b->place = NULL;
    }
}

/* NULL: the library has none that works, and is asked for every symbol. */
static get_proc *getter_of(void *library) {
    void *found = dlsym(library, "cuGetProcAddress_v2");
    get_proc *get = (get_proc *)(uintptr_t)found;
    if (get == NULL || get("", &found, 0, 0, NULL) == CUDA_ERROR_STUB_LIBRARY) {
        return NULL;
    }
    get("cuInit", &found, 2000, 0, NULL);
    get("cuGetProcAddress", &found, 11030, 0, NULL);
    get("cuGetProcAddress", &found, 12000, 0, NULL);
    return (get_proc *)(uintptr_t)found;
}

static bool bind(void) {
    const struct binding bindings[] = {
#define ROW(field, base, suffix, version, flags, parameters) \
    {(void **)(void *)&driver.field, #base, #base #suffix, version, flags},
        BINDINGS(ROW)
#undef ROW
    };
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return false;
    }
    get_proc *get = getter_of(library);
    for (size_t i = 0; i < sizeof(bindings) / sizeof(bindings[0]); i++) {
        get != NULL ? bind_by_version(get, &bindings[i]) : bind_by_name(library, &bindings[i]);
    }
    return driver.init != NULL && driver.version != NULL;
}

/* Binds and initialises once; afterwards sees to it that the thread has a context. */
static int ready(void) {
    static int state = -1;
    static CUcontext primary;
    if (state < 0) {
        int version = 0;
        state = !bind() || driver.version(&version) != CUDA_SUCCESS || version < RUNTIME_VERSION
                    ? INSUFFICIENT_DRIVER
                    : (int)driver.init(0);
    }
    CUcontext current = NULL;
    if (state != 0 || (driver.get_current(&current) == CUDA_SUCCESS && current != NULL)) {
        return state;
    }
    CUresult result = primary == NULL ? driver.retain(&primary, 0) : CUDA_SUCCESS;
    return result == CUDA_SUCCESS ? (int)driver.set_current(primary) : (int)result;
}

/* A runtime function: what the driver says, once there is a context. */
#define CALL(function, ...) \
    int error = ready(); \
    return error != 0 ? error : (int)driver.function(__VA_ARGS__)

#define RUNTIME(name, parameters) \
    EXPORT int name parameters; \
    int name parameters

RUNTIME(cudaGetDeviceCount, (int *count)) {
    CALL(count, count);
}

RUNTIME(cudaMalloc, (void **address, size_t size)) {
    if (size == 0) {
        *address = NULL;
        return 0;
    }
    CALL(alloc, (CUdeviceptr *)address, size);
}

RUNTIME(cudaMallocPitch, (void **address, size_t *pitch, size_t width, size_t height)) {
    CALL(alloc_pitch, (CUdeviceptr *)address, pitch, width, height, 4);
}

RUNTIME(cudaFree, (void *address)) {
    CALL(release, (CUdeviceptr)(uintptr_t)address);
}

RUNTIME(cudaHostAlloc, (void **address, size_t size, unsigned flags)) {
    CALL(host_alloc, address, size, flags | PORTABLE);
}

RUNTIME(cudaMallocHost, (void **address, size_t size)) {
    return cudaHostAlloc(address, size, 0);
}

RUNTIME(cudaFreeHost, (void *address)) {
    CALL(host_free, address);
}

RUNTIME(cudaMallocAsync, (void **address, size_t size, CUstream stream)) {
    CALL(alloc_async, (CUdeviceptr *)address, size, stream);
}

RUNTIME(cudaMallocAsync_ptsz, (void **address, size_t size, CUstream stream)) {
    CALL(alloc_async_ptsz, (CUdeviceptr *)address, size, stream);
}

RUNTIME(cudaFreeAsync, (void *address, CUstream stream)) {
    CALL(free_async, (CUdeviceptr)(uintptr_t)address, stream);
}

RUNTIME(cudaFreeAsync_ptsz, (void *address, CUstream stream)) {
    CALL(free_async_ptsz, (CUdeviceptr)(uintptr_t)address, stream);
}

RUNTIME(cudaMemGetInfo, (size_t * available, size_t *total)) {
    CALL(info, available, total);
}

RUNTIME(cudaMemcpy, (void *to, const void *from, size_t size, int kind)) {
    (void)kind;
    CALL(copy, (CUdeviceptr)(uintptr_t)to, (CUdeviceptr)(uintptr_t)from, size);
}

RUNTIME(cudaMemset, (void *address, int value, size_t size)) {
    CALL(set, (CUdeviceptr)(uintptr_t)address, (unsigned char)value, size);
}

RUNTIME(cudaDeviceSynchronize, (void)) {
    CALL(synchronize);
}

RUNTIME(cudaDeviceReset, (void)) {
    CALL(reset, 0);
}
