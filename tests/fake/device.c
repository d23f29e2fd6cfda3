/* device.c - what the devices say of themselves. All are alike but for the ordinal. */
#include "tests/fake/driver.h"

#include <stdio.h>
#include <string.h>

static uint64_t used[FAKE_CUDA_DEVICES];

CUdevice device_valid(CUdevice device) {
    return device >= 0 && device < (int)control.knobs.devices && device < FAKE_CUDA_DEVICES ? device
                                                                                            : -1;
}

bool device_take(CUdevice device, size_t footprint) {
    if (footprint > control.knobs.memory || used[device] > control.knobs.memory - footprint) {
        return false;
    }
    used[device] += footprint;
    return true;
}

void device_give(CUdevice device, size_t footprint) {
    used[device] -= footprint;
}

uint64_t device_used(CUdevice device) {
    return used[device];
}

CUresult device_get(CUdevice *device, int ordinal) {
    if (device_valid(ordinal) < 0) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult device_count(int *count) {
    *count = (int)control.knobs.devices;
    return CUDA_SUCCESS;
}

CUresult device_name(char *name, int length, CUdevice device) {
    if (device_valid(device) < 0) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    snprintf(name, (size_t)length, "Stand-in %d%s", device,
             control.knobs.mig ? " MIG 1g.10gb" : "");
    return CUDA_SUCCESS;
}

CUresult device_capability(int *major, int *minor, CUdevice device) {
    *major = 8;
    *minor = 0;
    return device_valid(device) < 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

static int bus_of(CUdevice device) {
    return (int)(control.knobs.bus + (uint64_t)device * control.knobs.bus_step);
}

CUresult device_attribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    static const int values[] = {
        [CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = 1024,
        [CU_DEVICE_ATTRIBUTE_WARP_SIZE] = 32,
        [CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] = 4,
        [CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY] = 1,
        [CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING] = 1,
        [CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] = 8,
        [CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY] = 1,
        [CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED] = 1,
        [CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED] = 1,
        [CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED] = 1,
        [CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID] = 0,
    };
    if (device_valid(device) < 0) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *value = (size_t)attribute < LENGTH(values) ? values[attribute] : 0;
    if (attribute == CU_DEVICE_ATTRIBUTE_PCI_BUS_ID) {
        *value = bus_of(device);
    }
    return CUDA_SUCCESS;
}

CUresult device_total(size_t *bytes, CUdevice device) {
    *bytes = control.knobs.memory;
    return device_valid(device) < 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult device_uuid(CUuuid *uuid, CUdevice device) {
    memset(uuid, 0, sizeof(*uuid));
    memcpy(uuid->bytes, "stand-in", sizeof("stand-in") - 1);
    uuid->bytes[sizeof(uuid->bytes) - 1] = (char)device;
    return device_valid(device) < 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult device_pci(char *text, int length, CUdevice device) {
    snprintf(text, (size_t)length, "0000:%02X:00.0", (unsigned)bus_of(device));
    return device_valid(device) < 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult device_peer(int *can, CUdevice device, CUdevice peer) {
    if (device_valid(device) < 0 || device_valid(peer) < 0) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *can = device != peer;
    return CUDA_SUCCESS;
}

CUresult device_p2p(int *value, int attribute, CUdevice source, CUdevice target) {
    enum {
        ACCESS_SUPPORTED = 2
    };
    *value = attribute == ACCESS_SUPPORTED && source != target;
    return device_valid(source) < 0 || device_valid(target) < 0 ? CUDA_ERROR_INVALID_DEVICE
                                                                : CUDA_SUCCESS;
}

/* A pool is only a name here: memory of cuMemAllocAsync comes straight from the device. */
CUresult device_pool(CUmemoryPool *pool, CUdevice device) {
    *pool = (CUmemoryPool)((uintptr_t)device + 1);
    return device_valid(device) < 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
