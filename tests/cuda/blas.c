/*
 * blas.c LIBRARY - products by the toolkit's libcublas, which has a static runtime in it and takes its
 * workspaces through that. All numbers are small and whole: every result is exact. It prints a checksum.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda/gpu.h"

enum {
    NOT_TRANSPOSED = 0, /* CUBLAS_OP_N */
    HANDLES = 10
};

typedef struct blas_handle *blas_handle;

/* The functions of cublas_v2.h that are called here, by ABI. */
static struct {
    int (*create)(blas_handle *handle);
    int (*destroy)(blas_handle handle);
    int (*multiply)(blas_handle handle, int a_form, int b_form, int m, int n, int k,
                    const float *alpha, const float *a, int a_rows, const float *b, int b_rows,
                    const float *beta, float *c, int c_rows);
} blas;

static void find(void *library, const char *symbol, void *function) {
    void *found = dlsym(library, symbol);
    if (found == NULL) {
        (void)fprintf(stderr, "no %s\n", symbol);
        exit(1);
    }
    memcpy(function, &found, sizeof found);
}

static void open_library(const char *name) {
    void *library = dlopen(name, RTLD_NOW);
    if (library == NULL) {
        (void)fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    find(library, "cublasCreate_v2", &blas.create);
    find(library, "cublasDestroy_v2", &blas.destroy);
    find(library, "cublasSgemm_v2", &blas.multiply);
}

static void must_be_zero(int status, const char *call) {
    if (status != 0) {
        (void)fprintf(stderr, "%s: %d\n", call, status);
        exit(1);
    }
}

static CUdeviceptr to_device(const float *host, size_t bytes) {
    CUdeviceptr address = gpu_take(bytes);
    OK(gpu.cuMemcpyHtoD_v2(address, host, bytes));
    return address;
}

/* C = A B, where A[i][j] = i % 5, B[i][j] = j % 7, so that C[i][j] = n (i % 5) (j % 7). By columns. */
static void fill(float *a, float *b, int n) {
    for (int column = 0; column < n; column++) {
        for (int row = 0; row < n; row++) {
            a[column * n + row] = (float)(row % 5);
            b[column * n + row] = (float)(column % 7);
        }
    }
}

static unsigned long check(const float *c, int n) {
    unsigned long sum = 0;
    for (int column = 0; column < n; column++) {
        for (int row = 0; row < n; row++) {
            unsigned long value = (unsigned long)c[column * n + row];
            if (value != (unsigned long)n * (unsigned)(row % 5) * (unsigned)(column % 7)) {
                (void)fprintf(stderr, "row %d, column %d of %d: %lu\n", row, column, n, value);
                exit(1);
            }
            sum = sum * 31 + value;
        }
    }
    return sum;
}

static unsigned long product(blas_handle handle, int n) {
    static const float one = 1;
    static const float zero = 0;
    size_t bytes = (size_t)n * (size_t)n * sizeof(float);
    float *host = malloc(2 * bytes);
    if (host == NULL) {
        exit(1);
    }
    fill(host, host + n * n, n);
    CUdeviceptr a = to_device(host, bytes);
    CUdeviceptr b = to_device(host + n * n, bytes);
    CUdeviceptr c = to_device(host, bytes);
    must_be_zero(blas.multiply(handle, NOT_TRANSPOSED, NOT_TRANSPOSED, n, n, n, &one,
                               (const float *)a, n, (const float *)b, n, &zero, (float *)c, n),
                 "cublasSgemm_v2");
    OK(gpu.cuMemcpyDtoH_v2(host, c, bytes));
    gpu_give(a);
    gpu_give(b);
    gpu_give(c);
    unsigned long sum = check(host, n);
    free(host);
    return sum;
}

int main(int argc, char **argv) {
    unsigned long sum = 0;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: blas LIBRARY\n");
        return 2;
    }
    (void)gpu_begin();
    open_library(argv[1]);
    for (int i = 0; i < HANDLES; i++) {
        blas_handle handle = NULL;
        must_be_zero(blas.create(&handle), "cublasCreate_v2");
        sum = sum * 31 + product(handle, 600 + 10 * i);
        must_be_zero(blas.destroy(handle), "cublasDestroy_v2");
    }
    (void)printf("checksum %lu\n", sum);
    return 0;
}
