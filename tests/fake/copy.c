/*
 * copy.c - copies and fills. The memory of the device is checked: it must be live, hold the whole
 * range, and be reachable from the current context. Foreign addresses are the program's own.
 */
#include "tests/fake/driver.h"

#include <string.h>

static bool holds(const struct block *block, CUdeviceptr address, size_t size) {
    return size <= block->size - (address - block->address);
}

/* Whether the current context may use a range of device memory. */
static CUresult check_device(CUdeviceptr address, size_t size) {
    CUresult result = context_check();
    if (result != CUDA_SUCCESS) {
        return result;
    }
    const struct block *block = block_find(address);
    bool usable =
        block != NULL && holds(block, address, size) && context_sees(context_current(), block);
    return usable ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* The same of any range: what is not the driver's is the program's. */
static CUresult check_any(CUdeviceptr address, size_t size) {
    return block_find(address) != NULL ? check_device(address, size) : context_check();
}

static CUresult worse(CUresult a, CUresult b) {
    return a != CUDA_SUCCESS ? a : b;
}

/* Does it now, when the stream takes it and does not record it. */
static CUresult copy(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    CUresult result;
    if (stream_enqueue(stream, control.knobs.work_us, &result)) {
        memmove((void *)to, (const void *)from, size);
    }
    return result;
}

/* One that is not asynchronous uses the default stream, and waits for it. */
static CUresult then_wait(CUresult result) {
    return result == CUDA_SUCCESS ? stream_synchronize(NULL) : result;
}

CUresult copy_any_async(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    CUresult result = worse(check_any(to, size), check_any(from, size));
    return result == CUDA_SUCCESS ? copy(to, from, size, stream) : result;
}

CUresult copy_to_device_async(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
    CUresult result = check_device(to, size);
    return result == CUDA_SUCCESS ? copy(to, (CUdeviceptr)(uintptr_t)from, size, stream) : result;
}

CUresult copy_to_host_async(void *to, CUdeviceptr from, size_t size, CUstream stream) {
    CUresult result = check_device(from, size);
    return result == CUDA_SUCCESS ? copy((CUdeviceptr)(uintptr_t)to, from, size, stream) : result;
}

CUresult copy_inside_async(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    CUresult result = worse(check_device(to, size), check_device(from, size));
    return result == CUDA_SUCCESS ? copy(to, from, size, stream) : result;
}

CUresult copy_any(CUdeviceptr to, CUdeviceptr from, size_t size) {
    return then_wait(copy_any_async(to, from, size, NULL));
}

CUresult copy_to_device(CUdeviceptr to, const void *from, size_t size) {
    return then_wait(copy_to_device_async(to, from, size, NULL));
}

CUresult copy_to_host(void *to, CUdeviceptr from, size_t size) {
    return then_wait(copy_to_host_async(to, from, size, NULL));
}

CUresult copy_inside(CUdeviceptr to, CUdeviceptr from, size_t size) {
    return then_wait(copy_inside_async(to, from, size, NULL));
}

CUresult set_8_async(CUdeviceptr address, unsigned char value, size_t count, CUstream stream) {
    CUresult result = check_device(address, count);
    if (result == CUDA_SUCCESS && stream_enqueue(stream, control.knobs.work_us, &result)) {
        memset((void *)address, value, count);
    }
    return result;
}

CUresult set_32_async(CUdeviceptr address, unsigned value, size_t count, CUstream stream) {
    CUresult result = check_device(address, count * sizeof(value));
    if (result == CUDA_SUCCESS && stream_enqueue(stream, control.knobs.work_us, &result)) {
        for (size_t i = 0; i < count; i++) {
            memcpy((char *)address + i * sizeof(value), &value, sizeof(value));
        }
    }
    return result;
}

CUresult set_8(CUdeviceptr address, unsigned char value, size_t count) {
    return then_wait(set_8_async(address, value, count, NULL));
}

CUresult set_32(CUdeviceptr address, unsigned value, size_t count) {
    return then_wait(set_32_async(address, value, count, NULL));
}
