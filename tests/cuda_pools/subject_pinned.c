/* subject_pinned.c - pinned host memory: by context and flags, and every context can reach it. */
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cuda_pools/device.h"

enum {
    WORK_MS = 100
};

void a_loop_of_pinned_blocks_asks_the_driver_once(void) {
    (void)begin();
    void *address = take_pinned(8 * MIB, 0);
    give_pinned(address);
    fake->forget();
    for (int i = 0; i < 100; i++) {
        address = take_pinned(8 * MIB, 0);
        memset(address, i, 8 * MIB);
        give_pinned(address);
    }
    CHECK(pinned_allocations() == 0 && pinned_frees() == 0);
    CHECK(waits() <= 100);
}

static const unsigned all_flags[] = {0, CU_MEMHOSTALLOC_PORTABLE, CU_MEMHOSTALLOC_DEVICEMAP,
                                     CU_MEMHOSTALLOC_WRITECOMBINED,
                                     CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP};
#define FLAGS (sizeof all_flags / sizeof *all_flags)

void pinned_blocks_keep_their_flags(void) {
    (void)begin();
    for (size_t i = 0; i < 3 * FLAGS; i++) {
        unsigned flags = 99;
        CUdeviceptr device = 0;
        void *address = take_pinned(8 * MIB, all_flags[i % FLAGS]);
        OK(cuMemHostGetFlags(&flags, address));
        OK(cuMemHostGetDevicePointer_v2(&device, address, 0));
        CHECK(flags == all_flags[i % FLAGS] && device != 0);
        give_pinned(address);
    }
}

static void pinned_is_unknown(void *address) {
    unsigned flags = 77;
    CUdeviceptr device = 77;
    unsigned type = 77;
    REFUSED(cuMemHostGetFlags(&flags, address), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemHostGetDevicePointer_v2(&device, address, 0), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)address),
            CUDA_ERROR_INVALID_VALUE);
    CHECK(flags == 77 && device == 77 && type == 77);
}

void freed_pinned_memory_is_unknown(void) {
    (void)begin();
    char *live = take_pinned(8 * MIB, 0);
    char *address = take_pinned(8 * MIB, CU_MEMHOSTALLOC_PORTABLE);
    give_pinned(address);
    pinned_is_unknown(address);
    pinned_is_unknown(address + 4096);
    pinned_is_unknown(address + 8 * MIB - 1);
    CUdeviceptr device = 0;
    OK(cuMemHostGetDevicePointer_v2(&device, live + MIB, 0));
    CHECK(device == (CUdeviceptr)live + MIB);
}

void a_pinned_range_is_of_the_requested_size(void) {
    (void)begin();
    CUdeviceptr address = (CUdeviceptr)take_pinned(5 * MIB + 3, 0);
    size_t size = 0;
    OK(cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, address + MIB));
    CHECK(size == 5 * MIB + 3);
}

void a_pinned_block_is_for_its_flags(void) {
    (void)begin();
    void *idle[FLAGS];
    for (size_t i = 0; i < FLAGS; i++) {
        idle[i] = take_pinned(8 * MIB, all_flags[i]);
        give_pinned(idle[i]);
    }
    CHECK(pinned_allocations() == FLAGS);
    for (size_t i = FLAGS; i-- > 0;) {
        CHECK(take_pinned(8 * MIB, all_flags[i]) == idle[i]);
    }
}

void a_pinned_block_is_for_its_context(void) {
    (void)begin();
    void *address = take_pinned(8 * MIB, 0);
    give_pinned(address);
    (void)context_on(0);
    CHECK(take_pinned(8 * MIB, 0) != address);
    OK(cuCtxPopCurrent_v2(NULL));
    CHECK(take_pinned(8 * MIB, 0) == address);
}

/* Also the one that neither owned the block nor freed it. */
void every_context_is_waited_for(void) {
    fake_cuda()->knobs.devices = 2;
    CUcontext owner = begin();
    void *address = take_pinned(8 * MIB, CU_MEMHOSTALLOC_PORTABLE);
    CUcontext other = context_on(1);
    give_and_take(8 * MIB);
    work_ms(WORK_MS);
    OK(cuCtxPopCurrent_v2(NULL));
    give_pinned(address);
    CHECK(take_pinned(8 * MIB, CU_MEMHOSTALLOC_PORTABLE) == address);
    CHECK(!fake->is_busy(owner) && !fake->is_busy(other));
    CHECK(current() == owner);
}

/* Work there may use pinned memory of all others, though nothing was ever allocated in it. */
void a_context_that_asked_for_nothing_is_waited_for(void) {
    fake_cuda()->knobs.devices = 2;
    CUcontext owner = begin();
    void *address = take_pinned(8 * MIB, CU_MEMHOSTALLOC_PORTABLE);
    CUcontext primary = NULL;
    OK(cuDevicePrimaryCtxRetain(&primary, 1));
    CUcontext created = context_on(0);
    work_ms(WORK_MS);
    OK(cuCtxSetCurrent(primary));
    work_ms(WORK_MS);
    OK(cuCtxSetCurrent(owner));
    give_pinned(address);
    CHECK(take_pinned(8 * MIB, CU_MEMHOSTALLOC_PORTABLE) == address);
    CHECK(!fake->is_busy(primary) && !fake->is_busy(created));
}

static CUcontext context_aside(CUdevice device) {
    CUcontext context = context_on(device);
    OK(cuCtxPopCurrent_v2(NULL));
    return context;
}

/* There is room for 32; one place stays with its device. What is pinned among contexts that are not known is freed
 * by the driver, which knows them all. */
void pinned_memory_among_too_many_contexts_is_the_drivers(void) {
    fake_cuda()->knobs.devices = 8;
    (void)begin();
    void *address = take_pinned(8 * MIB, 0);
    CUcontext context = NULL;
    for (int i = 1; i < 8; i++) {
        OK(cuDevicePrimaryCtxRetain(&context, i));
    }
    for (int i = 0; i < 24; i++) {
        context = context_aside(0);
    }
    OK(cuCtxDestroy_v2(context));
    give_pinned(address);
    CHECK(take_pinned(8 * MIB, 0) == address);
    (void)context_aside(1);
    give_pinned(address);
    CHECK(pinned_frees() == 1);
}

/* Neither is its work under way, nor is its fault anybody else's. Its own context is waited for last. */
void a_fault_elsewhere_leaves_pinned_memory_alone(void) {
    (void)begin();
    void *address = take_pinned(8 * MIB, 0);
    (void)context_on(0);
    OK(cuCtxPopCurrent_v2(NULL));
    fake->forget();
    fake->fail("cuCtxSynchronize", 1, CUDA_ERROR_INVALID_CONTEXT);
    give_pinned(address);
    CHECK(waits() == 2 && pinned_frees() == 0);
    CHECK(take_pinned(8 * MIB, 0) == address);
}

void the_end_of_another_primary_context_leaves_pinned_memory_alone(void) {
    static CUresult (*const ends[])(CUdevice) = {cuDevicePrimaryCtxReset_v2,
                                                 cuDevicePrimaryCtxRelease_v2};
    fake_cuda()->knobs.devices = 2;
    (void)begin();
    for (size_t i = 0; i < 2; i++) {
        CUcontext primary = NULL;
        OK(cuDevicePrimaryCtxRetain(&primary, 1));
        OK(cuCtxPushCurrent_v2(primary));
        give_pinned(take_pinned(8 * MIB, 0));
        OK(cuCtxPopCurrent_v2(NULL));
        OK(ends[i](1));
        void *address = take_pinned(8 * MIB, 0);
        give_pinned(address);
        CHECK(take_pinned(8 * MIB, 0) == address);
        give_pinned(address);
    }
}

void pinned_sizes_are_not_rounded_to_powers_of_two(void) {
    (void)begin();
    for (size_t size = MIB + 1; size < GIB; size += size / 3) {
        fake->forget();
        (void)take_pinned(size, 0);
        const struct fake_cuda_call *call = fake->log;
        for (size_t i = 0; i < fake->logged; i++) {
            if (strncmp(fake->log[i].symbol, "cuMem", 5) == 0) {
                call = &fake->log[i];
            }
        }
        CHECK(call->arguments[1] >= size);
        CHECK(call->arguments[1] <= size + size / 5 + 2 * MIB);
    }
}

void pinned_memory_is_forgotten_with_its_context(void) {
    (void)begin();
    CUcontext context = context_on(0);
    void *address = take_pinned(8 * MIB, 0);
    give_pinned(address);
    CHECK(pinned_frees() == 0);
    OK(cuCtxDestroy_v2(context));
    CHECK(context_on(0) == context);
    CHECK(take_pinned(8 * MIB, 0) != address);
    fake->forget();
    (void)malloc_trim(0);
    CHECK(pinned_frees() == 0);
}

void idle_pinned_memory_makes_room(void) {
    static const size_t sizes[] = {64 * MIB, 64 * KIB};
    (void)begin();
    for (size_t i = 0; i < 2; i++) {
        give_pinned(take_pinned(8 * MIB, 0));
        fake->fail("cuMemHostAlloc", 1, CUDA_ERROR_OUT_OF_MEMORY);
        fake->forget();
        (void)take_pinned(sizes[i], 0);
        CHECK(pinned_frees() == 1);
        (void)malloc_trim(0);
    }
}

void pinned_errors_are_the_drivers(void) {
    void *address = NULL;
    REFUSED(cuMemHostAlloc(&address, 8 * MIB, 0), CUDA_ERROR_NOT_INITIALIZED);
    OK(cuInit(0));
    REFUSED(cuMemHostAlloc(&address, 8 * MIB, 0), CUDA_ERROR_INVALID_CONTEXT);
    (void)begin();
    REFUSED(cuMemHostAlloc(&address, 0, 0), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemHostAlloc(&address, 8 * MIB, 0x80), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemHostAlloc(NULL, 8 * MIB, 0), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemFreeHost(NULL), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemFreeHost(&address), CUDA_ERROR_INVALID_VALUE);
    CHECK(address == NULL);
    OK(cuMemAllocHost_v2(&address, 8 * MIB));
    REFUSED(cuMemFreeHost((char *)address + 4096), CUDA_ERROR_INVALID_VALUE);
    give_pinned(address);
    REFUSED(cuMemFreeHost(address), CUDA_ERROR_INVALID_VALUE);
}

void small_pinned_sizes_are_the_drivers(void) {
    (void)begin();
    give_pinned(take_pinned(64 * KIB, 0));
    fake->forget();
    give_pinned(take_pinned(64 * KIB, 0));
    CHECK(fake->logged == 2 && pinned_allocations() == 1 && pinned_frees() == 1);
}

void registered_memory_is_the_drivers(void) {
    (void)begin();
    void *address = get(8 * MIB);
    OK(cuMemHostRegister_v2(address, 8 * MIB, 0));
    REFUSED(cuMemFreeHost(address), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemHostRegister_v2(address, 8 * MIB, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    OK(cuMemHostUnregister(address));
    REFUSED(cuMemHostUnregister(address), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    free(address);
}

/* What a device would read and write: the entry of the first page, with its frame where the kernel tells that (only
 * to root); 0 where there is none. proc_pid_pagemap(5). */
static uint64_t page_entry(const char *address) {
    uint64_t entry = 0;
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    off_t place = (off_t)((uintptr_t)address / PAGE * sizeof entry);
    CHECK(pagemap >= 0 && pread(pagemap, &entry, sizeof entry, place) == (ssize_t)sizeof entry);
    (void)close(pagemap);
    const uint64_t frame_and_present = (UINT64_C(1) << 63) | ((UINT64_C(1) << 55) - 1);
    return entry & frame_and_present;
}

static void *registered(size_t bytes) {
    void *address = get(bytes);
    memset(address, 1, bytes);
    OK(cuMemHostRegister_v2(address, bytes, 0));
    return address;
}

void registered_memory_stays_when_it_is_freed(void) {
    (void)begin();
    char *address = registered(16 * MIB);
    uint64_t entry = page_entry(address);
    free(address);
    for (int i = 0; i < 4; i++) {
        CHECK(get_touched(16 * MIB) != address);
    }
    CHECK(malloc_trim(0) || true);
    CHECK(page_entry(address) == entry);
    OK(cuMemHostUnregister(address));
    CHECK(page_entry(address) == 0);
}

void registered_memory_is_copied_by_realloc(void) {
    (void)begin();
    char *address = registered(16 * MIB);
    uint64_t entry = page_entry(address);
    char *moved = realloc(address, 64 * MIB);
    CHECK(moved != NULL && moved != address && moved[16 * MIB - 1] == 1);
    CHECK(page_entry(address) == entry);
    OK(cuMemHostUnregister(address));
    CHECK(page_entry(address) == 0);
}

void memory_of_a_destroyed_context_is_not_registered_any_more(void) {
    (void)begin();
    CUcontext c = context_on(0);
    give(take(2 * MIB));
    char *address = registered(16 * MIB);
    free(address);
    CHECK(page_entry(address) != 0);
    OK(cuCtxDestroy_v2(c));
    CHECK(page_entry(address) == 0);
}

void memory_that_could_not_be_registered_is_free_to_go(void) {
    (void)begin();
    char *address = get_touched(16 * MIB);
    fake->fail("cuMemHostRegister_v2", 1, CUDA_ERROR_NOT_PERMITTED);
    REFUSED(cuMemHostRegister_v2(address, 16 * MIB, 0), CUDA_ERROR_NOT_PERMITTED);
    free(address);
    (void)malloc_trim(0);
    CHECK(page_entry(address) == 0);
}

void a_capture_survives_pinned_frees(void) {
    (void)begin();
    for (int i = 0; i < CAPTURE_MODES; i++) {
        void *address = take_pinned(8 * MIB, 0);
        CUstream stream = capture(capture_modes[i]);
        fake->forget();
        give_pinned(address);
        CHECK(waits() == 0 && pinned_frees() == 0);
        capture_ends_well(stream);
    }
}

void malloc_trim_gives_pinned_memory_back(void) {
    (void)begin();
    for (size_t i = 1; i <= 5; i++) {
        give_pinned(take_pinned(i * 10 * MIB, 0));
    }
    fake->forget();
    CHECK(malloc_trim(0) == 1);
    CHECK(pinned_frees() == 5);
}

static bool one_is_freed(void) {
    return pinned_frees() == 1;
}

void idle_pinned_memory_goes_back(void) {
    (void)begin();
    give_pinned(take_pinned(64 * MIB, 0));
    CHECK(pinned_frees() == 0);
    CHECK(comes_true(one_is_freed, 10 * 1000));
}

/* BIGMALLOC_PINNED=off */
void the_driver_pins(void) {
    (void)begin();
    for (int i = 0; i < 5; i++) {
        give_pinned(take_pinned(8 * MIB, 0));
    }
    CHECK(pinned_allocations() == 5 && pinned_frees() == 5);
}
