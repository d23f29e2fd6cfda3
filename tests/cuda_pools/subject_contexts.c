/* subject_contexts.c - blocks end with their contexts, and are not for other processes. */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cuda_pools/device.h"

/* ---- contexts ---- */

void a_context_serves_itself_alone(void) {
    (void)begin();
    CUdeviceptr address = take(8 * MIB);
    give(address);
    (void)context_on(0);
    CHECK(take(8 * MIB) != address);
    OK(cuCtxPopCurrent_v2(NULL));
    CHECK(take(8 * MIB) == address);
}

/* A block that is idle, one that lives; nothing of either is heard of again. */
static void leave_blocks(void) {
    (void)take(8 * MIB);
    give_and_take(20 * MIB);
    CHECK(fake->used(0) == 28 * MIB);
    fake->forget();
}

static void blocks_are_forgotten(void) {
    CHECK(frees() == 0);
    CHECK(is_empty());
    (void)malloc_trim(0);
    CHECK(frees() == 0);
}

void a_destroyed_context_is_forgotten(void) {
    static CUresult (*const ways[])(CUcontext) = {cuCtxDestroy_v2, cuCtxDestroy, cuCtxDetach};
    (void)begin();
    for (int i = 0; i < 3; i++) {
        CUcontext context = context_on(0);
        leave_blocks();
        OK(ways[i](context));
        blocks_are_forgotten();
    }
}

void a_new_context_at_the_same_handle_gets_nothing(void) {
    (void)begin();
    CUcontext context = context_on(0);
    leave_blocks();
    OK(cuCtxDestroy_v2(context));
    CHECK(context_on(0) == context);
    fake->forget();
    CUdeviceptr address = take(20 * MIB);
    CHECK(allocations() == 1);
    memset((void *)address, 1, 20 * MIB);
    give(address);
    CHECK(take(20 * MIB) == address);
}

/* What begins again after the end of a primary context starts with nothing. */
static void primary_begins_anew(void) {
    CUcontext context = NULL;
    blocks_are_forgotten();
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    fake->forget();
    CUdeviceptr address = take(20 * MIB);
    CHECK(allocations() == 1);
    give(address);
    CHECK(take(20 * MIB) == address);
    give(address);
}

void a_reset_forgets(void) {
    (void)begin();
    leave_blocks();
    OK(cuDevicePrimaryCtxReset_v2(0));
    primary_begins_anew();
    leave_blocks();
    OK(cuDevicePrimaryCtxReset(0));
    primary_begins_anew();
}

void the_last_release_forgets(void) {
    (void)begin();
    leave_blocks();
    OK(cuDevicePrimaryCtxRelease_v2(0));
    primary_begins_anew();
    leave_blocks();
    OK(cuDevicePrimaryCtxRelease(0));
    primary_begins_anew();
}

void a_release_that_is_not_the_last_forgets_nothing(void) {
    CUcontext context = begin();
    CUdeviceptr address = take(8 * MIB);
    give(address);
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuDevicePrimaryCtxRelease_v2(0));
    CHECK(take(8 * MIB) == address);
}

/* A primary context cannot be destroyed; what is idle in it is not lost. */
void a_context_that_stays_keeps_its_blocks(void) {
    CUcontext context = begin();
    CUdeviceptr live = take(8 * MIB);
    give_and_take(20 * MIB);
    REFUSED(cuCtxDestroy_v2(context), CUDA_ERROR_INVALID_CONTEXT);
    give(live);
    (void)malloc_trim(0);
    CHECK(is_empty());
}

void blocks_of_a_destroyed_context_are_unknown(void) {
    (void)begin();
    CUcontext context = context_on(0);
    CUdeviceptr live = take(8 * MIB);
    CUdeviceptr freed = take(8 * MIB);
    give(freed);
    OK(cuCtxDestroy_v2(context));
    REFUSED(cuMemFree_v2(live), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemFree_v2(freed), CUDA_ERROR_INVALID_VALUE);
}

/* FAKE_CUDA_PROTECT=0: the driver hands the address out again that was freed last. */
void an_address_that_comes_again_is_a_new_block(void) {
    (void)begin();
    CUcontext context = context_on(0);
    CUdeviceptr address = take(20 * MIB);
    OK(cuCtxDestroy_v2(context));
    CHECK(take(18 * MIB) == address);
    size_t size = 0;
    OK(cuMemGetAddressRange_v2(NULL, &size, address));
    CHECK(size == 18 * MIB);
    give(address);
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_INVALID_VALUE);
    CHECK(take(18 * MIB) != 0);
}

/* A block of cuMemAlloc may be freed by cuMemFreeAsync; what has its address then is no block of ours. */
void an_address_freed_by_a_stream_is_no_block_any_more(void) {
    (void)begin();
    CUdeviceptr address = take(20 * MIB);
    OK(cuMemFreeAsync(address, NULL));
    CUdeviceptr again = 0;
    OK(cuMemAllocAsync(&again, 18 * MIB, NULL));
    CHECK(again == address);
    size_t size = 0;
    OK(cuMemGetAddressRange_v2(NULL, &size, address));
    CHECK(size == 18 * MIB);
    fake->forget();
    give(address);
    CHECK(frees() == 1);
}

/* ---- green contexts: their memory is the primary one's, and so are its ends ---- */

struct green {
    CUgreenCtx handle;
    CUcontext context;
};

static struct green green_on(CUdevice device) {
    struct green g = {0};
    OK(cuGreenCtxCreate(&g.handle, NULL, device, 1));
    OK(cuCtxFromGreenCtx(&g.context, g.handle));
    return g;
}

void what_a_green_context_allocates_is_the_drivers(void) {
    (void)begin();
    struct green g = green_on(0);
    give_and_take(8 * MIB);
    OK(cuCtxPushCurrent_v2(g.context));
    fake->forget();
    CUdeviceptr address = take(8 * MIB);
    void *pinned = take_pinned(8 * MIB, 0);
    OK(cuGreenCtxDestroy(g.handle));
    OK(cuCtxPopCurrent_v2(NULL));
    memset((void *)address, 1, 8 * MIB);
    give(address);
    give_pinned(pinned);
    CHECK(allocations() == 1 && frees() == 1);
    CHECK(pinned_allocations() == 1 && pinned_frees() == 1);
}

void work_of_a_green_context_is_waited_for(void) {
    CUcontext primary = begin();
    struct green g = green_on(0);
    CUdeviceptr address = take(8 * MIB);
    OK(cuCtxPushCurrent_v2(g.context));
    work_ms(100);
    give(address);
    CHECK(!fake->is_busy(g.context) && frees() == 0);
    CHECK(current() == g.context);
    OK(cuCtxPopCurrent_v2(NULL));
    CHECK(current() == primary && take(8 * MIB) == address);
}

void the_end_of_a_green_context_may_be_that_of_the_primary_one(void) {
    (void)begin();
    struct green g = green_on(0);
    leave_blocks();
    OK(cuDevicePrimaryCtxRelease_v2(0));
    CHECK(fake->used(0) == 28 * MIB);
    OK(cuGreenCtxDestroy(g.handle));
    primary_begins_anew();
}

void a_new_context_at_the_handle_of_a_green_one_is_served(void) {
    (void)begin();
    struct green g = green_on(0);
    OK(cuGreenCtxDestroy(g.handle));
    CHECK(context_on(0) == g.context);
    give_and_take(8 * MIB);
    fake->forget();
    give_and_take(8 * MIB);
    CHECK(allocations() == 0 && frees() == 0);
}

/* ---- blocks that others see ---- */

/* The first of the calls is the program's; nothing of the block is kept. */
static void is_really_freed(CUdeviceptr address) {
    fake->forget();
    give(address);
    CHECK(frees() == 1);
    (void)take(8 * MIB);
    CHECK(allocations() == 1);
}

static void is_kept(CUdeviceptr address) {
    fake->forget();
    give(address);
    CHECK(frees() == 0);
    CHECK(take(8 * MIB) == address);
}

void a_block_shown_to_another_process_is_really_freed(void) {
    (void)begin();
    CUipcMemHandle handle;
    CUdeviceptr address = take(8 * MIB);
    is_kept(address);
    OK(cuIpcGetMemHandle(&handle, address));
    is_really_freed(address);
}

void a_block_with_a_handle_is_really_freed(void) {
    (void)begin();
    int file = 0;
    CUdeviceptr address = take(8 * MIB);
    is_kept(address);
    OK(cuMemGetHandleForAddressRange(&file, address + 2 * MIB, 2 * MIB,
                                     CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0));
    is_really_freed(address);
}

void a_block_with_synchronous_copies_is_really_freed(void) {
    (void)begin();
    unsigned on = 1;
    CUdeviceptr address = take(8 * MIB);
    is_kept(address);
    OK(cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, address + MIB));
    is_really_freed(address);
}

void a_block_with_tokens_is_really_freed(void) {
    (void)begin();
    uint64_t tokens[2];
    CUdeviceptr address = take(8 * MIB);
    is_kept(address);
    OK(cuPointerGetAttribute(tokens, CU_POINTER_ATTRIBUTE_P2P_TOKENS, address + MIB));
    is_really_freed(address);
    address = take(8 * MIB);
    is_kept(address);
    CUpointer_attribute wanted[] = {CU_POINTER_ATTRIBUTE_P2P_TOKENS};
    void *places[] = {tokens};
    OK(cuPointerGetAttributes(1, wanted, places, address));
    is_really_freed(address);
}

/* Nobody inherits what the owner before has set. */
void a_block_is_handed_out_without_attributes(void) {
    (void)begin();
    for (int i = 0; i < 3; i++) {
        unsigned on = 7;
        CUdeviceptr address = take(8 * MIB);
        OK(cuPointerGetAttribute(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, address));
        CHECK(on == 0);
        OK(cuPointerSetAttribute(&(unsigned){1}, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, address));
        give(address);
    }
}

void a_question_that_fails_changes_nothing(void) {
    (void)begin();
    CUipcMemHandle handle;
    CUdeviceptr address = take(8 * MIB);
    REFUSED(cuIpcGetMemHandle(&handle, address + 1), CUDA_ERROR_INVALID_VALUE);
    is_kept(address);
}

/* The second device's memory is open to the first's work from then on, what is allocated later too. */
void memory_that_peers_see_is_really_freed(void) {
    fake_cuda()->knobs.devices = 2;
    CUcontext first = begin();
    CUcontext second = context_on(1);
    CUdeviceptr address = take(8 * MIB);
    is_kept(address);
    OK(cuCtxPushCurrent_v2(first));
    OK(cuCtxEnablePeerAccess(second, 0));
    OK(cuCtxPopCurrent_v2(NULL));
    is_really_freed(address);
    is_really_freed(take(8 * MIB));
}

/* ---- fork ---- */

static CUdeviceptr idle_block;
static CUdeviceptr live_block;

static void begin_with_blocks(void) {
    (void)begin();
    idle_block = take(8 * MIB);
    live_block = take(8 * MIB);
    give(idle_block);
    fake->forget();
}

static void use_host_memory(void) {
    uint64_t by_the_parent = fake->logged; /* by its helper, if time has passed */
    free(get_touched(64 * MIB));
    (void)malloc_trim(0);
    CHECK(fake->logged == by_the_parent);
}

void a_child_calls_nothing(void) {
    begin_with_blocks();
    CHECK(in_child(use_host_memory) == 0);
}

static void use_the_driver(void) {
    CUdeviceptr address = 0;
    REFUSED(cuMemAlloc_v2(&address, 8 * MIB), CUDA_ERROR_NOT_INITIALIZED);
    REFUSED(cuMemFree_v2(idle_block), CUDA_ERROR_NOT_INITIALIZED);
    REFUSED(cuMemFree_v2(live_block), CUDA_ERROR_NOT_INITIALIZED);
    CHECK(address == 0);
    exit(0);
}

void a_child_is_refused_as_by_the_driver(void) {
    begin_with_blocks();
    CHECK(in_child(use_the_driver) == 0);
}

void a_parent_keeps_its_blocks(void) {
    begin_with_blocks();
    CHECK(in_child(use_host_memory) == 0);
    CHECK(take(8 * MIB) == idle_block);
    give(live_block);
    CHECK(take(8 * MIB) == live_block);
    CHECK(allocations() == 0 && frees() == 0);
}

/* ---- exit ---- */

/* A handler that was registered before the first block, so that it runs after all that came later. */
static void free_late(void) {
    fake->forget();
    give(live_block);
    CHECK(fake->logged == 1 && frees() == 1);
}

void free_in_an_exit_handler(void) {
    CHECK(atexit(free_late) == 0);
    begin_with_blocks();
}

void end_with_idle_blocks(void) {
    begin_with_blocks();
    give_pinned(take_pinned(8 * MIB, 0));
    OK(cuCtxGetFlags(&(unsigned){0}));
}
