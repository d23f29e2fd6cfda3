/* test_loader.c - how programs find the stand-in driver's functions: by name, by version, by a runtime. */
#include "tests/fake/fake_cuda.h"
#include "tests/fake/functions.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
#define PER_THREAD CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM

#define ADDRESS(function) ((void *)(uintptr_t)(function))

static void *found(const char *base, int version, uint64_t flags) {
    void *function = NULL;
    cr_assert(eq(int, (int)cuGetProcAddress_v2(base, &function, version, flags, NULL), 0));
    return function;
}

static CUdriverProcAddressQueryResult status_of(const char *base, int version) {
    void *function = &function;
    CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SUCCESS;
    cr_assert(eq(int, (int)cuGetProcAddress_v2(base, &function, version, 0, &status), 0));
    cr_expect(eq(int, function == NULL, status != CU_GET_PROC_ADDRESS_SUCCESS));
    return status;
}

Test(get_proc, gives_the_newest_form_that_the_version_allows) {
    cr_expect(eq(ptr, found("cuMemAlloc", 2000, 0), ADDRESS(cuMemAlloc)));
    cr_expect(eq(ptr, found("cuMemAlloc", 3020, 0), ADDRESS(cuMemAlloc_v2)));
    cr_expect(eq(ptr, found("cuMemAlloc", 13000, 0), ADDRESS(cuMemAlloc_v2)));
    cr_expect(eq(ptr, found("cuDevicePrimaryCtxReset", 7000, 0), ADDRESS(cuDevicePrimaryCtxReset)));
    cr_expect(eq(ptr, found("cuCtxSynchronize", 12080, 0), ADDRESS(cuCtxSynchronize)));
    cr_expect(eq(ptr, found("cuCtxSynchronize", 13000, 0), ADDRESS(cuCtxSynchronize_v2)));
}

Test(get_proc, gives_the_per_thread_twin_when_asked_and_where_there_is_one) {
    cr_expect(eq(ptr, found("cuMemFreeAsync", 11020, 0), ADDRESS(cuMemFreeAsync)));
    cr_expect(eq(ptr, found("cuMemFreeAsync", 11020, PER_THREAD), ADDRESS(cuMemFreeAsync_ptsz)));
    cr_expect(eq(ptr, found("cuMemAlloc", 13000, PER_THREAD), ADDRESS(cuMemAlloc_v2)));
}

Test(get_proc, answers_for_itself_with_the_form_of_the_version) {
    cr_expect(eq(ptr, found("cuGetProcAddress", 11030, 0), ADDRESS(cuGetProcAddress)));
    cr_expect(eq(ptr, found("cuGetProcAddress", 12000, 0), ADDRESS(cuGetProcAddress_v2)));
}

Test(get_proc, says_why_there_is_nothing) {
    void *function = NULL;
    cr_expect(eq(int, (int)status_of("", 0), CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND));
    cr_expect(eq(int, (int)status_of("cuMemAllocAsync", 11010),
                 CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT));
    cr_expect(
        eq(int, (int)cuGetProcAddress("cuNothing", &function, 11030, 0), CUDA_ERROR_NOT_FOUND));
    cr_expect(eq(int, (int)cuGetProcAddress_v2("cuMemAlloc", &function, 13010, 0, NULL),
                 CUDA_ERROR_INVALID_VALUE),
              "newer than the driver");
}

Test(get_proc, an_older_driver_has_only_what_it_had) {
    fake_cuda()->knobs.version = 12080;
    cr_expect(eq(ptr, found("cuCtxSynchronize", 12080, 0), ADDRESS(cuCtxSynchronize)));
    cr_expect(
        eq(int, (int)status_of("cuMemGetMemPool", 12080), CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND));
    void *function = NULL;
    cr_expect(eq(int, (int)cuGetProcAddress_v2("cuCtxSynchronize", &function, 13000, 0, NULL),
                 CUDA_ERROR_INVALID_VALUE));
}

/* ---- libraries of older drivers, beside the test program ---- */

static void *older_driver(const char *name) {
    void *library = dlmopen(LM_ID_NEWLM, name, RTLD_NOW);
    cr_assert(library != NULL, "%s", dlerror());
    return library;
}

Test(older_driver, exports_no_function_that_came_later) {
    void *cuda_12 = older_driver("$ORIGIN/12080/libcuda.so.1");
    cr_expect(dlsym(cuda_12, "cuGetProcAddress_v2") != NULL);
    cr_expect(dlsym(cuda_12, "cuCtxSynchronize_v2") == NULL);
    void *cuda_11 = older_driver("$ORIGIN/11050/libcuda.so.1");
    cr_expect(dlsym(cuda_11, "cuGetProcAddress") != NULL);
    cr_expect(dlsym(cuda_11, "cuGetProcAddress_v2") == NULL);
}

/* ---- a runtime ---- */

static void *runtime_function(const char *name) {
    static void *library;
    if (library == NULL) {
        library = dlopen("libcudart_fake.so", RTLD_NOW);
    }
    cr_assert(library != NULL, "%s", dlerror());
    return dlsym(library, name);
}

static int runtime_malloc(void **address, size_t size) {
    return ((int (*)(void **, size_t))(uintptr_t)runtime_function("cudaMalloc"))(address, size);
}

static int runtime_free(void *address) {
    return ((int (*)(void *))(uintptr_t)runtime_function("cudaFree"))(address);
}

static bool was_asked(const char *query) {
    const struct fake_cuda *fake = fake_cuda();
    for (uint64_t i = 0; i < fake->logged; i++) {
        if (strcmp(fake->log[i].text, query) == 0) {
            return true;
        }
    }
    return false;
}

static void expect_that_memory_comes_and_goes(void) {
    void *address = NULL;
    cr_assert(zero(int, runtime_malloc(&address, 3 * MIB)));
    memset(address, 1, 3 * MIB);
    cr_expect(zero(int, runtime_free(address)));
    cr_expect(all(zero(int, runtime_malloc(&address, 0)), zero(ptr, address)));
    cr_expect(eq(u64, fake_cuda()->calls("cuMemAlloc_v2"), 1));
    cr_expect(eq(u64, fake_cuda()->calls("cuMemFree_v2"), 1));
}

Test(runtime, asks_for_functions_by_name_version_and_flags) {
    expect_that_memory_comes_and_goes();
    cr_expect(was_asked(" 0 0 -"));
    cr_expect(was_asked("cuGetProcAddress 11030 0 cuGetProcAddress"));
    cr_expect(was_asked("cuGetProcAddress 12000 0 cuGetProcAddress_v2"));
    cr_expect(was_asked("cuMemAlloc 3020 0 cuMemAlloc_v2"));
    cr_expect(was_asked("cuMemAllocAsync 11020 2 cuMemAllocAsync_ptsz"));
}

Test(runtime, looks_symbols_up_where_the_getter_is_a_stub) {
    fake_cuda()->knobs.getproc_stub = 1;
    expect_that_memory_comes_and_goes();
    cr_expect(eq(u64, fake_cuda()->calls("cuGetProcAddress_v2"), 1));
}

Test(runtime, wants_a_driver_that_is_new_enough) {
    enum {
        INSUFFICIENT_DRIVER = 35
    };
    fake_cuda()->knobs.version = 12080;
    void *address = NULL;
    cr_expect(eq(int, runtime_malloc(&address, MIB), INSUFFICIENT_DRIVER));
}
