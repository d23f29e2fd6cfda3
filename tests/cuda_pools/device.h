/*
 * device.h - what the programs of this folder share: the stand-in driver's calls, which must
 * succeed unless a test says otherwise, and its counters.
 */
#ifndef TESTS_CUDA_POOLS_DEVICE_H
#define TESTS_CUDA_POOLS_DEVICE_H

#include "tests/fake/fake_cuda.h"
#include "tests/fake/functions.h"
#include "tests/preload/subject.h"

#define OK(call) CHECK((call) == CUDA_SUCCESS)
#define REFUSED(call, result) CHECK((call) == (result))

extern struct fake_cuda *fake;

/* Initialises; the first device's primary context is current from then on, and returned. */
CUcontext begin(void);

/* A new context, current. */
CUcontext context_on(CUdevice device);
CUcontext current(void);

CUdeviceptr take(size_t size);
void give(CUdeviceptr address);
void give_and_take(size_t size);

void *take_pinned(size_t size, unsigned flags);
void give_pinned(void *address);

/* Work for the current context's legacy stream. */
void work_ms(unsigned milliseconds);

/* Calls that reached the driver since fake->forget(): of device memory, of pinned memory, and of
 * those that wait for a context. */
uint64_t allocations(void);
uint64_t frees(void);
uint64_t pinned_allocations(void);
uint64_t pinned_frees(void);
uint64_t waits(void);

/* All memory of the first device is the driver's again. */
bool is_empty(void);

/* A capture of a new stream, and its end, which fails when anyone did what it forbids. */
CUstream capture(CUstreamCaptureMode mode);
void capture_ends_well(CUstream stream);

#define CAPTURE_MODES 3
extern const CUstreamCaptureMode capture_modes[CAPTURE_MODES];

/* What BIGMALLOC_DECAY_MS is in the tests that wait for it. */
#define DECAY_MS 200
void sleep_ms(unsigned milliseconds);

#endif
