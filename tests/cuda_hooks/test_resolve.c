/*
 * test_resolve.c - what dlsym does with each name and handle, before the jump.
 */
#include "cuda_hooks/resolve.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dlfcn.h>

#include "cuda_hooks/driver.h"
#include "tests/cuda_hooks/fake_loader.h"

static void *symbol_of(dlsym_function *function) {
    return loader_as_symbol((function_of_any_type *)function);
}

static void expect_jump(struct resolution r, dlsym_function *target) {
    cr_expect(eq(ptr, r.target, symbol_of(target)));
}

static void expect_ours(struct resolution r, const char *symbol) {
    cr_expect(eq(ptr, r.target, NULL));
    cr_expect(eq(ptr, r.symbol, loader_as_symbol(driver_hook_named(symbol)->ours)));
}

static void load_driver(void) {
    fake_loader_export(DRIVER_LIBRARY, "cuMemAlloc_v2", fake_address(1));
    fake_loader_export(DRIVER_LIBRARY, "cuInit", fake_address(2));
    fake_loader_load_driver();
}

Test(resolve, goes_on_with_other_names) {
    load_driver();
    expect_jump(resolve_name(DRIVER_LIBRARY, "cuInit"), loader_next());
    expect_jump(resolve_name(RTLD_DEFAULT, "cuMemAlloc_v3"), loader_next());
    expect_jump(resolve_name(RTLD_NEXT, "puts"), loader_next());
}

Test(resolve, gives_ours_for_the_drivers) {
    load_driver();
    expect_ours(resolve_name(DRIVER_LIBRARY, "cuMemAlloc_v2"), "cuMemAlloc_v2");
}

Test(resolve, gives_nothing_that_the_driver_lacks) {
    load_driver();
    expect_jump(resolve_name(DRIVER_LIBRARY, "cuMemFree_v2"), loader_next());
}

/* The driver of WSL is two libraries, the first of which looks up the functions of the second. */
Test(resolve, leaves_functions_of_the_same_name_elsewhere_alone) {
    load_driver();
    fake_loader_export(OTHER_LIBRARY, "cuMemAlloc_v2", fake_address(3));
    expect_jump(resolve_name(OTHER_LIBRARY, "cuMemAlloc_v2"), loader_next());
}

Test(resolve, gives_ours_for_the_drivers_though_an_interposer_is_called) {
    load_driver();
    fake_loader_export(RTLD_NEXT, "cuMemAlloc_v2", fake_address(4));
    expect_ours(resolve_name(DRIVER_LIBRARY, "cuMemAlloc_v2"), "cuMemAlloc_v2");
    cr_expect(fake_address(4) == (function_of_any_type *)driver()->cuMemAlloc_v2);
}

Test(resolve, follows_the_search_order_where_there_is_a_driver) {
    load_driver();
    expect_jump(resolve_name(RTLD_DEFAULT, "cuMemAlloc_v2"), loader_next());
    expect_jump(resolve_name(RTLD_NEXT, "cuMemAlloc_v2"), loader_next());
}

Test(resolve, finds_nothing_in_the_search_order_that_the_driver_lacks) {
    load_driver();
    expect_jump(resolve_name(RTLD_DEFAULT, "cuGetProcAddress_v2"), resolve_absent);
}

/* So that dlerror(3) tells of the program's look-up, though we have looked for much else. */
Test(resolve, looks_up_last_what_the_program_asked_for) {
    load_driver();
    expect_ours(resolve_name(DRIVER_LIBRARY, "cuMemAlloc_v2"), "cuMemAlloc_v2");
    cr_expect(eq(str, (char *)fake_loader_last(), "cuMemAlloc_v2"));
}

Test(resolve, finds_nothing_in_the_search_order_where_there_is_none) {
    expect_jump(resolve_name(RTLD_DEFAULT, "cuMemAlloc_v2"), resolve_absent);
    expect_jump(resolve_name(RTLD_NEXT, "cuMemAlloc_v2"), resolve_absent);
}

/* As in the handle that dlopen(NULL) gives, in whose scope we are. */
Test(resolve, finds_nothing_of_ours_through_a_handle_where_there_is_no_driver) {
    fake_loader_export(OTHER_LIBRARY, "cuMemAlloc_v2", driver_hook_named("cuMemAlloc_v2")->ours);
    expect_jump(resolve_name(OTHER_LIBRARY, "cuMemAlloc_v2"), resolve_absent);
    load_driver();
    expect_jump(resolve_name(OTHER_LIBRARY, "cuMemAlloc_v2"), loader_next());
}

Test(resolve, goes_on_when_it_is_off) {
    load_driver();
    resolve_turn(false);
    expect_jump(resolve_name(DRIVER_LIBRARY, "cuMemAlloc_v2"), loader_next());
    resolve_turn(true);
    expect_ours(resolve_name(DRIVER_LIBRARY, "cuMemAlloc_v2"), "cuMemAlloc_v2");
}
