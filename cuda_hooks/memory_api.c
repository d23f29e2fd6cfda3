/*
 * memory_api.c - the driver's functions that allocate and free what our pools hold, or make host memory known.
 *
 * Whatever a pool cannot serve is asked of the driver, so that errors are the driver's own.
 */
#include <string.h>

#include "cuda_hooks/cuda_pools.h"
#include "cuda_hooks/driver.h"
#include "cuda_hooks/driver_api.h"
#include "cuda_hooks/registrations.h"
#include "pool/live.h"

/* ---- device memory ---- */

/* One that is small is counted. */
static bool is_large(size_t bytes, size_t threshold) {
    if (bytes < threshold) {
        live_tally(DRIVER_SMALL_REQUESTS, 1);
        live_tally(DRIVER_SMALL_BYTES, bytes);
    }
    return bytes >= threshold && bytes <= SIZE_CLASS_MAX && bytes != 0;
}

static struct cuda_pool *device_pool(size_t bytes) {
    const struct options *o = cuda_pool_options();
    bool wanted = o != NULL && o->device && is_large(bytes, o->device_threshold);
    struct context *c = wanted ? context_current() : NULL;
    return c != NULL ? cuda_pools_of(c, CUDA_DEVICE_POOL) : NULL;
}

/* A block at *address. False: the driver has to see for itself. */
static bool acquire(struct cuda_pool *p, size_t bytes, void **address) {
    if (p == NULL) {
        return false;
    }
    bool is_new = false;
    uint64_t start_ns = cuda_pool_owner()->begin();
    struct block *b = cuda_pools_acquire(p, bytes, &is_new);
    if (b != NULL) {
        *address = b->address;
    }
    if (UNLIKELY(start_ns != 0 && b != NULL)) {
        cuda_pool_owner()->after_acquire(b, bytes, is_new, start_ns);
    }
    return b != NULL;
}

/* Back to its pool, where one of ours is. */
static CUresult release(struct block *b, const void *address) {
    uint64_t start_ns = cuda_pool_owner()->begin();
    CUresult result = cuda_pool_release(b, address);
    if (UNLIKELY(start_ns != 0 && result == CUDA_SUCCESS)) {
        cuda_pool_owner()->after_release(address, start_ns);
    }
    return result;
}

/* The driver frees what is there. False: a block that is free already. */
static bool disown(CUdeviceptr address) {
    const void *p = cuda_pointer(address);
    bool ours = cuda_pool_find_kind(p, false) != NULL;
    bool live = cuda_pool_disown(p);
    uint64_t start_ns = ours && live ? cuda_pool_owner()->begin() : 0;
    if (UNLIKELY(start_ns != 0)) {
        cuda_pool_owner()->after_release(p, start_ns);
    }
    return live;
}

/* What the driver hands out cannot be a block of ours any more, whoever has freed that. It has left the address
 * at `place`: a CUdeviceptr, or a pointer. */
static CUresult came(CUresult result, const void *place) {
    const void *address = NULL;
    if (result == CUDA_SUCCESS && place != NULL) {
        memcpy(&address, place, sizeof address);
        cuda_pool_drop(address);
    }
    return result;
}

bool memory_api_make_room(void) {
    CUdevice device = 0;
    bool on_device = cuda_pool_options() != NULL &&
                     driver()->cuCtxGetDevice(&device) == CUDA_SUCCESS &&
                     cuda_pools_make_room(device, UNLIMITED);
    return cuda_pools_make_room(CUDA_HOST, UNLIMITED) || on_device;
}

/* What no pool had, the driver was asked for: a request of the pool that failed. */
static CUresult answered(CUresult result, struct cuda_pool *p) {
    if (result == CUDA_ERROR_OUT_OF_MEMORY && p != NULL) {
        pool_add(&p->pool, &p->pool.own.stats.failures, 1);
    }
    return result;
}

CUresult own_cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
    void *found = NULL;
    struct cuda_pool *p = address != NULL ? device_pool(bytes) : NULL;
    if (acquire(p, bytes, &found)) {
        *address = (CUdeviceptr)found;
        return CUDA_SUCCESS;
    }
    CUresult result = DRIVER_ANSWER_OR_ROOM(memory_api_make_room(), cuMemAlloc_v2, address, bytes);
    return answered(came(result, address), p);
}

CUresult own_cuMemFree_v2(CUdeviceptr address) {
    const void *p = cuda_pointer(address);
    struct block *b = cuda_pool_find_kind(p, false);
    return b != NULL ? release(b, p) : DRIVER_ANSWER(cuMemFree_v2, address);
}

/* In the order of a stream: nobody waits, and nothing of it is ours to keep. */
CUresult own_cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
    return disown(address) ? DRIVER_ANSWER(cuMemFreeAsync, address, stream)
                           : CUDA_ERROR_INVALID_VALUE;
}

CUresult own_cuMemFreeAsync_ptsz(CUdeviceptr address, CUstream stream) {
    return disown(address) ? DRIVER_ANSWER(cuMemFreeAsync_ptsz, address, stream)
                           : CUDA_ERROR_INVALID_VALUE;
}

/*
 * Rows begin on what the driver finds best, for widths in bytes. It is asked once, with the first request, which
 * it serves; an answer that is not the width rounded up to 512 would be for reasons that we do not know.
 */
static const size_t ROW_UNIT = 512;

enum rows {
    ROWS_UNKNOWN,
    ROWS_OF_UNITS,
    ROWS_OTHER
};
static _Atomic enum rows rows;

static CUresult ask_for_rows(CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
                             unsigned element_bytes) {
    CUresult result = DRIVER_ANSWER_OR_ROOM(memory_api_make_room(), cuMemAllocPitch_v2, address,
                                            pitch, width, height, element_bytes);
    if (result == CUDA_SUCCESS && pitch != NULL && atomic_load(&rows) == ROWS_UNKNOWN) {
        atomic_store(&rows, *pitch == round_up(width, ROW_UNIT) ? ROWS_OF_UNITS : ROWS_OTHER);
    }
    return came(result, address);
}

static bool is_element(unsigned bytes) {
    return bytes == 4 || bytes == 8 || bytes == 16;
}

CUresult own_cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
                                unsigned int element_bytes) {
    size_t row = round_up(width, ROW_UNIT);
    size_t bytes = 0;
    void *found = NULL;
    bool is_plain = address != NULL && pitch != NULL && is_element(element_bytes) && row != 0 &&
                    !__builtin_mul_overflow(row, height, &bytes);
    if (is_plain && atomic_load(&rows) == ROWS_OF_UNITS &&
        acquire(device_pool(bytes), bytes, &found)) {
        *address = (CUdeviceptr)found;
        *pitch = row;
        return CUDA_SUCCESS;
    }
    return ask_for_rows(address, pitch, width, height, element_bytes);
}

/* ---- pinned host memory ---- */

static struct cuda_pool *pinned_pool(size_t bytes, unsigned flags) {
    const struct options *o = cuda_pool_options();
    bool wanted = o != NULL && o->pinned && (flags & ~(unsigned)CUDA_PINNED_FLAGS) == 0 &&
                  is_large(bytes, o->threshold);
    struct context *c = wanted ? context_current() : NULL;
    return c != NULL ? cuda_pools_of(c, CUDA_PINNED_POOL + flags) : NULL;
}

CUresult own_cuMemHostAlloc(void **address, size_t bytes, unsigned int flags) {
    struct cuda_pool *p = address != NULL ? pinned_pool(bytes, flags) : NULL;
    if (acquire(p, bytes, address)) {
        return CUDA_SUCCESS;
    }
    CUresult result =
        DRIVER_ANSWER_OR_ROOM(memory_api_make_room(), cuMemHostAlloc, address, bytes, flags);
    return answered(came(result, address), p);
}

CUresult own_cuMemAllocHost_v2(void **address, size_t bytes) {
    struct cuda_pool *p = address != NULL ? pinned_pool(bytes, 0) : NULL;
    if (acquire(p, bytes, address)) {
        return CUDA_SUCCESS;
    }
    CUresult result =
        DRIVER_ANSWER_OR_ROOM(memory_api_make_room(), cuMemAllocHost_v2, address, bytes);
    return answered(came(result, address), p);
}

CUresult own_cuMemFreeHost(void *address) {
    struct block *b = cuda_pool_find_kind(address, true);
    return b != NULL ? release(b, address) : DRIVER_ANSWER(cuMemFreeHost, address);
}

/* ---- host memory of the program's, made known to a device ---- */

/* Before the driver is asked: from here on the pages stay where they are. */
static bool hold_still(const void *address, size_t bytes) {
    bool wanted = cuda_pool_options() != NULL && address != NULL;
    if (wanted) {
        cuda_pool_owner()->register_host(address, bytes);
    }
    return wanted;
}

static void let_go(struct registration r) {
    if (r.address != NULL) {
        cuda_pool_owner()->unregister_host(r.address, r.bytes);
    }
}

/* What cannot be recorded stays where it is for ever. */
static CUresult registered(CUresult result, struct registration r, bool held) {
    if (held && result != CUDA_SUCCESS) {
        let_go(r);
    } else if (held) {
        let_go(registrations_take(r.address)); /* what was there has ended behind our back */
        (void)!registrations_add(r, context_find(context_current_handle()));
    }
    return result;
}

CUresult own_cuMemHostRegister(void *address, size_t bytes, unsigned int flags) {
    bool held = hold_still(address, bytes);
    CUresult result =
        DRIVER_ANSWER_OR_ROOM(memory_api_make_room(), cuMemHostRegister, address, bytes, flags);
    return registered(result, (struct registration){address, bytes}, held);
}

CUresult own_cuMemHostRegister_v2(void *address, size_t bytes, unsigned int flags) {
    bool held = hold_still(address, bytes);
    CUresult result =
        DRIVER_ANSWER_OR_ROOM(memory_api_make_room(), cuMemHostRegister_v2, address, bytes, flags);
    return registered(result, (struct registration){address, bytes}, held);
}

CUresult own_cuMemHostUnregister(void *address) {
    CUresult result = DRIVER_ANSWER(cuMemHostUnregister, address);
    if (result == CUDA_SUCCESS && cuda_pool_options() != NULL) {
        let_go(registrations_take(address));
    }
    return result;
}
