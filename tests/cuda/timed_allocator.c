/*
 * timed_allocator.c - an allocator for PyTorch (CUDAPluggableAllocator) that asks the driver for each
 * tensor, as PyTorch does without its cache, and knows how long that took.
 *
 * The work that a free waits for is waited for before it, and timed apart: the driver waits, and so does
 * the pool.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "cuda_hooks/cuda_abi.h"

/* Since the last call of timed_figures: of blocks of 1 MiB and more, and of smaller ones. */
struct timed_figures {
    uint64_t calls, ns;
    uint64_t small_calls, small_ns;
    uint64_t wait_ns;
};

static struct {
    CUresult (*allocate)(CUdeviceptr *address, size_t bytes);
    CUresult (*free)(CUdeviceptr address);
    CUresult (*wait)(void);
    CUresult (*current)(CUcontext *context);
    CUresult (*set_current)(CUcontext context);
    CUresult (*retain_primary)(CUcontext *context, CUdevice device);
} driver;

static struct timed_figures figures;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void find(void *library, const char *symbol, void *function) {
    void *found = dlsym(library, symbol);
    if (found == NULL) {
        abort();
    }
    memcpy(function, &found, sizeof found);
}

/* PyTorch has loaded the driver by now. */
static void find_driver(void) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == NULL) {
        abort();
    }
    find(library, "cuMemAlloc_v2", &driver.allocate);
    find(library, "cuMemFree_v2", &driver.free);
    find(library, "cuCtxSynchronize", &driver.wait);
    find(library, "cuCtxGetCurrent", &driver.current);
    find(library, "cuCtxSetCurrent", &driver.set_current);
    find(library, "cuDevicePrimaryCtxRetain", &driver.retain_primary);
}

/* A thread that has called nothing of the runtime yet has no context. */
static void have_context(int device) {
    CUcontext context = NULL;
    if (driver.current(&context) == CUDA_SUCCESS && context == NULL &&
        driver.retain_primary(&context, device) == CUDA_SUCCESS) {
        (void)driver.set_current(context);
    }
}

static void add(size_t bytes, uint64_t ns, uint64_t wait_ns) {
    (void)pthread_mutex_lock(&lock);
    int is_small = bytes < 1 << 20;
    figures.calls += !is_small;
    figures.ns += is_small ? 0 : ns;
    figures.small_calls += is_small;
    figures.small_ns += is_small ? ns : 0;
    figures.wait_ns += wait_ns;
    (void)pthread_mutex_unlock(&lock);
}

void *timed_malloc(ssize_t bytes, int device, void *stream);
void timed_free(void *p, ssize_t bytes, int device, void *stream);
void timed_figures(struct timed_figures *so_far);

void *timed_malloc(ssize_t bytes, int device, void *stream) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CUdeviceptr address = 0;
    void *p = NULL;
    (void)stream;
    (void)pthread_once(&once, find_driver);
    have_context(device);
    uint64_t start = now_ns();
    CUresult result = driver.allocate(&address, (size_t)bytes);
    add((size_t)bytes, now_ns() - start, 0);
    memcpy(&p, &address, sizeof p);
    return result == CUDA_SUCCESS ? p : NULL;
}

void timed_free(void *p, ssize_t bytes, int device, void *stream) {
    (void)stream;
    have_context(device);
    uint64_t start = now_ns();
    (void)driver.wait();
    uint64_t waited = now_ns();
    (void)driver.free((CUdeviceptr)(uintptr_t)p);
    add((size_t)bytes, now_ns() - waited, waited - start);
}

void timed_figures(struct timed_figures *so_far) {
    (void)pthread_mutex_lock(&lock);
    *so_far = figures;
    figures = (struct timed_figures){0};
    (void)pthread_mutex_unlock(&lock);
}
