/*
 * test_get_proc.c - cuGetProcAddress with four and with five parameters, before a driver whose
 * answers the test makes.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "cuda_hooks/driver.h"
#include "cuda_hooks/resolve.h"
#include "pool/live.h"
#include "tests/cuda_hooks/fake_loader.h"

static CUresult result = CUDA_SUCCESS;
static function_of_any_type *answer;

static CUresult get_proc_4(const char *name, void **function, int version, uint64_t flags) {
    (void)name, (void)version, (void)flags;
    if (function != NULL && result == CUDA_SUCCESS) {
        *function = loader_as_symbol(answer);
    }
    return result;
}

static CUresult get_proc_5(const char *name, void **function, int version, uint64_t flags,
                           CUdriverProcAddressQueryResult *status) {
    if (status != NULL) {
        *status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    }
    return get_proc_4(name, function, version, flags);
}

static void load_driver(void) {
    fake_loader_export(DRIVER_LIBRARY, "cuGetProcAddress", (function_of_any_type *)get_proc_4);
    fake_loader_export(DRIVER_LIBRARY, "cuGetProcAddress_v2", (function_of_any_type *)get_proc_5);
    fake_loader_export(DRIVER_LIBRARY, "cuMemAllocAsync", fake_address(1));
    fake_loader_export(DRIVER_LIBRARY, "cuMemAllocAsync_ptsz", fake_address(2));
    fake_loader_load_driver();
}

TestSuite(get_proc, .init = load_driver);

static CUresult ask_4(const char *name, void **function, int version, uint64_t flags) {
    function_of_any_type *ours = driver_hook_named("cuGetProcAddress")->ours;
    return ((CUresult(*)(const char *, void **, int, uint64_t))ours)(name, function, version,
                                                                     flags);
}

static CUresult ask_5(const char *name, void **function, int version, uint64_t flags,
                      CUdriverProcAddressQueryResult *status) {
    function_of_any_type *ours = driver_hook_named("cuGetProcAddress_v2")->ours;
    return (
        (CUresult(*)(const char *, void **, int, uint64_t, CUdriverProcAddressQueryResult *))ours)(
        name, function, version, flags, status);
}

static void *ours(const char *symbol) {
    return loader_as_symbol(driver_hook_named(symbol)->ours);
}

Test(get_proc, finds_itself_by_version) {
    void *function = NULL;
    answer = (function_of_any_type *)get_proc_4;
    cr_assert(ask_4("cuGetProcAddress", &function, 11030, 0) == CUDA_SUCCESS);
    cr_assert(eq(ptr, function, ours("cuGetProcAddress")));
    answer = (function_of_any_type *)get_proc_5;
    cr_assert(ask_5("cuGetProcAddress", &function, 12000, 0, NULL) == CUDA_SUCCESS);
    cr_assert(eq(ptr, function, ours("cuGetProcAddress_v2")));
}

Test(get_proc, gives_the_twin_for_the_streams_of_each_thread) {
    void *function = NULL;
    answer = fake_address(1);
    (void)ask_5("cuMemAllocAsync", &function, 11020, CU_GET_PROC_ADDRESS_DEFAULT, NULL);
    cr_expect(eq(ptr, function, ours("cuMemAllocAsync")));
    (void)ask_5("cuMemAllocAsync", &function, 11020, CU_GET_PROC_ADDRESS_LEGACY_STREAM, NULL);
    cr_expect(eq(ptr, function, ours("cuMemAllocAsync")));
    answer = fake_address(3);
    (void)ask_5("cuMemAllocAsync", &function, 11020, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM,
                NULL);
    cr_expect(eq(ptr, function, ours("cuMemAllocAsync_ptsz")), "by the table alone");
}

Test(get_proc, passes_the_status_on) {
    void *function = NULL;
    CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SUCCESS;
    answer = fake_address(1);
    (void)ask_5("cuMemAllocAsync", &function, 11020, 0, &status);
    cr_assert(status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
}

Test(get_proc, leaves_failures_alone) {
    void *function = (void *)1;
    result = CUDA_ERROR_NOT_FOUND;
    cr_assert(ask_5("cuMemAlloc", &function, 3020, 0, NULL) == CUDA_ERROR_NOT_FOUND);
    cr_assert(eq(ptr, function, (void *)1));
    result = CUDA_SUCCESS;
    cr_assert(ask_5("cuMemAlloc", &function, 3020, 0, NULL) == CUDA_SUCCESS);
    cr_assert(eq(ptr, function, NULL), "the driver found none, nor do we");
    cr_assert(ask_5("cuMemAlloc", NULL, 3020, 0, NULL) == CUDA_SUCCESS);
}

Test(get_proc, leaves_functions_alone_that_are_not_ours) {
    void *function = NULL;
    answer = fake_address(4);
    (void)ask_5("cuEventRecord", &function, 13000, 0, NULL);
    cr_assert(eq(ptr, function, loader_as_symbol(fake_address(4))));
    cr_assert(eq(u64, live_tally_sum(DRIVER_UNHOOKED), 0));
}

Test(get_proc, leaves_unknown_variants_alone_and_counts_them) {
    void *function = NULL;
    answer = fake_address(4);
    (void)ask_5("cuMemAlloc", &function, 14000, 0, NULL);
    cr_assert(eq(ptr, function, loader_as_symbol(fake_address(4))));
    cr_assert(eq(u64, live_tally_sum(DRIVER_UNHOOKED), 1));
}

Test(get_proc, calls_what_it_was_given_where_the_driver_exports_none) {
    void *function = NULL;
    answer = fake_address(4);
    (void)ask_5("cuMemAlloc", &function, 3020, 0, NULL);
    cr_assert(eq(ptr, function, ours("cuMemAlloc_v2")));
    cr_assert(fake_address(4) == (function_of_any_type *)driver()->cuMemAlloc_v2);
}

Test(get_proc, gives_the_drivers_own_when_we_are_off) {
    void *function = NULL;
    answer = fake_address(1);
    resolve_turn(false);
    (void)ask_5("cuMemAllocAsync", &function, 11020, 0, NULL);
    cr_assert(eq(ptr, function, loader_as_symbol(fake_address(1))));
}
