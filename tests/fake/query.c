/* query.c - what can be asked of an address, and handles that carry it to other processes. */
#include "tests/fake/driver.h"

#include <string.h>

CUresult mem_address_range(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
    CUresult result = context_check();
    const struct block *block = block_find(address);
    if (result != CUDA_SUCCESS || block == NULL) {
        return result != CUDA_SUCCESS ? result : CUDA_ERROR_NOT_FOUND;
    }
    if (base != NULL) {
        *base = block->address;
    }
    if (size != NULL) {
        *size = block->size;
    }
    return CUDA_SUCCESS;
}

CUresult mem_address_range_v1(CUdeviceptr_v1 *base, unsigned *size, CUdeviceptr_v1 address) {
    (void)base;
    (void)size;
    (void)address;
    return CUDA_ERROR_NOT_FOUND; /* there is no memory below 4 GiB */
}

/* The answer, and how many bytes of it the attribute writes; 0: not known here. */
static size_t attribute_of(const struct block *b, CUpointer_attribute attribute, uint64_t *answer) {
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: *answer = (uintptr_t)b->context; return sizeof(CUcontext);
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *answer = block_is_on_host(b) ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        return sizeof(unsigned);
    case CU_POINTER_ATTRIBUTE_P2P_TOKENS: *answer = b->id; return sizeof(uint64_t);
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: *answer = b->sync_memops; return sizeof(int);
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
    case CU_POINTER_ATTRIBUTE_BUFFER_ID: *answer = b->id; return sizeof(uint64_t);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: *answer = b->kind == MANAGED_MEMORY; return sizeof(int);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *answer = (unsigned)b->device; return sizeof(int);
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
        *answer = b->kind == DEVICE_MEMORY;
        return sizeof(int);
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR: *answer = b->address; return sizeof(CUdeviceptr);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *answer = b->size; return sizeof(size_t);
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
        *answer = round_up(b->size, 2 * MIB);
        return sizeof(size_t);
    case CU_POINTER_ATTRIBUTE_MAPPED: *answer = 1; return sizeof(int);
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: *answer = 0; return sizeof(uint64_t);
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE: *answer = 1; return sizeof(int);
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS: *answer = 3; return sizeof(unsigned);
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        *answer = b->kind == STREAM_MEMORY ? (uintptr_t)b->device + 1 : 0;
        return sizeof(CUmemoryPool);
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER: break; /* the address itself: in attribute_read */
    }
    return 0;
}

static CUresult attribute_read(CUdeviceptr address, CUpointer_attribute attribute, void *data) {
    struct block *block = block_find(address);
    if (block == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    bool is_address = attribute == CU_POINTER_ATTRIBUTE_DEVICE_POINTER ||
                      (attribute == CU_POINTER_ATTRIBUTE_HOST_POINTER &&
                       (block_is_on_host(block) || block->kind == MANAGED_MEMORY));
    uint64_t answer = address;
    size_t size = is_address ? sizeof(address) : attribute_of(block, attribute, &answer);
    block->sync_memops |= attribute == CU_POINTER_ATTRIBUTE_P2P_TOKENS;
    memcpy(data, &answer, size); /* little-endian, like every machine with this driver */
    return size > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult pointer_attribute(void *data, CUpointer_attribute attribute, CUdeviceptr address) {
    CUresult result = context_check();
    return result == CUDA_SUCCESS ? attribute_read(address, attribute, data) : result;
}

/* Of a foreign address the answers are zero, and that is no error. */
CUresult pointer_attributes(unsigned count, CUpointer_attribute *attributes, void **data,
                            CUdeviceptr address) {
    CUresult result = context_check();
    for (unsigned i = 0; i < count && result == CUDA_SUCCESS; i++) {
        if (attribute_read(address, attributes[i], data[i]) != CUDA_SUCCESS) {
            uint64_t nothing = 0;
            struct block none = {.context = NULL};
            size_t size = attribute_of(&none, attributes[i], &nothing);
            memset(data[i], 0, size > 0 ? size : sizeof(CUdeviceptr));
        }
    }
    return result;
}

CUresult pointer_set_attribute(const void *value, CUpointer_attribute attribute,
                               CUdeviceptr address) {
    struct block *block = block_find(address);
    if (block == NULL || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    unsigned on;
    memcpy(&on, value, sizeof(on));
    block->sync_memops = on != 0;
    return CUDA_SUCCESS;
}

/* ---- handles for other processes ---- */

/* What is in a handle. Opened in the same process, where a real driver refuses, it is the address. */
struct ticket {
    CUdeviceptr address;
    uint64_t id;
};

CUresult ipc_get(CUipcMemHandle *handle, CUdeviceptr address) {
    const struct block *block = block_starting_at(address, DEVICE_MEMORY);
    if (block == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct ticket ticket = {block->address, block->id};
    memset(handle, 0, sizeof(*handle));
    memcpy(handle->reserved, &ticket, sizeof(ticket));
    return CUDA_SUCCESS;
}

CUresult ipc_open(CUdeviceptr *address, CUipcMemHandle handle, unsigned flags) {
    (void)flags;
    struct ticket ticket;
    memcpy(&ticket, handle.reserved, sizeof(ticket));
    const struct block *block = block_starting_at(ticket.address, DEVICE_MEMORY);
    if (block == NULL || block->id != ticket.id) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *address = ticket.address;
    return CUDA_SUCCESS;
}

CUresult ipc_close(CUdeviceptr address) {
    return block_starting_at(address, DEVICE_MEMORY) != NULL ? CUDA_SUCCESS
                                                             : CUDA_ERROR_INVALID_VALUE;
}

CUresult mem_range_handle(int *handle, CUdeviceptr address, size_t size, CUmemRangeHandleType type,
                          unsigned long long flags) {
    (void)flags;
    const struct block *block = block_find(address);
    if (block == NULL || type != CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD ||
        address + size > block->address + round_up(block->size, 2 * MIB)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *handle = -1; /* there is no file: who imports it fails */
    return CUDA_SUCCESS;
}
