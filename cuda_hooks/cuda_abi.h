/*
 * cuda_abi.h - the CUDA driver's types, constants and result codes that we use, by ABI.
 *
 * Written from the documented interface, so that we build and test where no toolkit is installed.
 * It takes the place of cuda.h, whose names it bears; a file includes one of the two, never both.
 * Sizes, offsets and values are those of x86-64 and aarch64 Linux (LP64), the same in every driver
 * since CUDA 4.0. Suffixed structures are the _v2 forms: the 32-bit ones of CUDA 3.1 are gone.
 *
 * No function is declared here: the driver is only ever reached through pointers.
 */
#ifndef BIGMALLOC_CUDA_ABI_H
#define BIGMALLOC_CUDA_ABI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* ---- results ---- */

/* RESULT(name, value). What is not listed is passed on as the number that it is. */
#define CUDA_RESULTS(RESULT) \
    RESULT(CUDA_SUCCESS, 0) \
    RESULT(CUDA_ERROR_INVALID_VALUE, 1) \
    RESULT(CUDA_ERROR_OUT_OF_MEMORY, 2) \
    RESULT(CUDA_ERROR_NOT_INITIALIZED, 3) \
    RESULT(CUDA_ERROR_DEINITIALIZED, 4) \
    RESULT(CUDA_ERROR_STUB_LIBRARY, 34) \
    RESULT(CUDA_ERROR_NO_DEVICE, 100) \
    RESULT(CUDA_ERROR_INVALID_DEVICE, 101) \
    RESULT(CUDA_ERROR_INVALID_CONTEXT, 201) \
    RESULT(CUDA_ERROR_MAP_FAILED, 205) \
    RESULT(CUDA_ERROR_ECC_UNCORRECTABLE, 214) \
    RESULT(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, 217) \
    RESULT(CUDA_ERROR_INVALID_HANDLE, 400) \
    RESULT(CUDA_ERROR_ILLEGAL_STATE, 401) \
    RESULT(CUDA_ERROR_NOT_FOUND, 500) \
    RESULT(CUDA_ERROR_NOT_READY, 600) \
    RESULT(CUDA_ERROR_ILLEGAL_ADDRESS, 700) \
    RESULT(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, 704) \
    RESULT(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, 705) \
    RESULT(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, 708) \
    RESULT(CUDA_ERROR_CONTEXT_IS_DESTROYED, 709) \
    RESULT(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, 712) \
    RESULT(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, 713) \
    RESULT(CUDA_ERROR_LAUNCH_FAILED, 719) \
    RESULT(CUDA_ERROR_NOT_PERMITTED, 800) \
    RESULT(CUDA_ERROR_NOT_SUPPORTED, 801) \
    RESULT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, 900) \
    RESULT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, 901) \
    RESULT(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, 903) \
    RESULT(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, 906) \
    RESULT(CUDA_ERROR_CAPTURED_EVENT, 907) \
    RESULT(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, 908) \
    RESULT(CUDA_ERROR_UNKNOWN, 999)

typedef enum cuda_result {
#define CUDA_RESULT_VALUE(name, value) name = (value),
    CUDA_RESULTS(CUDA_RESULT_VALUE)
#undef CUDA_RESULT_VALUE
} CUresult;

/* ---- handles: opaque to everyone but the driver ---- */

typedef int CUdevice;                          /* an ordinal, counted from 0 */
typedef uint64_t CUdeviceptr;                  /* an address of the device, or of both sides */
typedef unsigned int CUdeviceptr_v1;           /* of the 32-bit functions of CUDA 2 and 3.1 */
typedef uint64_t CUmemGenericAllocationHandle; /* of cuMemCreate */
typedef struct cuda_context *CUcontext;
typedef struct cuda_green_context *CUgreenCtx;
typedef struct cuda_stream *CUstream;
typedef struct cuda_event *CUevent;
typedef struct cuda_array *CUarray;
typedef struct cuda_mipmapped_array *CUmipmappedArray;
typedef struct cuda_memory_pool *CUmemoryPool;
typedef struct cuda_graph *CUgraph;
typedef struct cuda_graph_node *CUgraphNode;
typedef struct cuda_executable_graph *CUgraphExec;
typedef struct cuda_module *CUmodule;
typedef struct cuda_library *CUlibrary;
typedef struct cuda_kernel *CUkernel;
typedef struct cuda_function *CUfunction;

/* Streams that are not created: the legacy one (also NULL), and each thread's own. */
#define CU_STREAM_LEGACY ((CUstream)0x1)
#define CU_STREAM_PER_THREAD ((CUstream)0x2)

/* ---- finding functions ---- */

enum cuda_get_proc_flags {
    CU_GET_PROC_ADDRESS_DEFAULT = 0,
    CU_GET_PROC_ADDRESS_LEGACY_STREAM = 1,
    CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM = 2
};

typedef enum cuda_get_proc_result {
    CU_GET_PROC_ADDRESS_SUCCESS = 0,
    CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND = 1,
    CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT = 2
} CUdriverProcAddressQueryResult;

/* ---- devices ---- */

typedef struct cuda_uuid {
    char bytes[16];
} CUuuid;

typedef enum cuda_device_attribute {
    CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1,
    CU_DEVICE_ATTRIBUTE_WARP_SIZE = 10,
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
    CU_DEVICE_ATTRIBUTE_INTEGRATED = 18,
    CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY = 19,
    CU_DEVICE_ATTRIBUTE_PCI_BUS_ID = 33,
    CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID = 34,
    CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING = 41,
    CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID = 50,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
    CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY = 83,
    CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED = 99,
    CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED = 102,
    CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED = 115,
    CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID = 134
} CUdevice_attribute;

/* ---- contexts ---- */

enum cuda_context_flags {
    CU_CTX_SCHED_AUTO = 0x00,
    CU_CTX_SCHED_BLOCKING_SYNC = 0x04,
    CU_CTX_MAP_HOST = 0x08
};

/* ---- memory ---- */

enum cuda_host_alloc_flags {
    CU_MEMHOSTALLOC_PORTABLE = 0x01,
    CU_MEMHOSTALLOC_DEVICEMAP = 0x02,
    CU_MEMHOSTALLOC_WRITECOMBINED = 0x04
};

enum cuda_host_register_flags {
    CU_MEMHOSTREGISTER_PORTABLE = 0x01,
    CU_MEMHOSTREGISTER_DEVICEMAP = 0x02,
    CU_MEMHOSTREGISTER_IOMEMORY = 0x04,
    CU_MEMHOSTREGISTER_READ_ONLY = 0x08
};

enum cuda_memory_attach_flags {
    CU_MEM_ATTACH_GLOBAL = 0x1,
    CU_MEM_ATTACH_HOST = 0x2,
    CU_MEM_ATTACH_SINGLE = 0x4
};

typedef enum cuda_memory_type {
    CU_MEMORYTYPE_HOST = 1,
    CU_MEMORYTYPE_DEVICE = 2,
    CU_MEMORYTYPE_ARRAY = 3,
    CU_MEMORYTYPE_UNIFIED = 4
} CUmemorytype;

/* What each one writes is in the comment; an int where a truth is meant. */
typedef enum cuda_pointer_attribute {
    CU_POINTER_ATTRIBUTE_CONTEXT = 1,                     /* CUcontext */
    CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2,                 /* unsigned: CUmemorytype */
    CU_POINTER_ATTRIBUTE_DEVICE_POINTER = 3,              /* CUdeviceptr */
    CU_POINTER_ATTRIBUTE_HOST_POINTER = 4,                /* void * */
    CU_POINTER_ATTRIBUTE_P2P_TOKENS = 5,                  /* two tokens of nv-p2p.h */
    CU_POINTER_ATTRIBUTE_SYNC_MEMOPS = 6,                 /* int; the one that can be set */
    CU_POINTER_ATTRIBUTE_BUFFER_ID = 7,                   /* unsigned long long */
    CU_POINTER_ATTRIBUTE_IS_MANAGED = 8,                  /* int */
    CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9,              /* int */
    CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE = 10, /* int */
    CU_POINTER_ATTRIBUTE_RANGE_START_ADDR = 11,           /* CUdeviceptr */
    CU_POINTER_ATTRIBUTE_RANGE_SIZE = 12,                 /* size_t */
    CU_POINTER_ATTRIBUTE_MAPPED = 13,                     /* int */
    CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES = 14,       /* uint64_t */
    CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE = 15, /* int */
    CU_POINTER_ATTRIBUTE_ACCESS_FLAGS = 16,               /* unsigned */
    CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE = 17,             /* CUmemoryPool */
    CU_POINTER_ATTRIBUTE_MAPPING_SIZE = 18,               /* size_t */
    CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR = 19,          /* CUdeviceptr */
    CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID = 20             /* unsigned long long */
} CUpointer_attribute;

typedef struct cuda_ipc_memory_handle {
    char reserved[64];
} CUipcMemHandle;

typedef enum cuda_range_handle_type {
    CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD = 1 /* writes an int */
} CUmemRangeHandleType;

typedef enum cuda_memory_location_type {
    CU_MEM_LOCATION_TYPE_INVALID = 0,
    CU_MEM_LOCATION_TYPE_DEVICE = 1,
    CU_MEM_LOCATION_TYPE_HOST = 2,
    CU_MEM_LOCATION_TYPE_HOST_NUMA = 3
} CUmemLocationType;

typedef struct cuda_memory_location {
    CUmemLocationType type;
    int id; /* a device, or a node */
} CUmemLocation;

typedef enum cuda_allocation_type {
    CU_MEM_ALLOCATION_TYPE_INVALID = 0,
    CU_MEM_ALLOCATION_TYPE_PINNED = 1
} CUmemAllocationType;

typedef struct cuda_allocation_properties {
    CUmemAllocationType type;
    unsigned int requestedHandleTypes;
    CUmemLocation location;
    void *win32HandleMetaData;
    struct {
        unsigned char compressionType;
        unsigned char gpuDirectRDMACapable;
        unsigned short usage;
        unsigned char reserved[4];
    } allocFlags;
} CUmemAllocationProp;

typedef struct cuda_memory_access {
    CUmemLocation location;
    unsigned int flags;
} CUmemAccessDesc;

/* ---- arrays ---- */

typedef enum cuda_array_format {
    CU_AD_FORMAT_UNSIGNED_INT8 = 0x01,
    CU_AD_FORMAT_UNSIGNED_INT16 = 0x02,
    CU_AD_FORMAT_UNSIGNED_INT32 = 0x03,
    CU_AD_FORMAT_SIGNED_INT8 = 0x08,
    CU_AD_FORMAT_SIGNED_INT16 = 0x09,
    CU_AD_FORMAT_SIGNED_INT32 = 0x0a,
    CU_AD_FORMAT_HALF = 0x10,
    CU_AD_FORMAT_FLOAT = 0x20
} CUarray_format;

typedef struct cuda_array_descriptor {
    size_t Width;  /* elements */
    size_t Height; /* 0: one-dimensional */
    CUarray_format Format;
    unsigned int NumChannels;
} CUDA_ARRAY_DESCRIPTOR;

typedef struct cuda_array3d_descriptor {
    size_t Width;
    size_t Height;
    size_t Depth;
    CUarray_format Format;
    unsigned int NumChannels;
    unsigned int Flags;
} CUDA_ARRAY3D_DESCRIPTOR;

/* ---- streams and events ---- */

enum cuda_stream_flags {
    CU_STREAM_DEFAULT = 0,
    CU_STREAM_NON_BLOCKING = 1
};

enum cuda_event_flags {
    CU_EVENT_DEFAULT = 0,
    CU_EVENT_BLOCKING_SYNC = 1,
    CU_EVENT_DISABLE_TIMING = 2,
    CU_EVENT_INTERPROCESS = 4
};

typedef enum cuda_capture_mode {
    CU_STREAM_CAPTURE_MODE_GLOBAL = 0,
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1,
    CU_STREAM_CAPTURE_MODE_RELAXED = 2
} CUstreamCaptureMode;

typedef enum cuda_capture_status {
    CU_STREAM_CAPTURE_STATUS_NONE = 0,
    CU_STREAM_CAPTURE_STATUS_ACTIVE = 1,
    CU_STREAM_CAPTURE_STATUS_INVALIDATED = 2
} CUstreamCaptureStatus;

/* What the ABI says of the layouts above; the handles are pointers. */
static_assert(sizeof(CUresult) == 4 && sizeof(CUpointer_attribute) == 4, "enumerations are ints");
static_assert(sizeof(CUuuid) == 16 && sizeof(CUipcMemHandle) == 64, "identifiers");
static_assert(sizeof(CUmemAllocationProp) == 32 && sizeof(CUmemAccessDesc) == 12, "allocations");
static_assert(sizeof(CUDA_ARRAY_DESCRIPTOR) == 24 && sizeof(CUDA_ARRAY3D_DESCRIPTOR) == 40,
              "array descriptors");

#endif
