/*
 * test_driver.c - the stand-in driver keeps the rules that the library is tested against. Each test
 * runs in a process of its own.
 */
#include "tests/fake/fake_cuda.h"
#include "tests/fake/functions.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define OK(call) cr_assert(eq(int, (int)(call), CUDA_SUCCESS), #call)
#define REFUSED(call, result) cr_expect(eq(int, (int)(call), result), #call)

static struct fake_cuda *fake;
static CUcontext primary;

/* Two devices, and the first one's primary context current. */
static void start(void) {
    fake = fake_cuda();
    fake->knobs.devices = 2;
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&primary, 0));
    OK(cuCtxSetCurrent(primary));
}

static CUdeviceptr allocate(size_t size) {
    CUdeviceptr address = 0;
    OK(cuMemAlloc_v2(&address, size));
    return address;
}

static CUcontext create(CUdevice device) {
    CUcontext context = NULL;
    OK(cuCtxCreate_v2(&context, 0, device));
    return context;
}

static CUstream stream_new(unsigned flags) {
    CUstream stream = NULL;
    OK(cuStreamCreate(&stream, flags));
    return stream;
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- starting ---- */

Test(start, nothing_works_before_the_driver_is_initialised) {
    CUdeviceptr address;
    REFUSED(cuMemAlloc_v2(&address, MIB), CUDA_ERROR_NOT_INITIALIZED);
    OK(cuInit(0));
    REFUSED(cuMemAlloc_v2(&address, MIB), CUDA_ERROR_INVALID_CONTEXT);
}

Test(start, a_forked_child_cannot_use_the_driver, .init = start) {
    pid_t child = fork();
    if (child == 0) {
        size_t available;
        size_t total;
        _exit((int)cuMemGetInfo_v2(&available, &total));
    }
    int status = 0;
    cr_assert(eq(int, waitpid(child, &status, 0), child));
    cr_expect(eq(int, WEXITSTATUS(status), CUDA_ERROR_NOT_INITIALIZED));
}

Test(start, what_is_not_implemented_says_so_and_is_logged, .init = start) {
    CUresult cuModuleUnload(void);
    REFUSED(cuModuleUnload(), CUDA_ERROR_NOT_SUPPORTED);
    cr_expect(eq(u64, fake->calls("cuModuleUnload"), 1));
}

/* ---- memory ---- */

TestSuite(memory, .init = start);

Test(memory, large_blocks_start_on_2_mib_and_small_ones_are_packed_on_512_bytes) {
    cr_expect(zero(u64, allocate(3 * MIB) % (2 * MIB)));
    CUdeviceptr first = allocate(100);
    CUdeviceptr second = allocate(513);
    cr_expect(eq(u64, second - first, 512));
    cr_expect(eq(u64, allocate(1) - second, 1024));
    cr_expect(eq(u64, fake->used(0), 6 * MIB), "4 MiB, and a slab of 2 MiB");
}

Test(memory, a_device_has_as_much_memory_as_it_was_given) {
    fake->knobs.memory = 8 * MIB;
    CUdeviceptr first = allocate(6 * MIB);
    CUdeviceptr second = 0;
    REFUSED(cuMemAlloc_v2(&second, 3 * MIB), CUDA_ERROR_OUT_OF_MEMORY);
    size_t available = 0;
    size_t total = 0;
    OK(cuMemGetInfo_v2(&available, &total));
    cr_expect(all(eq(sz, available, 2 * MIB), eq(sz, total, 8 * MIB)));
    OK(cuMemFree_v2(first));
    OK(cuMemAlloc_v2(&second, 8 * MIB));
}

Test(memory, a_range_is_of_the_requested_size) {
    CUdeviceptr address = allocate(3 * MIB + 1);
    CUdeviceptr base = 0;
    size_t size = 0;
    OK(cuMemGetAddressRange_v2(&base, &size, address + 5));
    cr_expect(all(eq(u64, base, address), eq(sz, size, 3 * MIB + 1)));
    REFUSED(cuMemGetAddressRange_v2(&base, &size, address + size), CUDA_ERROR_NOT_FOUND);
}

Test(memory, what_is_not_a_live_allocation_cannot_be_freed) {
    CUdeviceptr address = allocate(4 * MIB);
    REFUSED(cuMemFree_v2(address + 1), CUDA_ERROR_INVALID_VALUE);
    OK(cuMemFree_v2(address));
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemAlloc_v2(&address, 0), CUDA_ERROR_INVALID_VALUE);
    OK(cuMemFree_v2(0));
}

Test(memory, a_free_needs_no_current_context) {
    CUdeviceptr address = allocate(4 * MIB);
    void *host = NULL;
    OK(cuMemHostAlloc(&host, MIB, 0));
    OK(cuCtxSetCurrent(NULL));
    REFUSED(cuMemAlloc_v2(&address, MIB), CUDA_ERROR_INVALID_CONTEXT);
    OK(cuMemFree_v2(address));
    OK(cuMemFreeHost(host));
}

Test(memory, a_freed_block_faults, .signal = SIGSEGV) {
    CUdeviceptr address = allocate(4 * MIB);
    *(volatile char *)address = 1;
    OK(cuMemFree_v2(address));
    *(volatile char *)address = 1;
}

Test(memory, a_freed_small_block_faults_beside_a_live_one, .signal = SIGSEGV) {
    CUdeviceptr address = allocate(64 << 10);
    CUdeviceptr neighbour = allocate(64 << 10);
    OK(cuMemFree_v2(address));
    *(volatile char *)neighbour = 1;
    *(volatile char *)(address + 8192) = 1;
}

Test(memory, addresses_come_back_only_when_they_are_not_protected) {
    CUdeviceptr address = allocate(4 * MIB);
    OK(cuMemFree_v2(address));
    CUdeviceptr other = allocate(4 * MIB);
    cr_expect(ne(u64, other, address));
    fake->knobs.protect = 0;
    OK(cuMemFree_v2(other));
    cr_expect(eq(u64, allocate(4 * MIB), other));
}

Test(memory, pinned_memory_has_its_flags_and_counts_nothing_on_the_device) {
    void *address = NULL;
    OK(cuMemHostAlloc(&address, 3 * MIB, CU_MEMHOSTALLOC_PORTABLE));
    memset(address, 1, 3 * MIB);
    unsigned flags = 0;
    OK(cuMemHostGetFlags(&flags, address));
    cr_expect(eq(uint, flags, CU_MEMHOSTALLOC_PORTABLE));
    cr_expect(zero(u64, fake->used(0)));
    REFUSED(cuMemFree_v2((CUdeviceptr)address), CUDA_ERROR_INVALID_VALUE);
    OK(cuMemFreeHost(address));
    REFUSED(cuMemFreeHost(address), CUDA_ERROR_INVALID_VALUE);
}

Test(memory, host_memory_is_registered_once) {
    static char buffer[8192];
    OK(cuMemHostRegister_v2(buffer, sizeof(buffer), 0));
    REFUSED(cuMemHostRegister_v2(buffer, sizeof(buffer), 0),
            CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    OK(cuMemHostUnregister(buffer));
    REFUSED(cuMemHostUnregister(buffer), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    buffer[0] = 1;
}

Test(memory, pointer_attributes_tell_the_allocation_apart) {
    CUdeviceptr address = allocate(MIB);
    uint64_t first = 0;
    OK(cuPointerGetAttribute(&first, CU_POINTER_ATTRIBUTE_BUFFER_ID, address));
    CUcontext owner = NULL;
    OK(cuPointerGetAttribute(&owner, CU_POINTER_ATTRIBUTE_CONTEXT, address));
    cr_expect(eq(ptr, owner, primary));
    fake->knobs.protect = 0;
    OK(cuMemFree_v2(address));
    REFUSED(cuPointerGetAttribute(&first, CU_POINTER_ATTRIBUTE_BUFFER_ID, address),
            CUDA_ERROR_INVALID_VALUE);
    uint64_t second = 0;
    OK(cuPointerGetAttribute(&second, CU_POINTER_ATTRIBUTE_BUFFER_ID, allocate(MIB)));
    cr_expect(ne(u64, first, second));
}

Test(memory, attributes_of_a_foreign_address_are_zero) {
    int type = 7;
    size_t size = 7;
    CUpointer_attribute attributes[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                        CU_POINTER_ATTRIBUTE_RANGE_SIZE};
    void *data[] = {&type, &size};
    OK(cuPointerGetAttributes(2, attributes, data, (CUdeviceptr)&type));
    cr_expect(all(eq(int, type, 0), eq(sz, size, 0)));
}

Test(memory, a_handle_for_other_processes_dies_with_its_allocation) {
    CUdeviceptr address = allocate(2 * MIB);
    CUdeviceptr opened = 0;
    CUipcMemHandle handle;
    OK(cuIpcGetMemHandle(&handle, address));
    OK(cuIpcOpenMemHandle_v2(&opened, handle, 1));
    REFUSED(cuIpcGetMemHandle(&handle, address + 512), CUDA_ERROR_INVALID_VALUE);
    fake->knobs.protect = 0;
    OK(cuMemFree_v2(address));
    cr_assert(eq(u64, allocate(2 * MIB), address));
    REFUSED(cuIpcOpenMemHandle_v2(&opened, handle, 1), CUDA_ERROR_INVALID_VALUE);
}

Test(memory, mapped_memory_is_usable_between_map_and_unmap, .signal = SIGSEGV) {
    CUdeviceptr address = 0;
    CUmemGenericAllocationHandle handle = 0;
    const CUmemAllocationProp properties = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                            .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    const CUmemAccessDesc access = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, 3};
    OK(cuMemAddressReserve(&address, 4 * MIB, 0, 0, 0));
    OK(cuMemCreate(&handle, 4 * MIB, &properties, 0));
    cr_assert(eq(u64, fake->used(0), 4 * MIB));
    OK(cuMemMap(address, 4 * MIB, 0, handle, 0));
    OK(cuMemSetAccess(address, 4 * MIB, &access, 1));
    OK(cuMemsetD8_v2(address, 7, 4 * MIB));
    cr_assert(eq(int, *(char *)address, 7));
    OK(cuMemUnmap(address, 4 * MIB));
    OK(cuMemRelease(handle));
    cr_assert(zero(u64, fake->used(0)));
    *(volatile char *)address = 1;
}

Test(memory, an_array_takes_what_its_elements_take) {
    const CUDA_ARRAY_DESCRIPTOR descriptor = {1024, 1024, CU_AD_FORMAT_FLOAT, 2};
    CUarray array = NULL;
    OK(cuArrayCreate_v2(&array, &descriptor));
    cr_expect(eq(u64, fake->used(0), 8 * MIB));
    OK(cuArrayDestroy(array));
    cr_expect(zero(u64, fake->used(0)));
    REFUSED(cuArrayDestroy(array), CUDA_ERROR_INVALID_HANDLE);
}

Test(memory, rows_are_padded) {
    CUdeviceptr address = 0;
    size_t pitch = 0;
    OK(cuMemAllocPitch_v2(&address, &pitch, 1000, 4096, 4));
    cr_expect(eq(sz, pitch, 1024));
    REFUSED(cuMemAllocPitch_v2(&address, &pitch, 1000, 4096, 5), CUDA_ERROR_INVALID_VALUE);
}

Test(memory, copies_stay_inside_live_blocks) {
    char buffer[4096] = "there and back";
    char back[4096] = "";
    CUdeviceptr address = allocate(4096);
    OK(cuMemcpyHtoD_v2(address, buffer, sizeof(buffer)));
    OK(cuMemcpyDtoH_v2(back, address, sizeof(back)));
    cr_expect(eq(str, back, buffer));
    REFUSED(cuMemcpyHtoD_v2(address + 1, buffer, sizeof(buffer)), CUDA_ERROR_INVALID_VALUE);
    OK(cuMemFree_v2(address));
    REFUSED(cuMemcpyHtoD_v2(address, buffer, 1), CUDA_ERROR_INVALID_VALUE);
}

static void *churn(void *unused) {
    (void)unused;
    cr_assert(eq(int, (int)cuCtxSetCurrent(primary), 0));
    for (int i = 0; i < 2000; i++) {
        CUdeviceptr large = allocate(2 * MIB + (size_t)i);
        CUdeviceptr small = allocate(512 * (size_t)(i % 7 + 1));
        OK(cuMemFree_v2(large));
        OK(cuMemFree_v2(small));
    }
    return NULL;
}

Test(memory, several_threads_leave_nothing_behind) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, churn, NULL);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_expect(zero(u64, fake->used(0)));
    cr_expect(eq(u64, fake->calls("cuMemAlloc_v2"), 4 * 2 * 2000));
}

/* ---- waiting ---- */

enum {
    WORK_US = 30 * 1000
};
#define HOUR_US (UINT64_C(3600) * 1000 * 1000)

static double begun_ms; /* just before the last short work began */

static void begin(void) {
    begun_ms = now_ms();
}

/* Short work ends by itself; long work is under way however late this machine is. */
static void work(CUstream stream) {
    begin();
    cr_assert(fake->work(stream, WORK_US));
}

static void work_long(CUstream stream) {
    cr_assert(fake->work(stream, HOUR_US));
}

#define EXPECT_WAIT(call) \
    do { \
        OK(call); \
        cr_expect(ge(dbl, now_ms() - begun_ms, WORK_US / 1000), #call " did not wait"); \
    } while (0)
#define EXPECT_NO_WAIT(call) \
    do { \
        OK(call); \
        cr_expect(fake->is_busy(primary), #call " waited"); \
    } while (0)

TestSuite(waiting, .init = start);

Test(waiting, a_free_waits_for_the_work_of_its_context) {
    CUdeviceptr address = allocate(2 * MIB);
    work(stream_new(CU_STREAM_NON_BLOCKING));
    EXPECT_WAIT(cuMemFree_v2(address));
    cr_expect(not(fake->is_busy(primary)));
}

Test(waiting, a_free_waits_for_the_owner_and_not_for_the_current_context) {
    CUdeviceptr address = allocate(2 * MIB);
    work_long(NULL);
    CUcontext other_context = create(1);
    CUdeviceptr other = allocate(2 * MIB);
    EXPECT_NO_WAIT(cuMemFree_v2(other));
    OK(cuCtxSetCurrent(primary));
    fake->finish(primary);
    work(NULL);
    OK(cuCtxSetCurrent(other_context));
    EXPECT_WAIT(cuMemFree_v2(address));
}

static void *synchronize(void *unused) {
    OK(cuCtxSetCurrent(primary));
    OK(cuCtxSynchronize());
    return unused;
}

Test(waiting, ends_when_a_test_says_that_the_work_is_done) {
    pthread_t thread;
    work_long(NULL);
    cr_assert(eq(int, pthread_create(&thread, NULL, synchronize, NULL), 0));
    while (fake->calls("cuCtxSynchronize") == 0) {
        (void)usleep(1000);
    }
    fake->finish(primary);
    cr_expect(eq(int, pthread_join(thread, NULL), 0));
}

Test(waiting, memory_of_a_stream_is_freed_without_waiting) {
    CUdeviceptr address = 0;
    OK(cuMemAllocAsync(&address, 2 * MIB, NULL));
    work_long(NULL);
    EXPECT_NO_WAIT(cuMemFreeAsync(address, NULL));
    OK(cuMemAllocAsync(&address, 2 * MIB, NULL));
    EXPECT_NO_WAIT(cuMemFree_v2(address));
}

Test(waiting, a_stream_waits_for_itself_and_a_context_for_all_streams) {
    CUstream busy = stream_new(CU_STREAM_NON_BLOCKING);
    CUstream idle = stream_new(CU_STREAM_NON_BLOCKING);
    work_long(busy);
    EXPECT_NO_WAIT(cuStreamSynchronize(idle));
    REFUSED(cuStreamQuery(busy), CUDA_ERROR_NOT_READY);
    fake->finish(primary);
    work(busy);
    EXPECT_WAIT(cuCtxSynchronize());
    OK(cuStreamQuery(busy));
}

Test(waiting, an_event_is_ready_when_the_work_before_it_is_done) {
    CUstream stream = stream_new(CU_STREAM_NON_BLOCKING);
    CUevent event = NULL;
    CUevent later = NULL;
    OK(cuEventCreate(&event, 0));
    OK(cuEventCreate(&later, 0));
    work(stream);
    OK(cuEventRecord(event, stream));
    work_long(stream);
    OK(cuEventRecord(later, stream));
    REFUSED(cuEventQuery(later), CUDA_ERROR_NOT_READY);
    EXPECT_WAIT(cuEventSynchronize(event));
    OK(cuEventQuery(event));
    cr_expect(fake->is_busy(primary), "the work after it is not");
}

Test(waiting, calls_take_the_time_that_they_are_told_to_take) {
    fake->knobs.alloc_us = WORK_US;
    begin();
    EXPECT_WAIT((allocate(2 * MIB), CUDA_SUCCESS));
    fake->knobs.alloc_us = 0;
    fake->knobs.work_us = WORK_US;
    begin();
    EXPECT_WAIT(cuMemsetD8_v2(allocate(MIB), 0, MIB));
    fake->knobs.work_us = HOUR_US;
    EXPECT_NO_WAIT(cuMemsetD8Async(allocate(MIB), 0, MIB, NULL));
}

/* ---- capture ---- */

static CUstream captured;

static void capture_start(CUstreamCaptureMode mode) {
    captured = stream_new(CU_STREAM_NON_BLOCKING);
    OK(cuStreamBeginCapture_v2(captured, mode));
}

static CUresult capture_result(void) {
    CUgraph graph = NULL;
    CUresult result = cuStreamEndCapture(captured, &graph);
    cr_expect(eq(int, graph != NULL, result == CUDA_SUCCESS));
    return result;
}

/* Runs a function in another thread that has the same context. */
static void *with_context(void *function) {
    cr_assert(eq(int, (int)cuCtxSetCurrent(primary), 0));
    return (void *)(uintptr_t)((CUresult(*)(void))(uintptr_t)function)();
}

static CUresult elsewhere(CUresult (*function)(void)) {
    pthread_t thread;
    void *result = NULL;
    pthread_create(&thread, NULL, with_context, (void *)(uintptr_t)function);
    pthread_join(thread, &result);
    return (CUresult)(uintptr_t)result;
}

static CUresult try_alloc(void) {
    CUdeviceptr address;
    return cuMemAlloc_v2(&address, 2 * MIB);
}

static CUresult try_alloc_in_mode(CUstreamCaptureMode own) {
    CUstreamCaptureMode mode = own;
    OK(cuThreadExchangeStreamCaptureMode(&mode));
    CUresult result = try_alloc();
    OK(cuThreadExchangeStreamCaptureMode(&mode));
    cr_expect(eq(int, (int)mode, (int)own));
    return result;
}

static CUresult try_alloc_relaxed(void) {
    return try_alloc_in_mode(CU_STREAM_CAPTURE_MODE_RELAXED);
}

static CUresult try_alloc_thread_local(void) {
    return try_alloc_in_mode(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
}

TestSuite(capture, .init = start);

Test(capture, ends_with_a_graph_when_nothing_disturbs_it) {
    capture_start(CU_STREAM_CAPTURE_MODE_GLOBAL);
    CUdeviceptr address = 0;
    CUstreamCaptureStatus status;
    OK(cuMemAllocAsync(&address, MIB, captured));
    OK(cuMemsetD8Async(address, 7, MIB, captured));
    OK(cuStreamIsCapturing(captured, &status));
    cr_expect(eq(int, (int)status, CU_STREAM_CAPTURE_STATUS_ACTIVE));
    OK(capture_result());
    cr_expect(ne(int, *(char *)address, 7), "what is captured is not done");
}

Test(capture, an_allocation_is_refused_and_the_capture_lost) {
    capture_start(CU_STREAM_CAPTURE_MODE_GLOBAL);
    REFUSED(try_alloc(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    REFUSED(capture_result(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    OK(try_alloc());
}

Test(capture, a_free_is_refused) {
    CUdeviceptr address = allocate(2 * MIB);
    capture_start(CU_STREAM_CAPTURE_MODE_GLOBAL);
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    REFUSED(capture_result(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    OK(cuMemFree_v2(address));
}

Test(capture, waiting_is_refused) {
    capture_start(CU_STREAM_CAPTURE_MODE_GLOBAL);
    REFUSED(cuCtxSynchronize(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    REFUSED(capture_result(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

Test(capture, another_thread_is_refused_too) {
    capture_start(CU_STREAM_CAPTURE_MODE_GLOBAL);
    REFUSED(elsewhere(try_alloc), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    REFUSED(capture_result(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

Test(capture, a_relaxed_thread_may_allocate) {
    capture_start(CU_STREAM_CAPTURE_MODE_GLOBAL);
    OK(elsewhere(try_alloc_relaxed));
    OK(try_alloc_relaxed());
    OK(capture_result());
}

Test(capture, a_thread_local_thread_may_allocate_while_another_one_captures) {
    capture_start(CU_STREAM_CAPTURE_MODE_GLOBAL);
    OK(elsewhere(try_alloc_thread_local));
    REFUSED(try_alloc_thread_local(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

Test(capture, of_one_thread_does_not_bind_others) {
    capture_start(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    OK(elsewhere(try_alloc));
    OK(capture_result());
    capture_start(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    REFUSED(try_alloc(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

Test(capture, relaxed_binds_nobody) {
    capture_start(CU_STREAM_CAPTURE_MODE_RELAXED);
    OK(try_alloc());
    OK(capture_result());
}

Test(capture, a_captured_stream_or_event_cannot_be_asked) {
    capture_start(CU_STREAM_CAPTURE_MODE_GLOBAL);
    CUstreamCaptureMode relaxed = CU_STREAM_CAPTURE_MODE_RELAXED;
    CUevent event = NULL;
    OK(cuEventCreate(&event, 0));
    OK(cuEventRecord(event, captured));
    OK(cuThreadExchangeStreamCaptureMode(&relaxed));
    REFUSED(cuEventQuery(event), CUDA_ERROR_CAPTURED_EVENT);
    REFUSED(cuStreamSynchronize(captured), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    REFUSED(capture_result(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

Test(capture, of_a_blocking_stream_forbids_the_legacy_stream) {
    CUdeviceptr address = allocate(MIB);
    captured = stream_new(CU_STREAM_DEFAULT);
    OK(cuStreamBeginCapture_v2(captured, CU_STREAM_CAPTURE_MODE_RELAXED));
    REFUSED(cuMemsetD8Async(address, 0, MIB, NULL), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    REFUSED(capture_result(), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

/* ---- contexts ---- */

TestSuite(contexts, .init = start);

Test(contexts, a_destroyed_one_takes_its_memory_with_it) {
    CUcontext context = create(0);
    CUdeviceptr address = allocate(2 * MIB);
    CUdeviceptr stream_ordered = 0;
    void *host = NULL;
    OK(cuMemHostAlloc(&host, MIB, 0));
    OK(cuMemAllocAsync(&stream_ordered, 4 * MIB, NULL));
    OK(cuCtxDestroy_v2(context));
    OK(cuCtxSetCurrent(primary));
    cr_expect(eq(u64, fake->used(0), 4 * MIB), "all but the memory of cuMemAllocAsync");
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuMemFreeHost(host), CUDA_ERROR_INVALID_VALUE);
    REFUSED(cuCtxDestroy_v2(context), CUDA_ERROR_INVALID_CONTEXT);
}

Test(contexts, an_address_comes_back_with_another_id) {
    unsigned long long first = 0;
    unsigned long long second = 0;
    CUcontext context = create(0);
    OK(cuCtxGetId(context, &first));
    OK(cuCtxDestroy_v2(context));
    cr_assert(eq(ptr, create(0), context));
    OK(cuCtxGetId(context, &second));
    cr_expect(ne(u64, first, second));
}

Test(contexts, the_last_release_of_the_primary_one_destroys_it) {
    CUcontext again = NULL;
    unsigned flags = 0;
    int active = 0;
    OK(cuDevicePrimaryCtxRetain(&again, 0));
    cr_assert(eq(ptr, again, primary));
    allocate(2 * MIB);
    OK(cuDevicePrimaryCtxRelease_v2(0));
    cr_expect(eq(u64, fake->used(0), 2 * MIB));
    OK(cuDevicePrimaryCtxRelease_v2(0));
    OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    cr_expect(all(zero(u64, fake->used(0)), zero(int, active)));
    CUdeviceptr address;
    REFUSED(cuMemAlloc_v2(&address, MIB), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    REFUSED(cuDevicePrimaryCtxRelease_v2(0), CUDA_ERROR_INVALID_CONTEXT);
}

Test(contexts, a_reset_destroys_the_primary_one_though_it_is_retained) {
    CUcontext again = NULL;
    allocate(2 * MIB);
    OK(cuDevicePrimaryCtxReset(0));
    cr_expect(zero(u64, fake->used(0)));
    OK(cuDevicePrimaryCtxRetain(&again, 0));
    allocate(2 * MIB);
    OK(cuDevicePrimaryCtxRelease(0));
    cr_expect(eq(u64, fake->used(0), 2 * MIB), "the first reference is still held");
}

Test(contexts, memory_of_another_device_is_reached_through_peer_access_alone) {
    CUdeviceptr address = allocate(MIB);
    create(1);
    REFUSED(cuMemsetD8_v2(address, 0, MIB), CUDA_ERROR_INVALID_VALUE);
    OK(cuCtxEnablePeerAccess(primary, 0));
    REFUSED(cuCtxEnablePeerAccess(primary, 0), CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
    OK(cuMemsetD8_v2(address, 0, MIB));
    OK(cuCtxDisablePeerAccess(primary));
    REFUSED(cuMemsetD8_v2(address, 0, MIB), CUDA_ERROR_INVALID_VALUE);
}

/* ---- failures ---- */

TestSuite(failures, .init = start);

Test(failures, the_nth_call_fails_and_the_next_does_not) {
    fake->fail("cuMemAlloc_v2", 2, CUDA_ERROR_OUT_OF_MEMORY);
    OK(try_alloc());
    REFUSED(try_alloc(), CUDA_ERROR_OUT_OF_MEMORY);
    OK(try_alloc());
}

Test(failures, a_fault_of_the_device_stays) {
    CUdeviceptr address = allocate(2 * MIB);
    fake->fail("cuCtxSynchronize", 1, CUDA_ERROR_ILLEGAL_ADDRESS);
    REFUSED(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_ILLEGAL_ADDRESS);
    REFUSED(try_alloc(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

Test(failures, during_exit_every_call_says_so) {
    fake->knobs.exited = 1;
    REFUSED(try_alloc(), CUDA_ERROR_DEINITIALIZED);
}

/* ---- what is told ---- */

TestSuite(log, .init = start);

Test(log, holds_arguments_answer_thread_and_result_in_the_order_of_the_calls) {
    fake->forget();
    CUdeviceptr address = allocate(5 * MIB);
    OK(cuMemFree_v2(address));
    cr_assert(eq(u64, fake->logged, 2));
    const struct fake_cuda_call *call = fake->log;
    cr_expect(eq(str, (char *)call[0].symbol, "cuMemAlloc_v2"));
    cr_expect(all(eq(u64, call[0].arguments[1], 5 * MIB), eq(u64, call[0].value, address)));
    cr_expect(all(eq(long, call[0].thread, gettid()), zero(int, (int)call[0].result)));
    cr_expect(eq(str, (char *)call[1].symbol, "cuMemFree_v2"));
    cr_expect(eq(u64, call[1].arguments[0], address));
}
