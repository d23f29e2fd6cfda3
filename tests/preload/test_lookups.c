/*
 * test_lookups.c - who answers when programs look for the CUDA driver's functions: on the stand-in
 * driver, beside another interposer, and with NVIDIA's own runtime where a toolkit is installed.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/preload/child.h"

#define OURS "libbigmalloc.so"
#define DRIVER "libcuda.so.1"

/* Where the loader finds the stand-in driver; "." has that of the newest version. */
static char *driver_folder(const char *version) {
    return format("LD_LIBRARY_PATH=%s", subject_path(format("../fake/%s", version)));
}

static struct outcome with_driver(const char *behaviour, const char *argument) {
    struct outcome o = child_run(
        (struct child){.arguments = {behaviour, argument}, .environment = {driver_folder(".")}});
    expect_success(&o);
    return o;
}

static void expect_word(const struct outcome *o, const char *name, const char *value) {
    cr_expect(eq(str, (char *)word(o, name), (char *)value), "%s", name);
}

static void expect_line(const char *text, const char *line) {
    cr_expect(count(text, format("%s\n", line)) > 0, "no line \"%s\" in:\n%s", line, text);
}

/* ---- without a driver ---- */

Test(lookups, that_fail_say_what_they_say_without_us) {
    struct child c = {.arguments = {"tell_errors_of_lookups"}};
    struct outcome ours = child_run(c);
    c.bare = true;
    struct outcome bare = child_run(c);
    expect_success(&ours);
    cr_assert(eq(str, ours.out, bare.out));
}

Test(lookups, of_a_replaceable_function_do_not_find_itself) {
    struct outcome o = child_run((struct child){
        .arguments = {"a_replaceable_function_does_not_find_itself", subject_path("lib_tool.so")}});
    expect_success(&o);
}

Test(lookups, weak_references_to_ours_answer_as_the_stub_library_does) {
    struct outcome o =
        child_run((struct child){.arguments = {"tell_weak_references_without_a_driver",
                                               subject_path("lib_driver_user.so")}});
    expect_success(&o);
    expect_word(&o, "init", "-");
    expect_word(&o, "alloc", "34");
}

/* ---- with one ---- */

Test(lookups, of_the_drivers_functions_give_ours) {
    struct outcome o = with_driver("tell_lookups_with_a_driver", NULL);
    expect_word(&o, "handle", OURS);
    expect_word(&o, "again", OURS);
    expect_word(&o, "not_hooked", DRIVER);
    expect_word(&o, "default", OURS);
    expect_word(&o, "next", OURS);
    expect_word(&o, "whole", OURS);
    expect_word(&o, "since_12", OURS);
    expect_word(&o, "since_12_in_whole", OURS);
}

Test(lookups, of_what_an_older_driver_lacks_give_nothing) {
    struct outcome o = child_run((struct child){.arguments = {"tell_lookups_with_a_driver"},
                                                .environment = {driver_folder("11050")}});
    expect_success(&o);
    expect_word(&o, "default", OURS);
    expect_word(&o, "since_12", "-");
    expect_word(&o, "since_12_in_whole", "-");
}

Test(lookups, give_the_drivers_own_when_we_are_off) {
    struct outcome o =
        child_run((struct child){.arguments = {"tell_lookups_with_a_driver"},
                                 .environment = {driver_folder("."), "BIGMALLOC=off"}});
    expect_success(&o);
    expect_word(&o, "handle", DRIVER);
}

Test(lookups, what_is_linked_against_the_driver_binds_to_ours) {
    struct outcome o =
        with_driver("tell_what_the_loader_binds", subject_path("lib_driver_user.so"));
    expect_word(&o, "init", DRIVER);
    expect_word(&o, "alloc", OURS);
    expect_word(&o, "result", "3");
}

Test(lookups, of_eight_threads_at_once_find_the_same) {
    struct outcome o = with_driver("eight_threads_find_the_driver_at_once", NULL);
    expect_word(&o, "all", OURS);
}

Test(lookups, calls_reach_the_driver) {
    struct outcome o = with_driver("allocate_by_name", NULL);
    expect_word(&o, "alloc", OURS);
    expect_word(&o, "free", OURS);
}

Test(lookups, of_python_give_ours) {
    struct outcome o = child_run((struct child){
        .program = "python3",
        .arguments = {"-c", "import ctypes\n"
                            "driver = ctypes.CDLL('libcuda.so.1')\n"
                            "cast = lambda f: ctypes.cast(f, ctypes.c_void_p).value\n"
                            "whole = ctypes.CDLL(None)\n"
                            "assert cast(driver.cuMemAlloc_v2) =="
                            " cast(whole.cuMemAlloc_v2)\n"
                            "assert cast(driver.cuMemAlloc_v2) !="
                            " cast(driver.cuMemAlloc)\n"
                            "assert not hasattr(driver, 'cuMemAlloc_v3')\n"},
        .environment = {driver_folder(".")}});
    expect_success(&o);
}

/* ---- cuGetProcAddress ---- */

Test(lookups, by_get_proc_address_give_ours_in_both_forms) {
    struct outcome o = with_driver("tell_both_forms_of_get_proc", NULL);
    static const char *const names[] = {"four",           "four_by_itself", "alloc_by_four", "five",
                                        "five_by_itself", "alloc_async",    "twin"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        expect_word(&o, names[i], OURS);
    }
}

/* CUDA 11.5, which has the first form alone. */
Test(lookups, by_the_older_form_give_ours) {
    struct outcome o = child_run((struct child){.arguments = {"tell_both_forms_of_get_proc"},
                                                .environment = {driver_folder("11050")}});
    expect_success(&o);
    expect_word(&o, "four_by_itself", OURS);
    expect_word(&o, "alloc_by_four", OURS);
    cr_assert(eq(sz, count(o.out, "five"), 0));
}

/* ---- beside another interposer ---- */

enum order {
    LISTENER_FIRST,
    LISTENER_LAST
};

static char *preload_both(enum order order) {
    const char *listener = subject_path("lib_listener.so");
    return order == LISTENER_FIRST ? format("LD_PRELOAD=%s:%s", listener, library_path())
                                   : format("LD_PRELOAD=%s:%s", library_path(), listener);
}

static struct outcome listen(enum order order, const char *behaviour, const char *argument) {
    struct outcome o =
        child_run((struct child){.arguments = {behaviour, argument},
                                 .environment = {driver_folder("."), preload_both(order)}});
    expect_success(&o);
    return o;
}

Test(lookups, through_an_interposer_before_us_lead_to_us) {
    struct outcome o = listen(LISTENER_FIRST, "allocate_by_name", NULL);
    expect_word(&o, "alloc", "lib_listener.so");
    expect_word(&o, "free", OURS);
    expect_line(o.err, "alloc calls " OURS);
}

Test(lookups, of_ours_lead_to_an_interposer_behind_us) {
    struct outcome o = listen(LISTENER_LAST, "allocate_by_name", NULL);
    expect_word(&o, "alloc", OURS);
    expect_word(&o, "free", OURS);
    expect_line(o.err, "alloc calls " DRIVER);
}

/* It asks libc's dlsym; then only what the loader binds reaches us. */
Test(lookups, by_an_interposer_that_passes_over_us_harm_nobody) {
    for (enum order order = LISTENER_FIRST; order <= LISTENER_LAST; order++) {
        struct outcome o = child_run((struct child){
            .arguments = {"allocate_by_name"},
            .environment = {driver_folder("."), preload_both(order), "LISTENER_PASSES_OVER=1"}});
        expect_success(&o);
        expect_line(o.err, "alloc calls " DRIVER);
    }
}

Test(lookups, of_libc_by_an_interposer_before_us_do_not_lead_in_circles) {
    static const char *const behaviours[] = {"saving_and_restoring_changes_nothing",
                                             "programs_can_be_started", "free_leaves_errno"};
    for (int i = 0; i < 3; i++) {
        struct outcome o = child_run((struct child){.arguments = {behaviours[i]},
                                                    .environment = {preload_both(LISTENER_FIRST)}});
        expect_success(&o);
    }
}

/* ---- runtimes: what each function they ask for lies in ---- */

/* Base name, version and flags, as the runtime of CUDA 13 asks for them. */
static const char *const by_version[] = {"cuGetProcAddress 11030 0",
                                         "cuGetProcAddress 12000 0",
                                         "cuMemAlloc 3020 0",
                                         "cuMemFree 3020 0",
                                         "cuMemAllocPitch 3020 0",
                                         "cuMemHostAlloc 2020 0",
                                         "cuMemFreeHost 2000 0",
                                         "cuMemGetInfo 3020 0",
                                         "cuMemAllocAsync 11020 0",
                                         "cuMemAllocAsync 11020 2",
                                         "cuMemFreeAsync 11020 0",
                                         "cuMemFreeAsync 11020 2",
                                         NULL};
static const char *const by_version_too[] = {
    "cuMemAllocManaged 6000 0",        "cuMemAllocFromPoolAsync 11020 0",
    "cuMemAllocFromPoolAsync 11020 2", "cuArray3DCreate 3020 0",
    "cuMipmappedArrayCreate 5000 0",   "cuPointerGetAttributes 7000 0",
    "cuIpcGetMemHandle 4010 0",        "cuMemGetAddressRange 3020 0",
    "cuDevicePrimaryCtxReset 7000 0",  "cuDevicePrimaryCtxRelease 7000 0",
    "cuCtxEnablePeerAccess 4000 0",    "cuMemHostRegister 6050 0",
    "cuMemHostUnregister 4000 0",      "cuStreamBeginCapture 10010 0",
    "cuStreamBeginCapture 10010 2",    "cuStreamEndCapture 10000 0",
    "cuStreamEndCapture 10000 2",      NULL};
static const char *const by_name[] = {"cuMemAlloc_v2",
                                      "cuMemFree_v2",
                                      "cuMemAllocPitch_v2",
                                      "cuMemHostAlloc",
                                      "cuMemFreeHost",
                                      "cuMemGetInfo_v2",
                                      "cuMemAllocAsync",
                                      "cuMemAllocAsync_ptsz",
                                      "cuMemFreeAsync",
                                      "cuMemFreeAsync_ptsz",
                                      NULL};

static void expect_ours(const struct outcome *o, const char *way, const char *const *what) {
    for (; *what != NULL; what++) {
        expect_line(o->err, format("%s %s " OURS, way, *what));
    }
}

/* Every function that is known by this base name. */
static bool is_hooked(const char *base) {
    static const char *const bases[] = {
#define DRIVER_PASS(symbol, base, introduced, streams, kind, parameters, arguments) #base,
#include "cuda_hooks/driver.def"
    };
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        if (strcmp(bases[i], base) == 0) {
            return true;
        }
    }
    return false;
}

/* Whatever else it asks for, and in whichever version. */
static void expect_hooked_are_ours(const struct outcome *o) {
    for (const char *line = strstr(o->err, "get_proc "); line != NULL;
         line = strstr(line + 1, "get_proc ")) {
        char base[64];
        char object[64];
        cr_assert(eq(int, sscanf(line, "get_proc %63s %*d %*d %63s", base, object), 2));
        cr_expect(strcmp(object, OURS) == 0 || !is_hooked(base), "%s: %s", base, object);
    }
}

Test(lookups, of_a_runtime_give_ours) {
    struct outcome o = listen(LISTENER_FIRST, "allocate_by_the_runtime",
                              subject_path("../fake/libcudart_fake.so"));
    expect_ours(&o, "get_proc", by_version);
}

Test(lookups, of_a_runtime_by_names_give_ours) {
    struct outcome o = child_run((struct child){
        .arguments = {"allocate_by_the_runtime", subject_path("../fake/libcudart_fake.so")},
        .environment = {driver_folder("."), preload_both(LISTENER_FIRST),
                        "FAKE_CUDA_GETPROC_STUB=1"}});
    expect_success(&o);
    expect_ours(&o, "dlsym", by_name);
    expect_line(o.err, "alloc calls " OURS);
}

/* NVIDIA's own, which the toolkit has and make links where there is one. */
static struct outcome run_nvidia(const char *program, const char *setting) {
    const char *path = format("%s/%s", subject_path("../fake"), program);
    if (access(path, X_OK) != 0) {
        cr_skip("%s: no CUDA toolkit", program);
    }
    struct outcome o = child_run(
        (struct child){.program = path,
                       .environment = {driver_folder("."), preload_both(LISTENER_FIRST), setting}});
    expect_success(&o);
    return o;
}

static void expect_all_ours(const char *program) {
    struct outcome o = run_nvidia(program, NULL);
    cr_assert(count(o.err, "get_proc ") > 100, "%s", o.err);
    expect_ours(&o, "get_proc", by_version);
    expect_ours(&o, "get_proc", by_version_too);
    expect_hooked_are_ours(&o);
    o = run_nvidia(program, "FAKE_CUDA_GETPROC_STUB=1");
    cr_assert(eq(sz, count(o.err, "get_proc "), 0));
    expect_ours(&o, "dlsym", by_name);
}

Test(lookups, of_the_dynamic_runtime_give_ours) {
    expect_all_ours("subject_runtime.so");
}

Test(lookups, of_the_static_runtime_give_ours) {
    expect_all_ours("subject_runtime_static.a");
}
