/*
 * test_exports.c - what the library shows to the outside, and what it needs from there.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/preload/child.h"

static char *output_of(const char *script) {
    struct outcome o = child_run((struct child){
        .program = "sh", .arguments = {"-c", script, "sh", library_path()}, .bare = true});
    expect_success(&o);
    return o.out;
}

Test(exports, are_those_of_the_map_and_no_others) {
    char *listed = output_of(
        "{ sed -n '/global:/,/local:/p' interpose/exports.map | grep -o '[A-Za-z_0-9]\\+;' |"
        " tr -d ';'; sed -nE 's/^DRIVER_(PASS|OWN)\\((cu\\w+),.*/\\2/p' cuda_hooks/driver.def; } |"
        " LC_ALL=C sort");
    char *exported = output_of("nm -D --defined-only \"$1\" | awk '{print $3}' | LC_ALL=C sort");
    cr_assert(count(listed, "malloc\n") == 2);
    cr_assert(count(listed, "cuMemAlloc_v2\n") == 1);
    cr_assert(eq(str, exported, listed));
}

Test(exports, hold_the_whole_malloc_family) {
    static const char *const names[] = {
        "malloc",          "calloc",         "realloc",        "free",
        "reallocarray",    "posix_memalign", "aligned_alloc",  "memalign",
        "valloc",          "pvalloc",        "free_sized",     "free_aligned_sized",
        "cfree",           "mallinfo",       "mallinfo2",      "mallopt",
        "malloc_trim",     "malloc_info",    "malloc_stats",   "malloc_usable_size",
        "__libc_malloc",   "__libc_calloc",  "__libc_realloc", "__libc_free",
        "__libc_memalign", "__libc_valloc",  "__libc_pvalloc", "__libc_cfree",
        "__posix_memalign"};
    char *exported = output_of("nm -D --defined-only \"$1\" | awk '{print \".\" $3 \".\"}'");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_expect(eq(sz, count(exported, format(".%s.", names[i])), 1), "%s", names[i]);
    }
}

Test(exports, libc_is_all_that_is_needed) {
    char *needed = output_of("readelf -d \"$1\" | sed -n 's/.*(NEEDED).*\\[\\(.*\\)\\]/\\1/p' |"
                             " grep -v '^ld-linux'");
    cr_assert(eq(str, needed, "libc.so.6\n"));
}

/* A dlclose must not unmap the allocator, nor may its fork handlers come after others'. */
Test(exports, it_stays_loaded_and_comes_first) {
    char *flags = output_of("readelf -d \"$1\" | grep FLAGS_1");
    cr_assert(eq(sz, count(flags, "NODELETE"), 1));
    cr_assert(eq(sz, count(flags, "INITFIRST"), 1));
}

Test(exports, blocks_of_a_deep_bound_library_are_passed_on_to_libc) {
    static const char *const behaviours[] = {"a_deep_bound_library_has_a_malloc_of_its_own",
                                             "blocks_of_a_deep_bound_library_can_be_freed",
                                             "blocks_of_a_deep_bound_library_can_be_resized",
                                             "blocks_of_a_deep_bound_library_survive_an_absurd_"
                                             "request"};
    for (int i = 0; i < 4; i++) {
        struct outcome o = child_run(
            (struct child){.arguments = {behaviours[i], subject_path("lib_handover.so")}});
        expect_success(&o);
    }
}

/* Its thread-local variables need more room than libc keeps for libraries that come late. */
Test(exports, it_can_be_opened_and_closed_by_a_bare_program_with_room) {
    struct outcome o = child_run(
        (struct child){.arguments = {"the_allocator_can_be_opened_and_closed", library_path()},
                       .environment = {"GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384"},
                       .bare = true});
    expect_success(&o);
}

Test(exports, it_can_be_opened_and_closed_by_a_preloaded_program) {
    struct outcome o = child_run(
        (struct child){.arguments = {"the_allocator_can_be_opened_and_closed", library_path()}});
    expect_success(&o);
}
