/*
 * virtual.c - memory in three steps (cuMemAddressReserve, cuMemCreate, cuMemMap): physical memory
 * is a file in memory, mapped over a reservation, and comes to life with cuMemSetAccess.
 */
#include "tests/fake/driver.h"

#include <sys/mman.h>
#include <unistd.h>

#define GRANULE (2 * MIB)

CUresult virtual_granularity(size_t *granule, const CUmemAllocationProp *properties, int option) {
    (void)properties;
    (void)option;
    *granule = GRANULE;
    return CUDA_SUCCESS;
}

CUresult virtual_reserve(CUdeviceptr *address, size_t size, size_t alignment, CUdeviceptr wish,
                         unsigned long long flags) {
    (void)alignment;
    (void)wish;
    CUresult result = context_check();
    if (result != CUDA_SUCCESS || size == 0 || size % GRANULE != 0 || flags != 0) {
        return result != CUDA_SUCCESS ? result : CUDA_ERROR_INVALID_VALUE;
    }
    void *start = region_map(size);
    if (start == NULL || mprotect(start, size, PROT_NONE) != 0 ||
        block_record(RESERVED_ADDRESSES, (CUdeviceptr)(uintptr_t)start, size) == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *address = (CUdeviceptr)(uintptr_t)start;
    call_value(*address);
    return CUDA_SUCCESS;
}

CUresult virtual_free(CUdeviceptr address, size_t size) {
    struct block *block = block_starting_at(address, RESERVED_ADDRESSES);
    if (block == NULL || block->size != size) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    region_unmap((void *)address, size);
    block_forget(block);
    return CUDA_SUCCESS;
}

static CUresult physical_create(size_t size, CUdevice device, struct block **block) {
    if (!device_take(device, size)) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    int file = memfd_create("fake cuda", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, (off_t)size) != 0) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *block = block_record(PHYSICAL_MEMORY, 0, size);
    if (*block == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    (*block)->file = file;
    (*block)->device = device;
    (*block)->footprint = size;
    (*block)->address =
        (*block)->id; /* the handle: no address, since none is below the first page */
    return CUDA_SUCCESS;
}

CUresult virtual_create(CUmemGenericAllocationHandle *handle, size_t size,
                        const CUmemAllocationProp *properties, unsigned long long flags) {
    CUresult result = context_check();
    if (result != CUDA_SUCCESS) {
        return result;
    }
    if (size == 0 || size % GRANULE != 0 || flags != 0 ||
        properties->type != CU_MEM_ALLOCATION_TYPE_PINNED ||
        properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
        device_valid(properties->location.id) < 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct block *block;
    result = physical_create(size, properties->location.id, &block);
    if (result == CUDA_SUCCESS) {
        *handle = block->id;
        call_value(block->id);
    }
    return result;
}

static struct block *physical(CUmemGenericAllocationHandle handle) {
    return block_starting_at(handle, PHYSICAL_MEMORY);
}

/* The memory lives on while it is mapped; it is counted as free at once. */
CUresult virtual_release(CUmemGenericAllocationHandle handle) {
    struct block *block = physical(handle);
    if (block == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    close(block->file);
    device_give(block->device, block->footprint);
    block_forget(block);
    return CUDA_SUCCESS;
}

CUresult virtual_map(CUdeviceptr address, size_t size, size_t offset,
                     CUmemGenericAllocationHandle handle, unsigned long long flags) {
    CUresult result = context_check();
    const struct block *block = physical(handle);
    if (result != CUDA_SUCCESS || block == NULL || offset != 0 || size > block->size ||
        flags != 0) {
        return result != CUDA_SUCCESS ? result : CUDA_ERROR_INVALID_VALUE;
    }
    void *at = mmap((void *)address, size, PROT_NONE, MAP_SHARED | MAP_FIXED, block->file, 0);
    if (at == MAP_FAILED || block_record(MAPPED_MEMORY, address, size) == NULL) {
        return CUDA_ERROR_MAP_FAILED;
    }
    return CUDA_SUCCESS;
}

CUresult virtual_unmap(CUdeviceptr address, size_t size) {
    struct block *block = block_starting_at(address, MAPPED_MEMORY);
    if (block == NULL || block->size != size) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    mmap((void *)address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
         -1, 0);
    block_forget(block);
    return CUDA_SUCCESS;
}

CUresult virtual_access(CUdeviceptr address, size_t size, const CUmemAccessDesc *access,
                        size_t count) {
    (void)count;
    int protection = access->flags == 0 ? PROT_NONE : PROT_READ | PROT_WRITE;
    return mprotect((void *)address, size, protection) == 0 ? CUDA_SUCCESS
                                                            : CUDA_ERROR_INVALID_VALUE;
}
