/*
 * cublas.c - three functions of libcublas, for blas.c where there is no GPU: memory of the stand-in driver is
 * memory of the host. As the real one does, it takes a workspace of the driver with each handle.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_hooks/cuda_abi.h"

#define EXPORT __attribute__((visibility("default")))
#define WORKSPACE ((size_t)32 << 20)

static void find(const char *symbol, void *function) {
    void *found = dlsym(dlopen("libcuda.so.1", RTLD_NOW), symbol);
    memcpy(function, &found, sizeof found);
}

EXPORT int cublasCreate_v2(CUdeviceptr *handle);
EXPORT int cublasDestroy_v2(CUdeviceptr handle);
EXPORT int cublasSgemm_v2(CUdeviceptr handle, int a_form, int b_form, int m, int n, int k,
                          const float *alpha, const float *a, int a_rows, const float *b,
                          int b_rows, const float *beta, float *c, int c_rows);

int cublasCreate_v2(CUdeviceptr *handle) {
    CUresult (*allocate)(CUdeviceptr * address, size_t bytes) = NULL;
    find("cuMemAlloc_v2", &allocate);
    return (int)allocate(handle, WORKSPACE);
}

int cublasDestroy_v2(CUdeviceptr handle) {
    CUresult (*release)(CUdeviceptr address) = NULL;
    find("cuMemFree_v2", &release);
    return (int)release(handle);
}

int cublasSgemm_v2(CUdeviceptr handle, int a_form, int b_form, int m, int n, int k,
                   const float *alpha, const float *a, int a_rows, const float *b, int b_rows,
                   const float *beta, float *c, int c_rows) {
    (void)handle;
    (void)beta;
    if (a_form != 0 || b_form != 0) {
        return 1;
    }
    for (int column = 0; column < n; column++) {
        float *to = c + (size_t)column * (size_t)c_rows;
        memset(to, 0, (size_t)m * sizeof *to);
        for (int i = 0; i < k; i++) {
            float factor = *alpha * b[(size_t)column * (size_t)b_rows + (size_t)i];
            for (int row = 0; row < m; row++) {
                to[row] += factor * a[(size_t)i * (size_t)a_rows + (size_t)row];
            }
        }
    }
    return 0;
}
