/*
 * fake_cuda.h - how a test in the same process tells the stand-in driver what to be, and asks it
 * what it saw. A program of its own is told by the environment (knobs.def, and FAKE_CUDA_FAIL,
 * FAKE_CUDA_LOG below).
 *
 *     struct fake_cuda *fake = fake_cuda();        or dlsym(libcuda, "fake_cuda")
 *     fake->knobs.memory = 64 << 20;
 *     fake->fail("cuMemAlloc_v2", 2, CUDA_ERROR_OUT_OF_MEMORY);
 *     ... the program under test ...
 *     fake->calls("cuMemFree_v2") == 1
 *
 * All of it may be used from any thread at any time, but the log, which is for reading when nobody
 * is in the driver.
 *
 *   FAKE_CUDA_FAIL   symbol:nth:result[,...], as fail() below
 *   FAKE_CUDA_LOG    a file that a line for each call is added to
 */
#ifndef BIGMALLOC_TESTS_FAKE_CUDA_H
#define BIGMALLOC_TESTS_FAKE_CUDA_H

#include "cuda_hooks/cuda_abi.h"

#include <stdatomic.h>
#include <stdbool.h>

enum {
    FAKE_CUDA_DEVICES = 8,
    FAKE_CUDA_ARGUMENTS = 4,
    FAKE_CUDA_CALLS = 1 << 16 /* calls that the log has room for; later ones are counted only */
};

struct fake_cuda_knobs {
#define KNOB(name, variable, otherwise, what) _Atomic uint64_t name;
#include "tests/fake/knobs.def"
#undef KNOB
};

struct fake_cuda_call {
    const char *symbol; /* as exported: cuMemAlloc_v2 */
    long thread;        /* gettid */
    uint64_t arguments[FAKE_CUDA_ARGUMENTS];
    uint64_t value; /* what was written through a pointer: the address, the handle, the answer */
    char text[96];  /* cuGetProcAddress: name, version and flags asked for, and the symbol given */
    CUresult result;
    uint64_t begin_ns; /* CLOCK_MONOTONIC */
    uint64_t end_ns;
};

struct fake_cuda {
    struct fake_cuda_knobs knobs;

    /* The nth call from now of symbol (1: the next) has this result and does nothing else. A fault
     * of the device (700 to 719) stays, as it does on a real one. */
    void (*fail)(const char *symbol, unsigned nth, CUresult result);

    /* Makes a stream of the current context busy for so long from now (a kernel). False when there
     * is no such stream. NULL is the legacy stream. */
    bool (*work)(CUstream stream, uint64_t microseconds);

    /* What the context works on is done now: work of an hour is not over before a test says so. */
    void (*finish)(CUcontext context);

    /* True while the context has work. */
    bool (*is_busy)(CUcontext context);

    /* Called amid each call of a symbol, by the same thread, without a lock: a real driver uses the heap there.
     * NULL: nothing is. */
    void (*_Atomic amid)(const char *symbol);

    /* Bytes of the device that are taken. */
    uint64_t (*used)(CUdevice device);

    /* Calls of an exported symbol since the start, or since forget(). */
    uint64_t (*calls)(const char *symbol);
    void (*forget)(void);

    const struct fake_cuda_call *log;
    _Atomic uint64_t logged; /* may be more than there is room for */
};

struct fake_cuda *fake_cuda(void);

#endif
