/*
 * test_trace.c - the timeline of a process, beside its statistics and what it says itself (check_trace.py).
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/preload/child.h"

static char *folder;

static void start(void) {
    folder = new_folder();
}

static void end(void) {
    remove_folder(folder);
}

TestSuite(trace, .init = start, .fini = end);

/* A file in the folder of the test. */
static char *in_folder(const char *name) {
    return format("%s/%s", folder, name);
}

static struct child traced(const char *behaviour) {
    return (struct child){.arguments = {behaviour, in_folder("list"), in_folder("list.child"),
                                        in_folder("list.grandchild")},
                          .environment = {format("BIGMALLOC_TRACE=%s", in_folder("trace")),
                                          "BIGMALLOC_TRACE_EVENTS=on", "BIGMALLOC_STATS=json",
                                          format("BIGMALLOC_STATS_FILE=%s", in_folder("stats")),
                                          "BIGMALLOC_TRACE_MS=1"}};
}

/* What check_trace.py has to say of a file, with some more words for it. */
static struct outcome judge(const char *name, const char *const *words) {
    struct child c = {.program = "python3",
                      .arguments = {"tests/preload/check_trace.py", in_folder(name)},
                      .bare = true};
    for (int i = 0; i < CHILD_WORDS - 2 && words[i] != NULL; i++) {
        c.arguments[2 + i] = words[i];
    }
    struct outcome o = child_run(c);
    expect_success(&o);
    return o;
}

static struct outcome judge_all(const char *name, const char *stats, const char *list) {
    const char *const words[] = {"--stats", in_folder(stats), "--list", in_folder(list), NULL};
    return judge(name, words);
}

static void expect_true_trace(const char *behaviour) {
    struct outcome o = child_run(traced(behaviour));
    expect_success(&o);
    cr_assert(eq(str, o.err, ""));
    o = judge_all("trace", "stats", "list");
    cr_assert(gt(sz, fact(&o, "events"), 100));
    cr_assert(gt(sz, fact(&o, "samples"), 2));
}

Test(trace, has_every_request_and_the_peaks) {
    expect_true_trace("trace_every_request");
}

Test(trace, has_every_request_of_all_threads) {
    expect_true_trace("trace_every_request_of_four_threads");
}

Test(trace, needs_no_descriptor_of_the_program) {
    expect_true_trace("trace_without_descriptors");
}

Test(trace, of_a_process_is_not_that_of_a_child_of_no_handler) {
    expect_true_trace("trace_beside_a_child_of_no_handler");
}

Test(trace, of_a_child_is_a_file_of_its_own) {
    struct outcome o = child_run(traced("trace_a_child_and_its_child"));
    expect_success(&o);
    const char *child = word(&o, "child");
    const char *grandchild = word(&o, "grandchild");
    struct outcome parents = judge_all("trace", "stats", "list");
    struct outcome childs =
        judge_all(format("trace.%s", child), format("stats.%s", child), "list.child");
    struct outcome grandchilds = judge_all(format("trace.%s", grandchild),
                                           format("stats.%s", grandchild), "list.grandchild");
    cr_assert(eq(str, (char *)word(&childs, "pid"), (char *)child));
    cr_assert(eq(str, (char *)word(&grandchilds, "pid"), (char *)grandchild));
    cr_assert(ne(sz, fact(&parents, "pid"), fact(&childs, "pid")));
}

Test(trace, has_the_requests_that_were_refused) {
    struct child c = traced("trace_refused_requests");
    c.address_limit = 64 * GIB;
    struct outcome o = child_run(c);
    expect_success(&o);
    const char *const words[] = {"--stats", in_folder("stats"), NULL};
    o = judge("trace", words);
    cr_assert(eq(sz, fact(&o, "events"), 4));
}

/* Both have the same name for it: the one that was there first keeps it. */
Test(trace, of_a_program_is_not_that_of_a_program_it_starts) {
    struct child c = traced("trace_and_start_another");
    struct outcome o = child_run(c);
    expect_success(&o);
    static const char *const words[] = {NULL};
    struct outcome first = judge("trace", words);
    struct outcome second = judge(format("trace.%s", word(&o, "started")), words);
    cr_assert(eq(sz, fact(&first, "pid"), fact(&o, "self")));
    cr_assert(eq(sz, fact(&second, "pid"), fact(&o, "started")));
    cr_assert(eq(sz, fact(&first, "events"), 4));
    cr_assert(eq(sz, fact(&second, "events"), 2));
}

/* Without events: samples alone do not miss a peak. */
Test(trace, of_samples_has_the_peaks) {
    struct child c = traced("trace_every_request_of_four_threads");
    c.environment[1] = "BIGMALLOC_TRACE_MS=20";
    struct outcome o = child_run(c);
    expect_success(&o);
    const char *const words[] = {"--stats", in_folder("stats"), NULL};
    o = judge("trace", words);
    cr_assert(eq(sz, fact(&o, "events"), 0));
    cr_assert(ge(sz, fact(&o, "samples"), 2));
}

Test(trace, may_have_its_first_and_last_sample_alone) {
    struct child c = traced("trace_every_request");
    c.environment[1] = NULL;
    c.environment[1] = "BIGMALLOC_TRACE_MS=-1";
    c.environment[4] = NULL;
    struct outcome o = child_run(c);
    expect_success(&o);
    const char *const words[] = {"--stats", in_folder("stats"), NULL};
    o = judge("trace", words);
    cr_assert(eq(sz, fact(&o, "samples"), 2));
}

Test(trace, of_a_killed_process_is_whole_up_to_the_last_second) {
    struct child c = traced("trace_until_killed");
    c.arguments[2] = in_folder("trace");
    c.environment[5] =
        "BIGMALLOC_DECAY_MS=-1"; /* the helper has no end, at which it would write, too */
    struct outcome o = child_run(c);
    cr_assert(eq(int, o.status, CHILD_SIGNALLED + SIGKILL), "%s", o.err);
    const char *const words[] = {"--killed", "--list", in_folder("list"), NULL};
    (void)judge("trace", words);
}

Test(trace, tells_the_calls_that_led_to_a_request) {
    struct outcome o = child_run(traced("trace_calls"));
    expect_success(&o);
    const char *const words[] = {"--calls", word(&o, "inner"), word(&o, "another"),
                                 word(&o, "outer"), NULL};
    (void)judge("trace", words);
}

Test(trace, ends_with_the_process_however_that_ends) {
    static const char *const behaviours[] = {"end_by_return",
                                             "end_by_exit",
                                             "end_by_underscore_exit",
                                             "end_by_capital_exit",
                                             "end_by_quick_exit",
                                             "end_by_exit_in_a_thread",
                                             "end_by_the_last_pthread_exit"};
    static const char *const words[] = {NULL};
    for (int i = 0; i < 7; i++) {
        (void)child_run(traced(behaviours[i]));
        (void)judge("trace", words);
    }
}

Test(trace, ends_while_threads_are_busy) {
    static const char *const words[] = {NULL};
    for (int i = 0; i < 5; i++) {
        struct outcome o = child_run(traced("end_while_threads_are_busy"));
        cr_assert(eq(int, o.status, 7), "%s", o.err);
        (void)judge("trace", words);
    }
}

Test(trace, keeps_the_newest_part_where_there_is_little_room) {
    struct child c = traced("trace_many_requests");
    c.environment[5] = "BIGMALLOC_TRACE_MAX=2m";
    struct outcome o = child_run(c);
    expect_success(&o);
    static const char *const words[] = {NULL};
    o = judge("trace", words);
    struct stat found;
    cr_assert(eq(int, stat(in_folder("trace"), &found), 0));
    cr_expect(le(sz, (size_t)found.st_size, 2 * MIB));
    cr_expect(eq(sz, fact(&o, "chunks"), 31));
    cr_expect(gt(sz, fact(&o, "first"), 1));
}

Test(trace, of_a_program_without_large_requests_is_none) {
    struct child c = traced("use_sizes");
    c.arguments[1] = "100";
    c.arguments[2] = NULL;
    c.arguments[3] = NULL;
    struct outcome o = child_run(c);
    expect_success(&o);
    cr_assert(eq(int, access(in_folder("trace"), F_OK), -1));
}

/* ---- where there can be none ---- */

static void expect_complaint(const struct outcome *o, const char *path, const char *why) {
    expect_success(o);
    cr_assert(
        eq(str, o->err, format("bigmalloc: BIGMALLOC_TRACE: cannot write %s: %s\n", path, why)));
}

Test(trace, that_cannot_be_written_is_said_once_and_the_program_goes_on) {
    struct child c = traced("trace_every_request");
    c.environment[0] = "BIGMALLOC_TRACE=/proc/no/such/folder";
    struct outcome o = child_run(c);
    expect_complaint(&o, "/proc/no/such/folder", "No such file or directory");
}

Test(trace, that_a_sandbox_forbids_is_said_once_and_the_program_goes_on) {
    struct outcome o =
        child_run((struct child){.arguments = {"where_system_calls_are_refused", "files", "EPERM",
                                               "use_sizes", "8192", "8192", "3072"},
                                 .environment = {"BIGMALLOC_TRACE=/tmp/sandbox-%p.trace"}});
    expect_success(&o);
    cr_assert(eq(sz, lines(o.err), 1), "%s", o.err);
    cr_assert(eq(sz, count(o.err, "bigmalloc: BIGMALLOC_TRACE: cannot write "), 1), "%s", o.err);
}

Test(trace, does_not_replace_what_is_no_file) {
    struct child c = traced("trace_every_request");
    c.environment[0] = "BIGMALLOC_TRACE=/dev/null";
    struct outcome o = child_run(c);
    expect_complaint(&o, "/dev/null", "File exists");
    struct stat found;
    cr_assert(eq(int, stat("/dev/null", &found), 0));
    cr_assert(ne(int, S_ISCHR(found.st_mode), 0));
}

/* On a file system of 256 KiB, of this child's alone: $0 is where. */
static const char ON_A_SMALL_DISK[] = "mount -t tmpfs -o size=256k small \"$0\" || exit 99\n"
                                      "LD_PRELOAD=$1 \"$2\" trace_many_requests 2>\"$3/said\"\n"
                                      "status=$?; cp \"$0/trace\" \"$3/kept\"; exit $status\n";

Test(trace, goes_on_without_a_disk_that_is_full) {
    char *disk = in_folder("disk");
    cr_assert(eq(int, mkdir(disk, 0777), 0));
    struct outcome o = child_run(
        (struct child){.program = "unshare",
                       .arguments = {"-m", "sh", "-c", ON_A_SMALL_DISK, disk, library_path(),
                                     subject_path("subject"), folder},
                       .environment = {format("BIGMALLOC_TRACE=%s/trace", disk),
                                       "BIGMALLOC_TRACE_EVENTS=on", "BIGMALLOC_STATS=off"},
                       .bare = true});
    if (o.status == 99 || strstr(o.err, "unshare failed") != NULL) {
        cr_skip_test("no file system can be mounted here");
    }
    expect_success(&o);
    cr_expect(eq(str, file_text(in_folder("said")),
                 format("bigmalloc: BIGMALLOC_TRACE: cannot write %s/trace: "
                        "No space left on device\n",
                        disk)));
    static const char *const words[] = {"--lossy", NULL};
    o = judge("kept", words);
    cr_expect(ge(sz, fact(&o, "chunks"), 2));
}
