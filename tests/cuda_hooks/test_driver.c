/*
 * test_driver.c - the table of the driver's functions: names, variants, and what is called.
 */
#include "cuda_hooks/driver.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dlfcn.h>

#include "pool/live.h"
#include "tests/cuda_hooks/fake_loader.h"

/* ---- names ---- */

Test(driver_names, are_sorted_and_begin_with_their_base) {
    cr_assert(driver_hook_count > 50);
    for (size_t i = 0; i < driver_hook_count; i++) {
        const struct driver_hook *hook = &driver_hooks[i];
        cr_expect(strncmp(hook->symbol, hook->base, strlen(hook->base)) == 0, "%s", hook->symbol);
        cr_expect(i == 0 || strcmp(hook[-1].symbol, hook->symbol) < 0, "%s", hook->symbol);
    }
}

Test(driver_names, every_one_is_found) {
    for (size_t i = 0; i < driver_hook_count; i++) {
        cr_expect(driver_hook_named(driver_hooks[i].symbol) == &driver_hooks[i]);
    }
}

Test(driver_names, only_exact_ones_are_found) {
    static const char *const names[] = {"",
                                        "cu",
                                        "cuMemAllo",
                                        "cuMemAlloc_",
                                        "cuMemAlloc_v3",
                                        "cuMemAlloc_v22",
                                        "cuZZZ",
                                        "cuArray3DCre",
                                        "cuDeviceTotalMem",
                                        "cumemalloc_v2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_expect(driver_hook_named(names[i]) == NULL, "%s", names[i]);
    }
}

/* By these programs find out whether there is a driver: a weak reference must stay NULL. */
Test(driver_names, what_tells_of_a_driver_is_not_ours) {
    static const char *const names[] = {"cuInit", "cuDriverGetVersion", "cuDeviceGetCount",
                                        "cuDeviceGet"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_expect(driver_hook_named(names[i]) == NULL, "%s", names[i]);
    }
}

/* ---- calls ---- */

static CUresult allocate(CUdeviceptr *address, size_t bytes) {
    *address = 0xabc00000 + bytes;
    return CUDA_ERROR_UNKNOWN;
}

static CUresult call_alloc(CUdeviceptr *address, size_t bytes) {
    function_of_any_type *ours = driver_hook_named("cuMemAlloc_v2")->ours;
    return ((CUresult(*)(CUdeviceptr *, size_t))ours)(address, bytes);
}

Test(driver_calls, without_a_driver_are_answered_as_the_stub_library_does) {
    CUdeviceptr address = 1;
    cr_assert(not(driver_is_loaded()));
    cr_assert(call_alloc(&address, 8) == CUDA_ERROR_STUB_LIBRARY);
    cr_assert(eq(u64, address, 1));
}

Test(driver_calls, of_what_the_driver_lacks_are_not_supported) {
    CUdeviceptr address = 1;
    fake_loader_load_driver();
    cr_assert(call_alloc(&address, 8) == CUDA_ERROR_NOT_SUPPORTED);
}

Test(driver_calls, reach_a_driver_that_came_later) {
    CUdeviceptr address = 1;
    cr_assert(call_alloc(&address, 8) == CUDA_ERROR_STUB_LIBRARY);
    fake_loader_export(DRIVER_LIBRARY, "cuMemAlloc_v2", (function_of_any_type *)allocate);
    fake_loader_load_driver();
    cr_assert(call_alloc(&address, 8) == CUDA_ERROR_UNKNOWN);
    cr_assert(eq(u64, address, 0xabc00008));
}

Test(driver_calls, reach_an_interposer_behind_us_before_the_driver) {
    CUdeviceptr address = 1;
    fake_loader_load_driver();
    fake_loader_export(DRIVER_LIBRARY, "cuMemAlloc_v2", fake_address(0));
    fake_loader_export(RTLD_NEXT, "cuMemAlloc_v2", (function_of_any_type *)allocate);
    cr_assert(call_alloc(&address, 8) == CUDA_ERROR_UNKNOWN);
}

Test(driver_calls, reach_what_an_interposer_hands_out_before_the_driver) {
    CUdeviceptr address = 1;
    fake_loader_load_driver();
    fake_loader_export(DRIVER_LIBRARY, "cuMemAlloc_v2", fake_address(0));
    fake_loader_interpose(DRIVER_LIBRARY, "cuMemAlloc_v2", (function_of_any_type *)allocate);
    cr_assert(call_alloc(&address, 8) == CUDA_ERROR_UNKNOWN);
}

/* An interposer that means its own function by the name, and gets ours, which comes first. */
Test(driver_calls, do_not_reach_ourselves) {
    CUdeviceptr address = 1;
    fake_loader_load_driver();
    fake_loader_export(DRIVER_LIBRARY, "cuMemAlloc_v2", (function_of_any_type *)allocate);
    fake_loader_interpose(DRIVER_LIBRARY, "cuMemAlloc_v2",
                          driver_hook_named("cuMemAlloc_v2")->ours);
    cr_assert(call_alloc(&address, 8) == CUDA_ERROR_UNKNOWN);
}

Test(driver_calls, are_counted_by_kind) {
    CUdeviceptr address = 1;
    (void)call_alloc(&address, 8);
    (void)call_alloc(&address, 8);
    cr_assert(eq(u64, live_tally_sum(DRIVER_DEVICE), 2));
    cr_assert(eq(u64, live_tally_sum(DRIVER_PINNED), 0));
}

/* ---- variants ---- */

/* The symbol, or "-". */
static const char *variant(const char *name, int version, enum driver_streams streams) {
    const struct driver_hook *hook = driver_variant(
        &(struct driver_query){.name = name, .version = version, .streams = streams});
    return hook != NULL ? hook->symbol : "-";
}

Test(driver_variants, are_the_newest_up_to_the_version) {
    static const struct {
        const char *name;
        int version;
        const char *symbol;
    } cases[] = {
        {"cuMemAlloc", 1000, "-"},
        {"cuMemAlloc", 2000, "cuMemAlloc"},
        {"cuMemAlloc", 3010, "cuMemAlloc"},
        {"cuMemAlloc", 3020, "cuMemAlloc_v2"},
        {"cuMemAlloc", 13000, "cuMemAlloc_v2"},
        {"cuMemAlloc_v2", 13000, "-"},
        {"cuMemFree", 3020, "cuMemFree_v2"},
        {"cuDevicePrimaryCtxRelease", 7000, "cuDevicePrimaryCtxRelease"},
        {"cuDevicePrimaryCtxRelease", 11000, "cuDevicePrimaryCtxRelease_v2"},
        {"cuGetProcAddress", 11030, "cuGetProcAddress"},
        {"cuGetProcAddress", 11080, "cuGetProcAddress"},
        {"cuGetProcAddress", 12000, "cuGetProcAddress_v2"},
        {"cuMemHostRegister", 6050, "cuMemHostRegister_v2"},
        {"cuStreamBeginCapture", 10010, "cuStreamBeginCapture_v2"},
        {"cuMemFreeHost", 2000, "cuMemFreeHost"},
        {"cuCtxGetCurrent", 4000, "-"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect(eq(str, (char *)variant(cases[i].name, cases[i].version, DRIVER_LEGACY),
                     (char *)cases[i].symbol));
    }
}

Test(driver_variants, for_streams_of_each_thread_are_twins_where_there_are) {
    static const struct {
        const char *name;
        int version;
        const char *symbol;
    } cases[] = {
        {"cuMemAllocAsync", 11010, "-"},
        {"cuMemAllocAsync", 11020, "cuMemAllocAsync_ptsz"},
        {"cuMemFreeAsync", 13000, "cuMemFreeAsync_ptsz"},
        {"cuStreamBeginCapture", 10000, "cuStreamBeginCapture_ptsz"},
        {"cuStreamBeginCapture", 10010, "cuStreamBeginCapture_v2_ptsz"},
        {"cuStreamEndCapture", 13000, "cuStreamEndCapture_ptsz"},
        {"cuMemAlloc", 3020, "cuMemAlloc_v2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect(eq(str, (char *)variant(cases[i].name, cases[i].version, DRIVER_PER_THREAD),
                     (char *)cases[i].symbol));
    }
}

/* ---- what the driver has handed out ---- */

static const char *hook_for(const char *name, int version, function_of_any_type *answer) {
    struct driver_query query = {.name = name, .version = version, .streams = DRIVER_LEGACY};
    const struct driver_hook *hook = driver_hook_for(&query, answer);
    return hook != NULL ? hook->symbol : "-";
}

static void load_driver_with_both_variants_of_alloc(function_of_any_type *first,
                                                    function_of_any_type *second) {
    fake_loader_export(DRIVER_LIBRARY, "cuMemAlloc", first);
    fake_loader_export(DRIVER_LIBRARY, "cuMemAlloc_v2", second);
    fake_loader_export(DRIVER_LIBRARY, "cuMemFree_v2", fake_address(5));
    fake_loader_load_driver();
    cr_assert(driver_is_loaded());
}

Test(driver_answers, are_known_by_their_address) {
    load_driver_with_both_variants_of_alloc(fake_address(1), fake_address(2));
    cr_expect(eq(str, (char *)hook_for("cuMemAlloc", 3020, fake_address(2)), "cuMemAlloc_v2"));
    cr_expect(eq(str, (char *)hook_for("cuMemAlloc", 3020, fake_address(1)), "cuMemAlloc"));
    cr_expect(eq(str, (char *)hook_for("cuMemAlloc", 14000, fake_address(2)), "cuMemAlloc_v2"));
}

Test(driver_answers, with_a_shared_address_are_known_by_the_table) {
    load_driver_with_both_variants_of_alloc(fake_address(1), fake_address(1));
    cr_expect(eq(str, (char *)hook_for("cuMemAlloc", 2000, fake_address(1)), "cuMemAlloc"));
    cr_expect(eq(str, (char *)hook_for("cuMemAlloc", 3020, fake_address(1)), "cuMemAlloc_v2"));
}

Test(driver_answers, with_an_address_of_another_name_are_known_by_the_table) {
    load_driver_with_both_variants_of_alloc(fake_address(1), fake_address(2));
    cr_expect(eq(str, (char *)hook_for("cuMemAlloc", 3020, fake_address(5)), "cuMemAlloc_v2"));
    cr_expect(eq(str, (char *)hook_for("cuMemAlloc", 3020, fake_address(6)), "cuMemAlloc_v2"));
}

Test(driver_answers, to_versions_beyond_the_table_are_unknown) {
    load_driver_with_both_variants_of_alloc(fake_address(1), fake_address(2));
    cr_expect(eq(str, (char *)hook_for("cuMemAlloc", 13010, fake_address(6)), "-"));
}

Test(driver_answers, that_are_not_exported_are_adopted) {
    fake_loader_load_driver();
    cr_assert(driver()->cuMemAlloc_v2 == NULL);
    const struct driver_hook *hook = driver_hook_named("cuMemAlloc_v2");
    driver_adopt(hook, hook->ours);
    cr_assert(driver()->cuMemAlloc_v2 == NULL, "calling ourselves would have no end");
    driver_adopt(hook, (function_of_any_type *)allocate);
    driver_adopt(hook, fake_address(0));
    cr_assert(driver()->cuMemAlloc_v2 == allocate, "the first one stays");
}
