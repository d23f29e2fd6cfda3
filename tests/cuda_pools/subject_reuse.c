/* subject_reuse.c - what is served from the pool, what is left to the driver, and what either says. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/cuda_pools/device.h"

/* ---- reuse ---- */

void a_loop_of_one_size_asks_the_driver_once(void) {
    (void)begin();
    give_and_take(8 * MIB);
    fake->forget();
    for (int i = 0; i < 1000; i++) {
        give_and_take(8 * MIB);
    }
    CHECK(allocations() == 0 && frees() == 0);
    CHECK(waits() <= 1000);
}

/* From quarters of a MiB to what takes half of the device. */
static const size_t some_sizes[] = {MIB,      MIB + 1,  5 * MIB / 4, 2 * MIB,       3 * MIB,
                                    10 * MIB, 66 * MIB, 300 * MIB,   1000 * MIB + 1};
#define SIZES (sizeof some_sizes / sizeof *some_sizes)

void a_loop_of_many_sizes_asks_the_driver_once(void) {
    (void)begin();
    CUdeviceptr blocks[SIZES];
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < SIZES; i++) {
            blocks[i] = take(some_sizes[i]);
        }
        for (size_t i = 0; i < SIZES; i++) {
            give(blocks[i]);
        }
    }
    CHECK(allocations() == SIZES && frees() == 0);
}

void a_freed_block_serves_the_next_request(void) {
    (void)begin();
    for (size_t i = 0; i < SIZES; i++) {
        CUdeviceptr first = take(some_sizes[i]);
        give(first);
        CHECK(take(some_sizes[i]) == first);
    }
}

/* The driver hands memory out by 2 MiB: what takes as many of them needs no memory of its own. */
void a_size_that_takes_as_much_memory_is_served(void) {
    (void)begin();
    CUdeviceptr first = take(6 * MIB);
    give(first);
    CHECK(take(4 * MIB + 1) == first);
    give(first);
    CHECK(take(6 * MIB) == first);
}

/* A fifth at most, and little of what is very large. */
void a_device_holds_little_more_than_was_asked_for(void) {
    (void)begin();
    fake->knobs.memory = 64 * GIB;
    for (size_t size = MIB; size < GIB; size += size / 7 + 12345) {
        uint64_t before = fake->used(0);
        (void)take(size);
        size_t slack = size < 256 * MIB ? size / 4 : size / 8;
        CHECK(fake->used(0) - before <= size + slack + 2 * MIB);
    }
}

static void pitched(size_t width) {
    CUdeviceptr address = 0;
    size_t pitch = 0;
    OK(cuMemAllocPitch_v2(&address, &pitch, width, 2048, 4));
    CHECK(pitch == 1024);
    memset((void *)address, 1, pitch * 2048);
    give(address);
}

void a_loop_of_pitched_blocks_asks_the_driver_once(void) {
    (void)begin();
    pitched(1000);
    pitched(1000);
    fake->forget();
    for (int i = 0; i < 100; i++) {
        pitched(1000);
    }
    CHECK(allocations() == 0 && frees() == 0);
}

void pitched_blocks_are_as_the_driver_makes_them(void) {
    (void)begin();
    CUdeviceptr address = 0;
    size_t pitch = 0;
    for (int i = 0; i < 3; i++) {
        pitched(513);
        pitched(1024);
    }
    REFUSED(cuMemAllocPitch_v2(&address, &pitch, 1000, 2048, 5), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemAllocPitch_v2(&address, &pitch, 0, 2048, 4), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemAllocPitch_v2(&address, &pitch, SIZE_MAX / 2, 8, 4), CUDA_ERROR_INVALID_VALUE);
    CHECK(address == 0);
}

void blocks_hold_what_was_written(void) {
    (void)begin();
    CUdeviceptr blocks[SIZES];
    for (uint64_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < SIZES - 2; i++) {
            blocks[i] = take(some_sizes[i]);
            fill((void *)blocks[i], some_sizes[i], round + i);
        }
        for (size_t i = 0; i < SIZES - 2; i++) {
            CHECK(is_filled((void *)blocks[i], some_sizes[i], round + i));
            give(blocks[i]);
        }
    }
}

/* ---- what a hit costs ---- */

static uint64_t clock_ns(void) {
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

enum {
    BATCHES = 101,
    PAIRS = 40,
    ALL_PAIRS = BATCHES * PAIRS
};

static void a_pair(void) {
    give_and_take(8 * MIB);
}

static void a_question(void) {
    (void)current();
}

static void a_wait(void) {
    OK(cuCtxSynchronize());
}

static int compare(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The median of batches: others may use the processor meanwhile. */
static uint64_t median_ns(void (*call)(void)) {
    uint64_t ns[BATCHES];
    for (int batch = 0; batch < BATCHES; batch++) {
        uint64_t start = clock_ns();
        for (int i = 0; i < PAIRS; i++) {
            call();
        }
        ns[batch] = (clock_ns() - start) / PAIRS;
    }
    qsort(ns, BATCHES, sizeof *ns, compare);
    return ns[BATCHES / 2];
}

/* An allocation and its free in the steady state of a loop, and what the driver's part in that is. */
void tell_what_a_hit_costs(void) {
    (void)begin();
    for (int i = 0; i < PAIRS; i++) {
        a_pair();
    }
    fake->forget();
    uint64_t pair_ns = median_ns(a_pair);
    uint64_t questions = fake->calls("cuCtxGetCurrent");
    uint64_t all_waits = waits();
    tell("pairs", ALL_PAIRS);
    tell("pair_ns", pair_ns);
    tell("allocations", allocations());
    tell("frees", frees());
    tell("waits", all_waits);
    uint64_t driver_ns =
        (questions * median_ns(a_question) + all_waits * median_ns(a_wait)) / ALL_PAIRS;
    tell("driver_ns", driver_ns);
}

/* ---- what passes through ---- */

void small_sizes_are_the_drivers(void) {
    (void)begin();
    CUdeviceptr address = 0;
    OK(cuMemAlloc_v2(&address, MIB - 1));
    OK(cuMemFree_v2(address));
    fake->forget();
    for (int i = 0; i < 10; i++) {
        OK(cuMemAlloc_v2(&address, MIB - 1));
        OK(cuMemFree_v2(address));
    }
    CHECK(fake->calls("cuMemAlloc_v2") == 10 && frees() == 10);
    CHECK(waits() == 0);
}

void small_sizes_come_from_the_pool(void) {
    (void)begin();
    give_and_take(64 * KIB);
    fake->forget();
    give_and_take(64 * KIB);
    CHECK(allocations() == 0 && frees() == 0);
    give_and_take(KIB);
    CHECK(allocations() == 1 && frees() == 1);
}

void functions_of_32_bits_are_the_drivers(void) {
    (void)begin();
    CUdeviceptr_v1 address = 0;
    unsigned size = 0;
    unsigned total = 0;
    REFUSED(cuMemAlloc(&address, 8 * MIB), CUDA_ERROR_NOT_SUPPORTED);
    REFUSED(cuMemAllocPitch(&address, &size, 1000, 1000, 4), CUDA_ERROR_NOT_SUPPORTED);
    OK(cuMemFree(0));
    REFUSED(cuMemFree(4096), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemGetAddressRange(&address, &size, 4096), CUDA_ERROR_NOT_FOUND);
    OK(cuMemGetInfo(&size, &total));
    CHECK(size == UINT32_MAX && total == UINT32_MAX);
    CHECK(fake->calls("cuMemAlloc") == 1 && fake->calls("cuMemAllocPitch") == 1);
    CHECK(fake->calls("cuMemFree") == 2 && fake->calls("cuMemGetAddressRange") == 1);
}

static void managed_memory(void) {
    CUdeviceptr address = 0;
    OK(cuMemAllocManaged(&address, 8 * MIB, CU_MEM_ATTACH_GLOBAL));
    OK(cuMemFree_v2(address));
}

static void stream_memory(void) {
    CUdeviceptr address = 0;
    OK(cuMemAllocAsync(&address, 8 * MIB, NULL));
    OK(cuMemFreeAsync(address, NULL));
    OK(cuMemAllocAsync_ptsz(&address, 8 * MIB, NULL));
    OK(cuMemFree_v2(address));
}

/* A block of cuMemAlloc may be freed in the order of a stream: then it waits for nobody. */
static void mixed_memory(void) {
    CUdeviceptr address = take(8 * MIB);
    OK(cuMemFreeAsync(address, NULL));
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_INVALID_VALUE);
}

void memory_of_other_kinds_is_the_drivers(void) {
    (void)begin();
    for (int i = 0; i < 3; i++) {
        managed_memory();
        stream_memory();
        mixed_memory();
    }
    CHECK(fake->calls("cuMemAllocManaged") == 3 && fake->calls("cuMemAllocAsync") == 3);
    CHECK(fake->calls("cuMemAllocAsync_ptsz") == 3 && fake->calls("cuMemFreeAsync") == 6);
    CHECK(is_empty());
}

/* Freed by cuMemFree, and in the order of a stream. */
static void reaches_the_driver(CUdeviceptr address) {
    OK(cuMemFree_v2(address));
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_INVALID_VALUE);
}

static void reaches_the_driver_by_a_stream(CUdeviceptr address) {
    OK(cuMemFreeAsync(address, NULL));
    REFUSED(cuMemFreeAsync(address, NULL), CUDA_ERROR_INVALID_VALUE);
}

static const CUmemPoolProps on_first_device = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                               .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};

static CUdeviceptr take_from(CUmemoryPool pool) {
    CUdeviceptr address = 0;
    OK(cuMemAllocFromPoolAsync(&address, 8 * MIB, pool, NULL));
    return address;
}

void memory_of_the_drivers_own_pools_is_the_drivers(void) {
    (void)begin();
    for (int i = 0; i < 3; i++) {
        CUmemoryPool pool = NULL;
        OK(cuMemPoolCreate(&pool, &on_first_device));
        reaches_the_driver(take_from(pool));
        reaches_the_driver_by_a_stream(take_from(pool));
        OK(cuMemPoolDestroy(pool));
    }
    CHECK(fake->calls("cuMemAllocFromPoolAsync") == 6);
    CHECK(frees() == 6 && fake->calls("cuMemFreeAsync") == 6);
    CHECK(waits() == 0 && is_empty());
}

static CUdeviceptr take_in(CUgraph graph) {
    CUgraphNode node = NULL;
    CUDA_MEM_ALLOC_NODE_PARAMS p = {.poolProps = on_first_device, .bytesize = 8 * MIB};
    OK(cuGraphAddMemAllocNode(&node, graph, NULL, 0, &p));
    return p.dptr;
}

void memory_of_graphs_is_the_drivers(void) {
    (void)begin();
    CUgraph graph = NULL;
    CUgraphNode node = NULL;
    OK(cuGraphCreate(&graph, 0));
    for (int i = 0; i < 3; i++) {
        reaches_the_driver(take_in(graph));
        reaches_the_driver_by_a_stream(take_in(graph));
        OK(cuGraphAddMemFreeNode(&node, graph, NULL, 0, take_in(graph)));
    }
    OK(cuGraphDestroy(graph));
    CHECK(frees() == 6 && fake->calls("cuMemFreeAsync") == 6);
    CHECK(waits() == 0 && is_empty());
}

static void one_of_each(void) {
    give_and_take(8 * MIB);
    give_pinned(take_pinned(8 * MIB, 0));
}

/* Nothing but what the program itself calls. */
void the_driver_does_all(void) {
    (void)begin();
    one_of_each();
    fake->forget();
    for (int i = 0; i < 5; i++) {
        one_of_each();
    }
    CHECK(allocations() == 5 && frees() == 5);
    CHECK(pinned_allocations() == 5 && pinned_frees() == 5);
    CHECK(fake->logged == 20);
}

/* ---- codes ---- */

void errors_are_the_drivers(void) {
    CUdeviceptr address = 0;
    REFUSED(cuMemAlloc_v2(&address, 8 * MIB), CUDA_ERROR_NOT_INITIALIZED);
    REFUSED(cuMemFree_v2(8 * MIB), CUDA_ERROR_NOT_INITIALIZED);
    OK(cuInit(0));
    REFUSED(cuMemAlloc_v2(&address, 8 * MIB), CUDA_ERROR_INVALID_CONTEXT);
    (void)begin();
    REFUSED(cuMemAlloc_v2(&address, 0), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemAlloc_v2(NULL, 8 * MIB), CUDA_ERROR_INVALID_VALUE);
    CHECK(address == 0);
    OK(cuMemFree_v2(0));
}

void an_odd_pointer_is_refused(void) {
    (void)begin();
    CUdeviceptr address = take(8 * MIB);
    REFUSED(cuMemFree_v2(12345), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemFree_v2(address + 4096), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemFree_v2(address + 2 * MIB), CUDA_ERROR_INVALID_VALUE);
    give(address);
}

void a_free_of_another_kind_is_refused(void) {
    (void)begin();
    CUdeviceptr address = take(8 * MIB);
    void *pinned = take_pinned(8 * MIB, 0);
    REFUSED(cuMemFreeHost((void *)address), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemFree_v2((CUdeviceptr)pinned), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemFreeAsync((CUdeviceptr)pinned, NULL), CUDA_ERROR_INVALID_VALUE);
    give(address);
    give_pinned(pinned);
}

void a_second_free_is_refused(void) {
    (void)begin();
    CUdeviceptr address = take(8 * MIB);
    CUdeviceptr other = take(8 * MIB);
    give(address);
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemFree_v2(address + 2 * MIB), CUDA_ERROR_INVALID_VALUE);
    give(other);
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_INVALID_VALUE);
    CUdeviceptr first = take(8 * MIB);
    CHECK(first != take(8 * MIB));
}

void sizes_that_no_device_has_are_refused(void) {
    (void)begin();
    static const size_t sizes[] = {SIZE_MAX,     SIZE_MAX - MIB, SIZE_MAX / 2 + 1,
                                   SIZE_MAX / 2, 1ULL << 48,     9 * GIB};
    CUdeviceptr address = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        REFUSED(cuMemAlloc_v2(&address, sizes[i]), CUDA_ERROR_OUT_OF_MEMORY);
    }
    CHECK(address == 0 && is_empty());
}

void other_failures_are_told_as_they_are(void) {
    (void)begin();
    CUdeviceptr address = 0;
    fake->fail("cuMemAlloc_v2", 1, CUDA_ERROR_UNKNOWN);
    fake->fail("cuMemAlloc_v2", 2, CUDA_ERROR_UNKNOWN);
    REFUSED(cuMemAlloc_v2(&address, 8 * MIB), CUDA_ERROR_UNKNOWN);
    CHECK(address == 0);
}

/* ---- queries ---- */

static void range_is(CUdeviceptr address, size_t size) {
    CUdeviceptr base = 0;
    size_t told = 0;
    OK(cuMemGetAddressRange_v2(&base, &told, address + size - 1));
    CHECK(base == address && told == size);
    OK(cuMemGetAddressRange_v2(&base, NULL, address));
    OK(cuMemGetAddressRange_v2(NULL, &told, address));
    CHECK(base == address && told == size);
}

void a_range_is_of_the_requested_size(void) {
    (void)begin();
    for (size_t i = 0; i < SIZES; i++) {
        range_is(take(some_sizes[i]), some_sizes[i]);
        range_is(take(some_sizes[i] + 3), some_sizes[i] + 3);
    }
}

static void attributes_are(CUdeviceptr address, size_t size) {
    size_t told = 0;
    CUdeviceptr start = 0;
    unsigned type = 0;
    OK(cuPointerGetAttribute(&told, CU_POINTER_ATTRIBUTE_RANGE_SIZE, address + size - 1));
    CHECK(told == size);
    CUpointer_attribute wanted[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                    CU_POINTER_ATTRIBUTE_RANGE_SIZE,
                                    CU_POINTER_ATTRIBUTE_RANGE_START_ADDR};
    void *places[] = {&type, &told, &start};
    told = 0;
    OK(cuPointerGetAttributes(3, wanted, places, address + 1));
    CHECK(told == size && start == address && type == CU_MEMORYTYPE_DEVICE);
}

void attributes_are_of_the_requested_size(void) {
    (void)begin();
    for (size_t i = 0; i < SIZES; i++) {
        attributes_are(take(some_sizes[i] + 1), some_sizes[i] + 1);
    }
}

void a_reused_block_is_of_the_size_requested_last(void) {
    (void)begin();
    give_and_take(6 * MIB);
    CUdeviceptr address = take(4 * MIB + 100);
    range_is(address, 4 * MIB + 100);
    attributes_are(address, 4 * MIB + 100);
}

/* Nothing is told of it, and nothing is written where answers would be. */
static void is_unknown(CUdeviceptr address) {
    CUdeviceptr base = 77;
    size_t size = 77;
    uint64_t value = 77;
    CUipcMemHandle handle;
    int file = 77;
    REFUSED(cuMemGetAddressRange_v2(&base, &size, address), CUDA_ERROR_NOT_FOUND);
    CHECK(base == 77 && size == 77);
    for (int i = CU_POINTER_ATTRIBUTE_CONTEXT; i <= CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID; i++) {
        REFUSED(cuPointerGetAttribute(&value, (CUpointer_attribute)i, address),
                CUDA_ERROR_INVALID_VALUE);
        CHECK(value == 77);
    }
    CUpointer_attribute wanted[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                    CU_POINTER_ATTRIBUTE_RANGE_SIZE};
    unsigned type = 1;
    void *places[] = {&type, &size};
    OK(cuPointerGetAttributes(2, wanted, places, address));
    CHECK(type == 0 && size == 0);
    REFUSED(cuPointerSetAttribute(&(unsigned){1}, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, address),
            CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuIpcGetMemHandle(&handle, address), CUDA_ERROR_INVALID_VALUE);
    REFUSED(
        cuMemGetHandleForAddressRange(&file, address, 4096, CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0),
        CUDA_ERROR_INVALID_VALUE);
    CHECK(file == 77);
}

void a_freed_pointer_is_unknown(void) {
    (void)begin();
    CUdeviceptr live = take(8 * MIB);
    CUdeviceptr address = take(8 * MIB);
    give(address);
    is_unknown(address);
    is_unknown(address + 1);
    is_unknown(address + 8 * MIB - 1);
    attributes_are(live, 8 * MIB);
}

static size_t free_memory(void) {
    size_t available = 0;
    size_t total = 0;
    OK(cuMemGetInfo_v2(&available, &total));
    CHECK(total == fake->knobs.memory);
    return available;
}

void a_freed_block_is_free_memory(void) {
    (void)begin();
    size_t all = free_memory();
    CUdeviceptr small = take(8 * MIB);
    CUdeviceptr large = take(96 * MIB);
    CHECK(free_memory() == all - 104 * MIB);
    give(small);
    CHECK(free_memory() == all - 96 * MIB);
    give(large);
    CHECK(free_memory() == all);
    (void)take(8 * MIB);
    CHECK(free_memory() == all - 8 * MIB);
}

void free_memory_of_all_contexts_of_the_device_counts(void) {
    (void)begin();
    size_t all = free_memory();
    give_and_take(8 * MIB);
    (void)context_on(0);
    give_and_take(20 * MIB);
    CHECK(free_memory() == all);
    OK(cuCtxPopCurrent_v2(NULL));
    CHECK(free_memory() == all);
}

void free_memory_of_another_device_does_not_count(void) {
    fake_cuda()->knobs.devices = 2;
    (void)begin();
    size_t all = free_memory();
    give_and_take(8 * MIB);
    (void)context_on(1);
    CHECK(free_memory() == all);
}

/* BIGMALLOC_MEMINFO=driver */
void a_freed_block_is_used_memory(void) {
    (void)begin();
    size_t all = free_memory();
    give_and_take(8 * MIB);
    CHECK(free_memory() == all - 8 * MIB);
}
