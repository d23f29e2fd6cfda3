/*
 * query_api.c - the driver's functions that tell of memory, and those that show it to others.
 *
 * What the program has freed and a pool keeps is to them what it is to the driver: no memory at all. Of a live
 * block they tell the size that was asked for. One that others may hold on to, or that behaves in another way from
 * then on, is freed for good when the program frees it, so that the next owner inherits nothing.
 */
#include "cuda_hooks/cuda_pools.h"
#include "cuda_hooks/driver.h"
#include "cuda_hooks/driver_api.h"

/* ---- free memory ---- */

/* For the statistics, which cannot ask. */
static void note_free(size_t free_bytes) {
    struct context *c = context_find(context_current_handle());
    if (c != NULL) {
        cuda_pools_tell_free(c, free_bytes);
    }
}

/* On the device of the current context. */
static size_t idle_bytes_here(void) {
    CUdevice device = 0;
    return driver()->cuCtxGetDevice(&device) == CUDA_SUCCESS ? cuda_pools_idle_bytes(device) : 0;
}

/* What goes back to the driver just now may count twice for a moment; more than all is never free. */
CUresult own_cuMemGetInfo_v2(size_t *free_bytes, size_t *bytes) {
    const struct options *o = cuda_pool_options();
    CUresult result = DRIVER_ANSWER(cuMemGetInfo_v2, free_bytes, bytes);
    if (result == CUDA_SUCCESS && free_bytes != NULL && o != NULL) {
        note_free(*free_bytes);
        size_t idle_bytes = o->meminfo == MEMINFO_ADJUSTED ? idle_bytes_here() : 0;
        *free_bytes = size_min(*free_bytes + idle_bytes, bytes != NULL ? *bytes : SIZE_MAX);
    }
    return result;
}

/* ---- whose memory is it ---- */

/* The first address of what the driver has allocated around it; the same address: nothing, or it cannot tell.
 * The attribute is for memory of every kind; drivers before CUDA 11 know the other way alone. */
static CUdeviceptr start_around(CUdeviceptr address) {
    CUdeviceptr start = address;
    const struct driver_functions *d = driver();
    bool is_told = d->cuPointerGetAttribute != NULL &&
                   d->cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
                                            address) == CUDA_SUCCESS;
    if (!is_told && d->cuMemGetAddressRange_v2 != NULL) {
        (void)d->cuMemGetAddressRange_v2(&start, NULL, address);
    }
    return start;
}

/* The block of ours that holds an address; NULL: none does. */
static struct block *block_around(CUdeviceptr address) {
    struct block *b = cuda_pool_find(cuda_pointer(address));
    return b != NULL || !cuda_pool_has_blocks()
               ? b
               : cuda_pool_find(cuda_pointer(start_around(address)));
}

/* No allocation is at such an address. */
static const CUdeviceptr NOBODYS = 1;

/* The address to ask for: of what the program has freed it is one that is nobody's, for the driver to say so. */
static CUdeviceptr asked(CUdeviceptr address) {
    const struct block *b = block_around(address);
    return b != NULL && block_state(b) != BLOCK_LIVE ? NOBODYS : address;
}

static void *asked_pointer(void *address) {
    return cuda_pointer(asked((CUdeviceptr)address));
}

/* ---- questions ---- */

CUresult own_cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr address) {
    CUresult result = DRIVER_ANSWER(cuMemGetAddressRange_v2, base, bytes, asked(address));
    const struct block *b = result == CUDA_SUCCESS && bytes != NULL ? block_around(address) : NULL;
    if (b != NULL) {
        *bytes = b->requested_bytes;
    }
    return result;
}

/* Corrects what the driver has told of the memory around the address: its size is what was asked for. Tokens are
 * for others, who may hold on to it. */
static void told(CUpointer_attribute attribute, void *value, CUdeviceptr address) {
    bool is_size = attribute == CU_POINTER_ATTRIBUTE_RANGE_SIZE;
    bool is_token = attribute == CU_POINTER_ATTRIBUTE_P2P_TOKENS;
    struct block *b = is_size || is_token ? block_around(address) : NULL;
    if (b != NULL && is_size) {
        *(size_t *)value = b->requested_bytes;
    }
    if (b != NULL && is_token) {
        b->is_altered = true;
    }
}

CUresult own_cuPointerGetAttribute(void *value, CUpointer_attribute attribute,
                                   CUdeviceptr address) {
    CUresult result = DRIVER_ANSWER(cuPointerGetAttribute, value, attribute, asked(address));
    if (result == CUDA_SUCCESS) {
        told(attribute, value, address);
    }
    return result;
}

/* Of what is nobody's the driver tells zeros, and that is no error. */
CUresult own_cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes,
                                    void **values, CUdeviceptr address) {
    CUdeviceptr about = asked(address);
    CUresult result = DRIVER_ANSWER(cuPointerGetAttributes, count, attributes, values, about);
    for (unsigned i = 0; result == CUDA_SUCCESS && about == address && i < count; i++) {
        told(attributes[i], values[i], address);
    }
    return result;
}

CUresult own_cuMemHostGetFlags(unsigned int *flags, void *address) {
    return DRIVER_ANSWER(cuMemHostGetFlags, flags, asked_pointer(address));
}

CUresult own_cuMemHostGetDevicePointer_v2(CUdeviceptr *device_address, void *address,
                                          unsigned int flags) {
    return DRIVER_ANSWER(cuMemHostGetDevicePointer_v2, device_address, asked_pointer(address),
                         flags);
}

/* ---- showing it to others ---- */

/* Notes it of the block around the address, where that was shown. */
static CUresult shown(CUresult result, CUdeviceptr address) {
    struct block *b = result == CUDA_SUCCESS ? block_around(address) : NULL;
    if (b != NULL) {
        b->is_altered = true;
    }
    return result;
}

CUresult own_cuPointerSetAttribute(const void *value, CUpointer_attribute attribute,
                                   CUdeviceptr address) {
    return shown(DRIVER_ANSWER(cuPointerSetAttribute, value, attribute, asked(address)), address);
}

CUresult own_cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr address) {
    return shown(DRIVER_ANSWER(cuIpcGetMemHandle, handle, asked(address)), address);
}

CUresult own_cuMemGetHandleForAddressRange(void *handle, CUdeviceptr address, size_t bytes,
                                           CUmemRangeHandleType type, unsigned long long flags) {
    return shown(
        DRIVER_ANSWER(cuMemGetHandleForAddressRange, handle, asked(address), bytes, type, flags),
        address);
}

CUresult own_cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address) {
    return shown(DRIVER_ANSWER(cuMemRetainAllocationHandle, handle, asked_pointer(address)),
                 (CUdeviceptr)address);
}

CUresult own_cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags) {
    CUresult result = DRIVER_ANSWER(cuCtxEnablePeerAccess, peer, flags);
    bool shared = result == CUDA_SUCCESS || result == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
    struct context *c = shared && cuda_pool_options() != NULL ? context_of(peer) : NULL;
    if (c != NULL) {
        atomic_store(&c->is_shared, true);
    }
    return result;
}
