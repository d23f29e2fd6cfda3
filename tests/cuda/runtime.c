/*
 * runtime.c - a program of the CUDA runtime, which is linked with libcudart or libcudart_static:
 * device, pitched and pinned memory, copies between them, and what must be refused. The functions
 * are declared here, by ABI: no header of the toolkit is needed. It prints a checksum.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cudaGetDeviceCount(int *count);
int cudaMalloc(void **address, size_t bytes);
int cudaMallocPitch(void **address, size_t *pitch, size_t width, size_t height);
int cudaMallocHost(void **address, size_t bytes);
int cudaMallocAsync(void **address, size_t bytes, void *stream);
int cudaFree(void *address);
int cudaFreeHost(void *address);
int cudaFreeAsync(void *address, void *stream);
int cudaMemcpy(void *to, const void *from, size_t bytes, int kind);
int cudaMemset(void *address, int value, size_t bytes);
int cudaDeviceSynchronize(void);

#define OK(call) must_be(call, 0, #call)
#define MIB ((size_t)1 << 20)

enum {
    NO_GPU = 77,
    TO_DEVICE = 1,
    TO_HOST = 2,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2
};

static void must_be(int result, int wanted, const char *call) {
    if (result != wanted) {
        (void)fprintf(stderr, "%s: %d\n", call, result);
        exit(1);
    }
}

/* There and back. */
static uint32_t round_trip(uint32_t *host, size_t bytes, uint32_t seed) {
    void *device = NULL;
    for (size_t i = 0; i < bytes / 4; i++) {
        host[i] = seed + (uint32_t)i;
    }
    OK(cudaMalloc(&device, bytes));
    OK(cudaMemcpy(device, host, bytes, TO_DEVICE));
    memset(host, 0, bytes);
    OK(cudaMemcpy(host, device, bytes, TO_HOST));
    OK(cudaFree(device));
    uint32_t sum = 0;
    for (size_t i = 0; i < bytes / 4; i++) {
        sum = sum * 31 + host[i];
    }
    return sum;
}

static uint32_t copies(void) {
    void *host = NULL;
    uint32_t sum = 0;
    for (uint32_t i = 1; i <= 100; i++) {
        size_t bytes = i % 10 * MIB + 4096;
        OK(cudaMallocHost(&host, bytes));
        sum = sum * 31 + round_trip(host, bytes, i);
        OK(cudaFreeHost(host));
    }
    return sum;
}

static void other_memory(void) {
    void *device = NULL;
    size_t pitch = 0;
    for (int i = 0; i < 10; i++) {
        OK(cudaMallocPitch(&device, &pitch, 1000, 4000));
        OK(cudaMemset(device, i, pitch * 4000));
        OK(cudaFree(device));
        OK(cudaMallocAsync(&device, 8 * MIB, NULL));
        OK(cudaFreeAsync(device, NULL));
        OK(cudaMalloc(&device, 8 * MIB));
        OK(cudaDeviceSynchronize());
        OK(cudaFreeAsync(device, NULL));
    }
    (void)printf("pitch %zu\n", pitch);
}

static void refusals(void) {
    void *device = NULL;
    OK(cudaMalloc(&device, 0));
    OK(cudaFree(NULL));
    must_be(cudaMalloc(&device, (size_t)1 << 50), OUT_OF_MEMORY, "cudaMalloc of a PiB");
    OK(cudaMalloc(&device, 8 * MIB));
    must_be(cudaFree((char *)device + 256), INVALID_VALUE, "cudaFree inside a block");
    OK(cudaFree(device));
    must_be(cudaFree(device), INVALID_VALUE, "the second cudaFree");
}

int main(void) {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != 0 || devices == 0) {
        (void)printf("no GPU: the runtime finds no device\n");
        return NO_GPU;
    }
    (void)printf("checksum %u\n", copies());
    other_memory();
    refusals();
    return 0;
}
