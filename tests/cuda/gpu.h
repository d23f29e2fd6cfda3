/*
 * gpu.h - the CUDA driver of this machine, or the stand-in, for programs that are built without a
 * toolkit; work that keeps it busy; and what they print.
 *
 * Whatever fails ends the program with status 1 and a line on stderr, but where there is no GPU:
 * then it ends with NO_GPU.
 */
#ifndef TESTS_CUDA_GPU_H
#define TESTS_CUDA_GPU_H

#include "cuda_hooks/cuda_abi.h"
#include "tests/fake/fake_cuda.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

enum {
    NO_GPU = 77 /* as test drivers have it that skip */
};

struct gpu {
    void *library;
    struct fake_cuda *stand_in; /* NULL: it is a real one */
    int devices;
    CUcontext context; /* the primary one of the first */
#define GPU(symbol, parameters) CUresult(*symbol) parameters;
#include "tests/cuda/gpu.def"
#undef GPU
};

extern struct gpu gpu;

/* Makes the first device's primary context current, and returns it. */
CUcontext gpu_begin(void);
CUcontext gpu_context_on(CUdevice device);

/* A function of the driver by name; NULL: it has none. */
void *gpu_find(const char *symbol);

/* Keeps a stream of the current context busy for so long. False: there are no kernels here. */
bool gpu_work(CUstream stream, unsigned milliseconds);

/* Adds n to each 32-bit word, on the device. False: there are no kernels here. */
bool gpu_add(CUdeviceptr words, size_t count, uint32_t n);

CUdeviceptr gpu_take(size_t bytes);
void gpu_give(CUdeviceptr address);

#define OK(call) must_succeed((call), #call)
void must_succeed(CUresult result, const char *call);

double now_us(void);
double median(double *values, size_t count);

#endif
