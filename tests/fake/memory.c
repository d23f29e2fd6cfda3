/* memory.c - the functions that allocate and free memory of the device, of the host, and arrays. */
#include "tests/fake/driver.h"

#include <string.h>

/* ---- device memory ---- */

enum {
    PITCH_ALIGNMENT = 512
};

static CUresult device_memory(enum block_kind kind, CUdeviceptr *address, size_t size) {
    if (address == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct block *block;
    CUresult result = block_create(kind, size, &block);
    if (result == CUDA_SUCCESS) {
        *address = block->address;
    }
    return result;
}

CUresult mem_alloc(CUdeviceptr *address, size_t size) {
    return device_memory(DEVICE_MEMORY, address, size);
}

/* The addresses of this process do not fit into the 32 bits of CUDA 2. */
CUresult mem_alloc_v1(CUdeviceptr_v1 *address, unsigned size) {
    (void)address;
    (void)size;
    return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult mem_alloc_pitch(CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
                         unsigned element) {
    if (pitch == NULL || (element != 4 && element != 8 && element != 16)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    size_t padded = round_up(width, PITCH_ALIGNMENT);
    size_t size;
    if (__builtin_mul_overflow(padded, height, &size)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    CUresult result = device_memory(DEVICE_MEMORY, address, size);
    if (result == CUDA_SUCCESS) {
        *pitch = padded;
    }
    return result;
}

CUresult mem_alloc_pitch_v1(CUdeviceptr_v1 *address, unsigned *pitch, unsigned width,
                            unsigned height, unsigned element) {
    (void)pitch;
    (void)height;
    (void)element;
    return mem_alloc_v1(address, width);
}

CUresult mem_alloc_managed(CUdeviceptr *address, size_t size, unsigned flags) {
    if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return device_memory(MANAGED_MEMORY, address, size);
}

static bool is_freed_by_mem_free(const struct block *block) {
    return block->kind <= STREAM_MEMORY;
}

static struct block *block_to_free(CUdeviceptr address) {
    struct block *block = block_find(address);
    return block != NULL && block->address == address && is_freed_by_mem_free(block) ? block : NULL;
}

/*
 * Waits for all work of the context that owns the memory, which need not be the current one, nor
 * need there be one: Numba frees its last arrays after it has popped its context.
 */
CUresult mem_free(CUdeviceptr address) {
    if (address == 0) {
        return CUDA_SUCCESS;
    }
    struct block *block = block_to_free(address);
    if (block == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (block->kind != STREAM_MEMORY) {
        call_wait_for(block->context);
    }
    block_destroy(block);
    return CUDA_SUCCESS;
}

CUresult mem_free_v1(CUdeviceptr_v1 address) {
    return address == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult mem_alloc_async(CUdeviceptr *address, size_t size, CUstream stream) {
    CUresult result;
    if (stream_of(stream, &result) == NULL) {
        return result;
    }
    return device_memory(STREAM_MEMORY, address, size);
}

CUresult mem_alloc_from_pool(CUdeviceptr *address, size_t size, CUmemoryPool pool,
                             CUstream stream) {
    return pool != NULL ? mem_alloc_async(address, size, stream) : CUDA_ERROR_INVALID_VALUE;
}

/* One's own is as much a name as the device's: what it holds when it ends stays. */
CUresult pool_create(CUmemoryPool *pool, const CUmemPoolProps *properties) {
    static uintptr_t last = FAKE_CUDA_DEVICES;
    if (device_valid(properties->location.id) < 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *pool = (CUmemoryPool)++last;
    return CUDA_SUCCESS;
}

CUresult pool_destroy(CUmemoryPool pool) {
    return pool != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* Waits for nothing; what it is given may come from cuMemAlloc too. */
CUresult mem_free_async(CUdeviceptr address, CUstream stream) {
    CUresult result;
    if (stream_of(stream, &result) == NULL) {
        return result;
    }
    struct block *block = block_to_free(address);
    if (block == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    block_destroy(block);
    return CUDA_SUCCESS;
}

CUresult mem_info(size_t *available, size_t *total) {
    CUresult result = context_check();
    if (result == CUDA_SUCCESS) {
        *total = control.knobs.memory;
        *available = *total - device_used(context_current()->device);
        call_value(*available);
    }
    return result;
}

CUresult mem_info_v1(unsigned *available, unsigned *total) {
    size_t a;
    size_t t;
    CUresult result = mem_info(&a, &t);
    if (result == CUDA_SUCCESS) {
        *available = a < UINT32_MAX ? (unsigned)a : UINT32_MAX;
        *total = t < UINT32_MAX ? (unsigned)t : UINT32_MAX;
    }
    return result;
}

/* ---- arrays: memory whose handle is its address ---- */

static size_t element_size(CUarray_format format) {
    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT: return 4;
    }
    return 0;
}

static size_t at_least_one(size_t n) {
    return n > 0 ? n : 1;
}

CUresult array_create_3d(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *d) {
    CUdeviceptr address;
    CUresult result = device_memory(ARRAY_MEMORY, &address,
                                    d->Width * at_least_one(d->Height) * at_least_one(d->Depth) *
                                        d->NumChannels * element_size(d->Format));
    if (result == CUDA_SUCCESS) {
        *array = (CUarray)address;
    }
    return result;
}

CUresult array_create(CUarray *array, const CUDA_ARRAY_DESCRIPTOR *d) {
    return array_create_3d(array, &(CUDA_ARRAY3D_DESCRIPTOR){.Width = d->Width,
                                                             .Height = d->Height,
                                                             .Format = d->Format,
                                                             .NumChannels = d->NumChannels});
}

/* All levels together take less than two of the first: as much as one is enough here. */
CUresult array_create_mipmapped(CUmipmappedArray *array, const CUDA_ARRAY3D_DESCRIPTOR *d,
                                unsigned levels) {
    (void)levels;
    return array_create_3d((CUarray *)array, d);
}

CUresult array_destroy(CUarray array) {
    struct block *block = block_starting_at((CUdeviceptr)(uintptr_t)array, ARRAY_MEMORY);
    if (block == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    call_wait_for(block->context);
    block_destroy(block);
    return CUDA_SUCCESS;
}

CUresult array_destroy_mipmapped(CUmipmappedArray array) {
    return array_destroy((CUarray)(uintptr_t)array);
}

/* ---- host memory ---- */

CUresult mem_host_alloc(void **address, size_t size, unsigned flags) {
    enum {
        ALL = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED
    };
    if (address == NULL || (flags & ~(unsigned)ALL)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct block *block;
    CUresult result = block_create(HOST_MEMORY, size, &block);
    if (result == CUDA_SUCCESS) {
        block->flags = flags;
        *address = (void *)block->address;
    }
    if (result == CUDA_SUCCESS && control.knobs.touch) {
        memset(*address, 0, size);
    }
    return result;
}

CUresult mem_alloc_host_v2(void **address, size_t size) {
    return mem_host_alloc(address, size, 0);
}

CUresult mem_alloc_host(void **address, unsigned size) {
    return mem_host_alloc(address, size, 0);
}

CUresult mem_free_host(void *address) {
    struct block *block = block_starting_at((CUdeviceptr)(uintptr_t)address, HOST_MEMORY);
    if (block == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    call_wait_for(block->context);
    block_destroy(block);
    return CUDA_SUCCESS;
}

CUresult mem_host_register(void *address, size_t size, unsigned flags) {
    CUresult result = context_check();
    if (result != CUDA_SUCCESS || address == NULL || size == 0) {
        return result != CUDA_SUCCESS ? result : CUDA_ERROR_INVALID_VALUE;
    }
    if (block_find((CUdeviceptr)(uintptr_t)address) != NULL) {
        return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    }
    struct block *block = block_record(REGISTERED_MEMORY, (CUdeviceptr)(uintptr_t)address, size);
    if (block == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    block->flags = flags;
    return CUDA_SUCCESS;
}

CUresult mem_host_unregister(void *address) {
    struct block *block = block_starting_at((CUdeviceptr)(uintptr_t)address, REGISTERED_MEMORY);
    if (block == NULL) {
        return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
    }
    block_forget(block);
    return CUDA_SUCCESS;
}

static const struct block *host_block(const void *address) {
    const struct block *block = block_find((CUdeviceptr)(uintptr_t)address);
    return block != NULL && block_is_on_host(block) ? block : NULL;
}

CUresult mem_host_device_pointer(CUdeviceptr *device, void *address, unsigned flags) {
    if (flags != 0 || host_block(address) == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *device = (CUdeviceptr)(uintptr_t)address;
    return CUDA_SUCCESS;
}

CUresult mem_host_flags(unsigned *flags, void *address) {
    const struct block *block = host_block(address);
    if (block == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *flags = block->flags;
    return CUDA_SUCCESS;
}
