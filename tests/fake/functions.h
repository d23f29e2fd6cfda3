/*
 * functions.h - what the stand-in driver exports, declared from its table: for programs that are
 * linked with it. (cuda_abi.h declares no function, since the library never links with the driver.)
 */
#ifndef BIGMALLOC_TESTS_FAKE_FUNCTIONS_H
#define BIGMALLOC_TESTS_FAKE_FUNCTIONS_H

#include "cuda_hooks/cuda_abi.h"

/* The parameters of a row of driver_api.def, by their number. */
#define PARAMETERS0(A) void
#define PARAMETERS1(A) A a
#define PARAMETERS2(A, B) A a, B b
#define PARAMETERS3(A, B, C) A a, B b, C c
#define PARAMETERS4(A, B, C, D) A a, B b, C c, D d
#define PARAMETERS5(A, B, C, D, E) A a, B b, C c, D d, E e
#define PARAMETERS6(A, B, C, D, E, F) A a, B b, C c, D d, E e, F f

/* cuda.h of CUDA 13, for the functions that the library does not know. */
typedef struct cuda_memory_pool_properties {
    CUmemAllocationType allocType;
    int handleTypes;
    CUmemLocation location;
    void *win32SecurityAttributes;
    size_t maxSize;
    unsigned short usage;
    unsigned char reserved[54];
} CUmemPoolProps;

typedef struct cuda_allocation_node {
    CUmemPoolProps poolProps;
    const CUmemAccessDesc *accessDescs;
    size_t accessDescCount;
    size_t bytesize;
    CUdeviceptr dptr;
} CUDA_MEM_ALLOC_NODE_PARAMS;

#define FN(class, implementation, base, suffix, version, stream, count, ...) \
    CUresult base##suffix(PARAMETERS##count(__VA_ARGS__));
#include "tests/fake/driver_api.def"
#undef FN

#endif
