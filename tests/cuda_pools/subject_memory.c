/* subject_memory.c - idle memory makes room, has limits, and goes back. */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda_pools/device.h"

enum {
    TICK_MS = 1000 /* without a helper thread it is looked at so often what has aged */
};

/* ---- the device is full ---- */

static void begin_with(size_t memory) {
    (void)begin();
    fake->knobs.memory = memory;
}

void idle_memory_makes_room(void) {
    begin_with(64 * MIB);
    give_and_take(40 * MIB);
    give(take(50 * MIB));
    give(take(64 * MIB));
}

void idle_memory_of_another_context_makes_room(void) {
    begin_with(64 * MIB);
    CUcontext other = context_on(0);
    give_and_take(40 * MIB);
    OK(cuCtxPopCurrent_v2(NULL));
    CHECK(current() != other);
    (void)take(50 * MIB);
}

/* All of it is idle; what is asked for is too small for the pools. */
void idle_memory_makes_room_for_small_blocks(void) {
    begin_with(64 * MIB);
    give_and_take(64 * MIB);
    (void)take(512 * KIB);
}

static CUresult async(CUdeviceptr *address) {
    return cuMemAllocAsync(address, 50 * MIB, NULL);
}

static CUresult async_per_thread(CUdeviceptr *address) {
    return cuMemAllocAsync_ptsz(address, 50 * MIB, NULL);
}

static CUresult from_pool(CUdeviceptr *address) {
    CUmemoryPool pool = NULL;
    OK(cuDeviceGetDefaultMemPool(&pool, 0));
    return cuMemAllocFromPoolAsync(address, 50 * MIB, pool, NULL);
}

static CUresult managed(CUdeviceptr *address) {
    return cuMemAllocManaged(address, 50 * MIB, CU_MEM_ATTACH_GLOBAL);
}

static CUresult pitched(CUdeviceptr *address) {
    size_t pitch = 0;
    return cuMemAllocPitch_v2(address, &pitch, 1024, 50 * MIB / 1024, 4);
}

static CUresult created(CUdeviceptr *handle) {
    CUmemAllocationProp properties = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                      .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    return cuMemCreate(handle, 50 * MIB, &properties, 0);
}

static CUresult array(CUdeviceptr *handle) {
    CUDA_ARRAY_DESCRIPTOR d = {1024, 50 * MIB / 1024, CU_AD_FORMAT_UNSIGNED_INT8, 1};
    return cuArrayCreate_v2((CUarray *)handle, &d);
}

static const CUDA_ARRAY3D_DESCRIPTOR cube = {.Width = 1024,
                                             .Height = 1024,
                                             .Depth = 50,
                                             .Format = CU_AD_FORMAT_UNSIGNED_INT8,
                                             .NumChannels = 1};

static CUresult array_3d(CUdeviceptr *handle) {
    return cuArray3DCreate_v2((CUarray *)handle, &cube);
}

static CUresult mipmapped(CUdeviceptr *handle) {
    return cuMipmappedArrayCreate((CUmipmappedArray *)handle, &cube, 1);
}

static CUresult release(CUdeviceptr handle) {
    return cuMemRelease(handle);
}

static CUresult destroy(CUdeviceptr handle) {
    return cuArrayDestroy((CUarray)(uintptr_t)handle);
}

static CUresult destroy_mipmapped(CUdeviceptr handle) {
    return cuMipmappedArrayDestroy((CUmipmappedArray)(uintptr_t)handle);
}

void every_kind_of_memory_gets_room(void) {
    static const struct {
        CUresult (*take)(CUdeviceptr *);
        CUresult (*give)(CUdeviceptr);
    } kinds[] = {{async, cuMemFree_v2},
                 {async_per_thread, cuMemFree_v2},
                 {from_pool, cuMemFree_v2},
                 {managed, cuMemFree_v2},
                 {pitched, cuMemFree_v2},
                 {created, release},
                 {array, destroy},
                 {array_3d, destroy},
                 {mipmapped, destroy_mipmapped}};
    begin_with(64 * MIB);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        CUdeviceptr handle = 0;
        give_and_take(40 * MIB);
        OK(kinds[i].take(&handle));
        OK(kinds[i].give(handle));
    }
}

static void map_and_unmap(CUdeviceptr handle) {
    CUdeviceptr address = 0;
    OK(cuMemAddressReserve(&address, 50 * MIB, 0, 0, 0));
    OK(cuMemMap(address, 50 * MIB, 0, handle, 0));
    OK(cuMemUnmap(address, 50 * MIB));
    OK(cuMemAddressFree(address, 50 * MIB));
}

void make_requests_beside_the_pools(void) {
    static CUresult (*const of_streams[])(CUdeviceptr *) = {async, async_per_thread, from_pool};
    static CUresult (*const arrays[])(CUdeviceptr *) = {array, array_3d, mipmapped};
    CUdeviceptr handle = 0;
    begin_with(512 * MIB);
    give_and_take(8 * MIB);
    for (int i = 0; i < 3; i++) {
        OK(of_streams[i](&handle));
        OK(cuMemFreeAsync(handle, NULL));
        OK(arrays[i](&handle));
    }
    OK(managed(&handle));
    OK(cuMemFree_v2(handle));
    OK(created(&handle));
    map_and_unmap(handle);
    OK(cuMemRelease(handle));
}

/* By symbol: whatever its parameters are, the stand-in looks at none of what it does not know. */
static CUresult call(const char *symbol) {
    CUresult (*function)(void *, void *, void *, void *) = NULL;
    void *found = dlsym(RTLD_DEFAULT, symbol);
    CHECK(found != NULL);
    memcpy(&function, &found, sizeof found);
    return function(NULL, NULL, NULL, NULL);
}

/* What takes memory by the way is refused once, as if ours had been in its way. */
void loading_and_running_code_gets_room(void) {
    static const char *const symbols[] = {"cuModuleLoad",
                                          "cuModuleLoadData",
                                          "cuModuleLoadDataEx",
                                          "cuModuleLoadFatBinary",
                                          "cuModuleGetFunction",
                                          "cuLibraryLoadData",
                                          "cuLibraryLoadFromFile",
                                          "cuFuncLoad",
                                          "cuKernelGetFunction",
                                          "cuLaunchKernel",
                                          "cuLaunchKernel_ptsz",
                                          "cuLaunchKernelEx",
                                          "cuLaunchKernelEx_ptsz",
                                          "cuLaunchCooperativeKernel",
                                          "cuLaunchCooperativeKernel_ptsz",
                                          "cuGraphInstantiateWithFlags",
                                          "cuGraphInstantiateWithParams",
                                          "cuGraphInstantiateWithParams_ptsz",
                                          "cuGraphUpload",
                                          "cuGraphUpload_ptsz",
                                          "cuGraphLaunch",
                                          "cuGraphLaunch_ptsz"};
    (void)begin();
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        give_and_take(8 * MIB);
        fake->forget();
        fake->fail(symbols[i], 1, CUDA_ERROR_OUT_OF_MEMORY);
        REFUSED(call(symbols[i]), CUDA_ERROR_NOT_SUPPORTED);
        CHECK(fake->calls(symbols[i]) == 2 && is_empty());
    }
}

void a_new_context_gets_room(void) {
    static const char *const symbols[] = {"cuCtxCreate_v2", "cuCtxCreate_v3", "cuCtxCreate_v4",
                                          "cuDevicePrimaryCtxRetain", "cuGreenCtxCreate"};
    CUcontext first = begin();
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        CUcontext context = NULL;
        CUgreenCtx green = NULL;
        OK(cuCtxSetCurrent(first));
        give_and_take(8 * MIB);
        fake->fail(symbols[i], 1, CUDA_ERROR_OUT_OF_MEMORY);
        switch (i) {
        case 0: OK(cuCtxCreate_v2(&context, 0, 0)); break;
        case 1: OK(cuCtxCreate_v3(&context, NULL, 0, 0, 0)); break;
        case 2: OK(cuCtxCreate_v4(&context, NULL, 0, 0)); break;
        case 3: OK(cuDevicePrimaryCtxRetain(&context, 0)); break;
        default: OK(cuGreenCtxCreate(&green, NULL, 0, 1)); break;
        }
        CHECK(is_empty());
    }
}

void the_exact_size_is_granted_where_more_is_not(void) {
    (void)begin();
    for (size_t size = 2 * MIB; size < GIB; size += size / 9 / (2 * MIB) * 2 * MIB + 2 * MIB) {
        fake->knobs.memory = size;
        CUdeviceptr address = take(size);
        memset((void *)address, 1, 1);
        give(address);
    }
}

/* 66 of 74 MiB are left, which rounded up would be too little. */
void an_exact_size_costs_no_idle_memory(void) {
    (void)begin();
    give_and_take(8 * MIB);
    fake->knobs.memory = 74 * MIB;
    (void)take(66 * MIB);
    CHECK(fake->used(0) == 74 * MIB);
}

/* Whatever it served before, a block reaches as far as the request. */
void a_block_made_to_measure_serves_no_more_than_it_holds(void) {
    static const size_t rests[] = {0, 1, 2, 4096, MIB / 2 + 1, MIB, MIB + 2, 3 * MIB / 2 + 1};
    enum {
        RESTS = sizeof rests / sizeof *rests
    };
    (void)begin();
    give_and_take(8 * MIB);
    for (size_t i = 0; i < 4 * RESTS * RESTS; i++) {
        size_t first = (1 + i % 4) * 2 * MIB + rests[i / 4 % RESTS];
        size_t second = (1 + i % 4) * 2 * MIB + rests[i / 4 / RESTS];
        fake->knobs.memory = (first + 2 * MIB - 1) / (2 * MIB) * 2 * MIB;
        give_and_take(first);
        fake->knobs.memory = GIB;
        CUdeviceptr address = take(second);
        memset((void *)(address + second - 1), 1, 1);
        give(address);
        (void)malloc_trim(0);
    }
}

/* The log's place of the first free of an address, or SIZE_MAX. */
static size_t place_of_free(CUdeviceptr address) {
    for (size_t i = 0; i < fake->logged; i++) {
        const struct fake_cuda_call *call = &fake->log[i];
        if (strcmp(call->symbol, "cuMemFree_v2") == 0 && call->arguments[0] == address) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* 80 of 200 MiB are live, 80 idle; for 44 more the largest of the idle ones alone has enough. */
void the_largest_idle_block_goes_first(void) {
    begin_with(200 * MIB);
    CUdeviceptr first = take(8 * MIB);
    CUdeviceptr largest = take(64 * MIB);
    CUdeviceptr last = take(8 * MIB);
    (void)take(80 * MIB);
    give(first);
    give(largest);
    give(last);
    fake->forget();
    (void)take(44 * MIB);
    CHECK(place_of_free(largest) != SIZE_MAX);
    CHECK(place_of_free(first) == SIZE_MAX && place_of_free(last) == SIZE_MAX);
}

void idle_memory_of_another_device_stays(void) {
    fake_cuda()->knobs.devices = 2;
    begin_with(64 * MIB);
    (void)context_on(1);
    give_and_take(8 * MIB);
    OK(cuCtxPopCurrent_v2(NULL));
    give_and_take(40 * MIB);
    (void)take(50 * MIB);
    CHECK(fake->used(1) == 8 * MIB);
}

void a_request_that_fits_nowhere_is_refused(void) {
    begin_with(64 * MIB);
    CUdeviceptr address = 0;
    CUdeviceptr live = take(40 * MIB);
    give_and_take(8 * MIB);
    REFUSED(cuMemAlloc_v2(&address, 50 * MIB), CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(address == 0);
    give(live);
    OK(cuMemAlloc_v2(&address, 50 * MIB));
}

static void *trim_in_thread(void *unused) {
    (void)malloc_trim(0);
    return unused;
}

static bool is_giving_back(void) {
    return frees() != 0;
}

/* One of two idle blocks has gone back, the other one will: no pool has it any more, nor the driver yet. */
void memory_on_its_way_back_is_waited_for(void) {
    pthread_t thread;
    begin_with(64 * MIB);
    CUdeviceptr first = take(32 * MIB);
    give_and_take(32 * MIB);
    give(first);
    fake->knobs.free_us = 300 * 1000;
    fake->forget();
    CHECK(pthread_create(&thread, NULL, trim_in_thread, NULL) == 0);
    CHECK(comes_true(is_giving_back, 60 * 1000));
    (void)take(64 * MIB);
    CHECK(pthread_join(thread, NULL) == 0);
}

void a_shortage_of_another_kind_frees_nothing(void) {
    (void)begin();
    CUdeviceptr address = 0;
    give_and_take(8 * MIB);
    fake->forget();
    fake->fail("cuMemAlloc_v2", 1, CUDA_ERROR_UNKNOWN);
    fake->fail("cuMemAlloc_v2", 2, CUDA_ERROR_UNKNOWN);
    REFUSED(cuMemAlloc_v2(&address, 50 * MIB), CUDA_ERROR_UNKNOWN);
    CHECK(frees() == 0 && !is_empty());
}

/* ---- idle memory goes back ---- */

void idle_memory_goes_back(void) {
    (void)begin();
    uint64_t freed_ms = clock_ms();
    give_and_take(8 * MIB);
    give_and_take(300 * MIB);
    CHECK(!is_empty() || clock_ms() - freed_ms >= DECAY_MS);
    CHECK(comes_true(is_empty, 10 * 1000));
}

/* Besides what it takes itself. */
static bool is_nearly_empty_after_a_call(void) {
    give_and_take(MIB);
    return fake->used(0) <= 2 * MIB;
}

void a_later_call_gives_idle_memory_back(void) {
    (void)begin();
    give_and_take(64 * MIB);
    sleep_ms(2 * DECAY_MS);
    CHECK(fake->used(0) == 64 * MIB && thread_count() == 1);
    CHECK(comes_true(is_nearly_empty_after_a_call, 10 * 1000));
}

static const char *busy; /* the function that is in the middle of something */

/* By now it is time again for idle memory to go back, whoever frees. */
static void use_the_heap(const char *symbol) {
    if (strcmp(symbol, busy) == 0) {
        sleep_ms(TICK_MS + DECAY_MS);
        fake->forget();
        free(get_touched(4 * MIB));
        CHECK(fake->logged == 0);
    }
}

/* In the middle of a call of the driver's none is made, least of all one that waits for it. */
void the_driver_may_use_the_heap(void) {
    (void)begin();
    give_and_take(64 * MIB);
    CUcontext context = context_on(0);
    give_and_take(32 * MIB);
    CUdeviceptr handle = 0;
    fake->amid = use_the_heap;
    busy = "cuCtxDestroy_v2";
    OK(cuCtxDestroy_v2(context));
    busy = "cuArrayCreate_v2";
    OK(array(&handle));
    fake->amid = NULL;
}

static bool has_taken_back_its_mode(void) {
    return fake->calls("cuThreadExchangeStreamCaptureMode") >= 2;
}

/* Whoever frees has said before that captures are not its affair; the last call, which ends that, may still
 * be under way. */
static void was_freed_in_relaxed_mode(void) {
    long relaxed = 0;
    for (size_t i = 0; i < fake->logged && fake->log[i].symbol != NULL; i++) {
        const struct fake_cuda_call *call = &fake->log[i];
        if (strcmp(call->symbol, "cuThreadExchangeStreamCaptureMode") == 0) {
            relaxed = call->value == CU_STREAM_CAPTURE_MODE_RELAXED ? call->thread : 0;
        }
        CHECK(strcmp(call->symbol, "cuMemFree_v2") != 0 || call->thread == relaxed);
    }
    CHECK(frees() == 1);
}

void idle_memory_goes_back_in_relaxed_mode(void) {
    (void)begin();
    give_and_take(64 * MIB);
    CHECK(comes_true(is_empty, 10 * 1000) && comes_true(has_taken_back_its_mode, 10 * 1000));
    was_freed_in_relaxed_mode();
}

/* malloc_trim is no call of CUDA's: it must not end the capture that another thread begins just then. */
void malloc_trim_gives_back_in_relaxed_mode(void) {
    (void)begin();
    give_and_take(64 * MIB);
    CHECK(malloc_trim(0) == 1 && is_empty() && has_taken_back_its_mode());
    was_freed_in_relaxed_mode();
}

/* PyTorch's way: segments once for ever, and all of them freed by empty_cache(). */
void segments_of_a_caching_allocator_reach_the_driver(void) {
    enum {
        SEGMENTS = 32
    };
    (void)begin();
    CUdeviceptr segments[SEGMENTS];
    for (int i = 0; i < SEGMENTS; i++) {
        segments[i] = take(i % 2 == 0 ? 2 * MIB : 20 * MIB);
    }
    sleep_ms(3 * DECAY_MS);
    for (int i = 0; i < SEGMENTS; i++) {
        give(segments[i]);
    }
    CHECK(is_empty());
}

void a_context_keeps_what_it_requested_of_late(void) {
    enum {
        BLOCKS = 32
    };
    (void)begin();
    CUdeviceptr blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = take(8 * MIB);
    }
    sleep_ms(3 * DECAY_MS);
    uint64_t late_ms = clock_ms();
    CUdeviceptr late = take(8 * MIB);
    give(late);
    CHECK(fake->used(0) == (BLOCKS + 1) * 8 * MIB || clock_ms() - late_ms >= DECAY_MS);
    for (int i = 0; i < BLOCKS; i++) {
        give(blocks[i]);
    }
    CHECK(fake->used(0) <= 8 * MIB);
}

static CUdeviceptr first_of_many[64];

static bool some_are_freed(void) {
    return fake->calls("cuMemFree_v2") > 0;
}

/* The helper frees 64 blocks, 20 ms each; meanwhile their context is destroyed. No free may be of
 * a block that is gone, which might be another context's by then. */
void a_destroyed_context_is_let_go_of_between_frees(void) {
    (void)begin();
    CUcontext context = context_on(0);
    for (int i = 0; i < 64; i++) {
        first_of_many[i] = take(8 * MIB);
    }
    for (int i = 0; i < 64; i++) {
        give(first_of_many[i]);
    }
    fake->forget();
    fake->knobs.free_us = 20 * 1000;
    CHECK(comes_true(some_are_freed, 10 * 1000));
    OK(cuCtxDestroy_v2(context));
    sleep_ms(2 * DECAY_MS);
    for (size_t i = 0; i < fake->logged; i++) {
        CHECK(strcmp(fake->log[i].symbol, "cuMemFree_v2") != 0 ||
              fake->log[i].result == CUDA_SUCCESS);
    }
}

/* A thread that ends meanwhile leaves small blocks of its own. */
static bool is_trimmed(void) {
    return malloc_trim(0) == 0;
}

void malloc_trim_gives_device_memory_back(void) {
    (void)begin();
    CUdeviceptr live = take(8 * MIB);
    for (int i = 0; i < 10; i++) {
        give_and_take((size_t)(i + 1) * 10 * MIB);
    }
    (void)context_on(0);
    give_and_take(8 * MIB);
    CHECK(malloc_trim(0) == 1);
    CHECK(fake->used(0) == 8 * MIB);
    CHECK(comes_true(is_trimmed, 3000));
    give(live);
}

/* ---- idle memory has a limit ---- */

/* BIGMALLOC_DEVICE_CACHE_MAX is 16 MiB, or 2 % of 1 GiB. */
void idle_memory_has_a_limit(void) {
    enum {
        BLOCKS = 16
    };
    (void)begin();
    fake->knobs.memory = GIB;
    CUdeviceptr blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = take(8 * MIB);
    }
    for (int i = 0; i < BLOCKS; i++) {
        give(blocks[i]);
    }
    CHECK(fake->used(0) == 16 * MIB);
}
