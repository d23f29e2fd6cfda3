#include "cuda_hooks/context.h"

#include <string.h>

#include "cuda_hooks/capture.h"
#include "cuda_hooks/driver.h"
#include "pool/nearby.h"
#include "pool/writer.h"

static struct context contexts[CONTEXTS];
static struct lock lock;       /* of entering */
static _Atomic size_t entered; /* slots that were ever used */
static atomic_bool is_one_unknown;

size_t context_places(void) {
    return atomic_load_explicit(&entered, memory_order_acquire);
}

size_t context_place(const struct context *c) {
    return (size_t)(c - contexts);
}

struct context *context_next(size_t *cursor) {
    while (*cursor < context_places()) {
        struct context *c = &contexts[(*cursor)++];
        if (atomic_load_explicit(&c->handle, memory_order_acquire) != NULL) {
            return c;
        }
    }
    return NULL;
}

struct context *context_find(CUcontext handle) {
    size_t cursor = 0;
    struct context *c = context_next(&cursor);
    while (c != NULL && atomic_load_explicit(&c->handle, memory_order_relaxed) != handle) {
        c = context_next(&cursor);
    }
    return c;
}

struct context *context_primary(CUdevice ordinal) {
    size_t cursor = 0;
    struct context *c = context_next(&cursor);
    while (c != NULL && !(c->is_primary && c->device.ordinal == ordinal)) {
        c = context_next(&cursor);
    }
    return c;
}

/* ---- entering ---- */

CUcontext context_current_handle(void) {
    CUcontext handle = NULL;
    CUresult (*get)(CUcontext *) = driver()->cuCtxGetCurrent;
    return get != NULL && get(&handle) == CUDA_SUCCESS ? handle : NULL;
}

/* Retaining and releasing one that is active changes nothing; it is, as it is current or somebody's. */
static bool is_primary(CUcontext handle, CUdevice device) {
    unsigned flags = 0;
    int active = 0;
    CUcontext primary = NULL;
    const struct driver_functions *d = driver();
    if (d->cuDevicePrimaryCtxGetState(device, &flags, &active) != CUDA_SUCCESS || !active ||
        d->cuDevicePrimaryCtxRetain(&primary, device) != CUDA_SUCCESS) {
        return false;
    }
    (void)d->cuDevicePrimaryCtxRelease(device);
    return primary == handle;
}

/* A part of a device (MIG) has its profile in its name: "NVIDIA H100 80GB HBM3 MIG 1g.10gb". */
static bool is_part(CUdevice ordinal) {
    char name[256] = "";
    CUresult result = driver()->cuDeviceGetName(name, (int)sizeof name - 1, ordinal);
    return result == CUDA_SUCCESS && strstr(name, " MIG ") != NULL;
}

/* "GPU-" or "MIG-" and 32 digits in five groups, as NVIDIA's tools write it. */
static void write_uuid(const CUuuid *uuid, bool part, char text[UUID_BYTES]) {
    struct writer w = writer_to(-1, text, UUID_BYTES - 1);
    write_text(&w, part ? "MIG-" : "GPU-");
    for (unsigned i = 0; i < sizeof uuid->bytes; i++) {
        unsigned char byte = (unsigned char)uuid->bytes[i];
        write_text(&w, i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "");
        write_char(&w, "0123456789abcdef"[byte / 16]);
        write_char(&w, "0123456789abcdef"[byte % 16]);
    }
}

/* What a driver cannot tell stays empty. False: the calling thread has no context. */
static bool describe(struct device *device) {
    const struct driver_functions *d = driver();
    CUuuid uuid;
    if (d->cuCtxGetDevice(&device->ordinal) != CUDA_SUCCESS) {
        return false;
    }
    if (d->cuDeviceGetUuid_v2 != NULL &&
        d->cuDeviceGetUuid_v2(&uuid, device->ordinal) == CUDA_SUCCESS) {
        write_uuid(&uuid, is_part(device->ordinal), device->uuid);
    }
    (void)d->cuDeviceGetPCIBusId(device->pci_address, PCI_BYTES, device->ordinal);
    device->node = nearby_node("/sys", device->pci_address);
    (void)d->cuDeviceTotalMem_v2(&device->bytes, device->ordinal);
    return true;
}

/* One of a context that is forgotten keeps its figures for the next on the same device. */
static struct context *free_slot(CUdevice ordinal) REQUIRES(lock) {
    for (size_t i = 0; i < CONTEXTS; i++) {
        struct context *c = &contexts[i];
        bool is_new = i >= context_places();
        if (atomic_load(&c->handle) == NULL && (is_new || c->device.ordinal == ordinal)) {
            return c;
        }
    }
    return NULL;
}

/* Of a place that was used before the device is the same: others may be reading it. */
static void open(struct context *c, const struct device *device, bool primary) REQUIRES(lock) {
    if (context_place(c) >= context_places()) {
        c->device = *device;
    }
    atomic_store(&c->is_primary, primary);
    atomic_store(&c->is_green, false);
    atomic_store(&c->is_shared, false);
    atomic_store(&c->is_broken, false);
}

/* Everything that is asked of the driver is asked before the lock is taken. Some of it is forbidden while a
 * stream is captured. */
static struct context *enter(CUcontext handle) {
    struct device device = {0};
    if (!describe(&device)) {
        return NULL;
    }
    bool primary = is_primary(handle, device.ordinal);
    lock_acquire(&lock);
    struct context *c = context_find(handle);
    if (c == NULL && (c = free_slot(device.ordinal)) != NULL) {
        open(c, &device, primary);
        atomic_store_explicit(&c->handle, handle, memory_order_release);
        size_t places = size_max(context_place(c) + 1, context_places());
        atomic_store_explicit(&entered, places, memory_order_release);
    }
    lock_release(&lock);
    return c;
}

/* What is new may be a green one where one is not known. */
struct context *context_current(void) {
    CUcontext handle = context_current_handle();
    struct context *c = handle != NULL ? context_find(handle) : NULL;
    bool is_new = handle != NULL && c == NULL && !capture_is_under_way() && context_are_all_known();
    if (is_new && (c = enter(handle)) != NULL) {
        context_note_free(c);
    }
    return c;
}

static struct context *enter_another(CUcontext handle) {
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    struct context *c = NULL;
    capture_exchange_mode(&mode);
    if (driver()->cuCtxPushCurrent_v2(handle) == CUDA_SUCCESS) {
        c = enter(handle);
        context_leave(true);
    }
    if (c != NULL) {
        context_note_free(c);
    }
    capture_exchange_mode(&mode);
    return c;
}

struct context *context_of(CUcontext handle) {
    struct context *c = context_find(handle);
    return c != NULL ? c : enter_another(handle);
}

static struct context *meet(CUcontext handle) {
    struct context *c = context_of(handle);
    if (c == NULL) {
        atomic_store_explicit(&is_one_unknown, true, memory_order_relaxed);
    }
    return c;
}

void context_meet(CUcontext handle) {
    (void)meet(handle);
}

void context_meet_green(CUcontext handle) {
    struct context *c = meet(handle);
    if (c != NULL) {
        atomic_store_explicit(&c->is_green, true, memory_order_relaxed);
    }
}

bool context_are_all_known(void) {
    return !atomic_load_explicit(&is_one_unknown, memory_order_relaxed);
}

/* ---- on its behalf ---- */

void context_note_free(struct context *c) {
    size_t free_bytes = 0;
    size_t bytes = 0;
    bool pushed = false;
    if (!context_enter(c, &pushed)) {
        return;
    }
    if (driver()->cuMemGetInfo_v2(&free_bytes, &bytes) == CUDA_SUCCESS) {
        atomic_store_explicit(&c->free_bytes, free_bytes, memory_order_relaxed);
    }
    context_leave(pushed);
}

bool context_enter(const struct context *c, bool *pushed) {
    CUcontext handle = atomic_load_explicit(&c->handle, memory_order_relaxed);
    *pushed = context_current_handle() != handle;
    return handle != NULL && (!*pushed || driver()->cuCtxPushCurrent_v2(handle) == CUDA_SUCCESS);
}

void context_leave(bool pushed) {
    CUcontext popped = NULL;
    if (pushed) {
        (void)driver()->cuCtxPopCurrent_v2(&popped);
    }
}

CUresult context_synchronize(const struct context *c) {
    bool pushed = false;
    if (!context_enter(c, &pushed)) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    CUresult result = driver()->cuCtxSynchronize();
    context_leave(pushed);
    return result;
}

/* An address that no context has. */
static char nowhere;

void context_suspend(struct context *c) {
    c->suspended = c->handle;
    atomic_store(&c->handle, (CUcontext)(void *)&nowhere);
}

void context_resume(struct context *c) {
    atomic_store(&c->handle, c->suspended);
}

bool context_is_current(const struct context *c) {
    CUcontext handle = atomic_load_explicit(&c->handle, memory_order_relaxed);
    return handle != NULL && handle == context_current_handle();
}

void context_close(struct context *c) {
    atomic_store_explicit(&c->handle, NULL, memory_order_release);
}

void context_reset_in_child(void) UNCHECKED_LOCKING {
    lock_reset(&lock);
    atomic_store(&is_one_unknown, false);
    for (size_t i = 0; i < context_places(); i++) {
        gate_reset(&contexts[i].gate);
        atomic_store(&contexts[i].handle, NULL);
    }
}
