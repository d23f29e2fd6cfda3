/*
 * test_options.c - what the user may choose, and what is said about what he may not.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/preload/child.h"

/* One request for so many KiB; all that the library says. */
static char *said(const char *kib, const char *option) {
    struct outcome o =
        child_run((struct child){.arguments = {"use_sizes", kib}, .environment = {option}});
    expect_success(&o);
    return o.err;
}

struct bad_value {
    const char *option;
    const char *default_text;
};

Test(options, a_bad_value_is_named_with_what_is_used_instead) {
    static const struct bad_value bad[] = {
        {"BIGMALLOC=maybe", "on"},
        {"BIGMALLOC_THRESHOLD=banana", "1m"},
        {"BIGMALLOC_THRESHOLD=", "1m"},
        {"BIGMALLOC_THRESHOLD=-1m", "1m"},
        {"BIGMALLOC_THRESHOLD=1x", "1m"},
        {"BIGMALLOC_THRESHOLD=1k", "1m"},
        {"BIGMALLOC_THRESHOLD=99999999999999999999", "1m"},
        {"BIGMALLOC_CACHE_MAX=101%", "80%"},
        {"BIGMALLOC_CACHE_MAX=half", "80%"},
        {"BIGMALLOC_THP=never", "auto"},
        {"BIGMALLOC_STATS=yes", "auto"},
        {"BIGMALLOC_STATS_FILE=/tmp/%z", "-"},
        {"BIGMALLOC_STATS_FILE=", "-"},
        {"BIGMALLOC_STATS_SIGNAL=KILL", "USR1"},
        {"BIGMALLOC_STATS_SIGNAL=RTMIN+99", "USR1"},
        {"BIGMALLOC_ON_ERROR=explode", "abort"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect(eq(str, said("2048", bad[i].option),
                     format("bigmalloc: %s: not a value of this option, using %s\n", bad[i].option,
                            bad[i].default_text)));
    }
}

Test(options, an_unknown_name_is_named) {
    cr_assert(eq(str, said("2048", "BIGMALLOC_TRESHOLD=2m"),
                 "bigmalloc: BIGMALLOC_TRESHOLD=2m: no such option, ignored\n"));
}

Test(options, what_is_wrong_is_said_in_a_line_each) {
    struct outcome o = child_run((struct child){
        .arguments = {"use_sizes", "2048", "2048", "8192"},
        .environment = {"BIGMALLOC_COLOUR=red", "BIGMALLOC_THP=never", "BIGMALLOC_SIZE=8"}});
    expect_success(&o);
    cr_assert(eq(sz, lines(o.err), 3));
    cr_assert(
        eq(sz, count(o.err, "bigmalloc: BIGMALLOC_COLOUR=red: no such option, ignored\n"), 1));
    cr_assert(eq(sz, count(o.err, "bigmalloc: BIGMALLOC_SIZE=8: no such option, ignored\n"), 1));
    cr_assert(eq(sz,
                 count(o.err, "bigmalloc: BIGMALLOC_THP=never: not a value of this option, "
                              "using auto\n"),
                 1));
}

Test(options, what_is_wrong_is_not_said_by_a_program_of_small_requests) {
    cr_assert(eq(str, said("100", "BIGMALLOC_THRESHOLD=banana"), ""));
    cr_assert(eq(str, said("100", "BIGMALLOC_TRESHOLD=2m"), ""));
}

Test(options, what_is_wrong_is_not_said_again_by_a_forked_child) {
    struct outcome o = child_run((struct child){.arguments = {"a_forked_child_ends_by_exit"},
                                                .environment = {"BIGMALLOC_THP=never"}});
    expect_success(&o);
    cr_assert(eq(sz, lines(o.err), 1));
}

Test(options, a_value_of_any_length_is_survived) {
    char text[5000] = "BIGMALLOC_THRESHOLD=";
    memset(text + strlen(text), '9', sizeof text - strlen(text) - 1);
    struct outcome o = child_run((struct child){.arguments = {"use_sizes", "2048"},
                                                .environment = {text, "BIGMALLOC_THP=never"}});
    expect_success(&o);
    memcpy(text, "BIGMALLOC_STATS_FILE=/", 22);
    o = child_run((struct child){.arguments = {"use_sizes", "2048"}, .environment = {text}});
    expect_success(&o);
}

Test(options, names_that_only_look_like_ours_are_left_alone) {
    cr_assert(eq(str, said("2048", "BIGMALLOCATOR=2"), ""));
    cr_assert(eq(str, said("2048", "XBIGMALLOC_THP=2"), ""));
}

/* ---- each option does something ---- */

static size_t requests_with(const char *kib, const char *option) {
    struct outcome o = child_run((struct child){.arguments = {"use_sizes", kib},
                                                .environment = {option, "BIGMALLOC_STATS=json"}});
    expect_success(&o);
    return *o.err == '\0' ? 0 : figure(&o, "totals.requests");
}

Test(options, off_leaves_everything_to_jemalloc) {
    cr_assert(eq(sz, requests_with("8192", "BIGMALLOC=on"), 1));
    cr_assert(eq(sz, requests_with("8192", "BIGMALLOC=off"), 0));
}

Test(options, the_threshold_is_1_mib) {
    cr_assert(eq(sz, requests_with("1023", "BIGMALLOC=on"), 0));
    cr_assert(eq(sz, requests_with("1024", "BIGMALLOC=on"), 1));
}

Test(options, the_threshold_may_be_lower_or_higher) {
    cr_assert(eq(sz, requests_with("63", "BIGMALLOC_THRESHOLD=64k"), 0));
    cr_assert(eq(sz, requests_with("64", "BIGMALLOC_THRESHOLD=64k"), 1));
    cr_assert(eq(sz, requests_with("8191", "BIGMALLOC_THRESHOLD=8m"), 0));
    cr_assert(eq(sz, requests_with("8192", "BIGMALLOC_THRESHOLD=8m"), 1));
    cr_assert(eq(sz, requests_with("8192", "BIGMALLOC_THRESHOLD=1t"), 0));
}

Test(options, sizes_are_binary_and_units_of_either_case) {
    static const char *const same[] = {"2097152", "2048k", "2048K", "2m", "2M", "2mib", "2MiB"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char *option = format("BIGMALLOC_THRESHOLD=%s", same[i]);
        cr_expect(eq(sz, requests_with("2047", option), 0), "%s", option);
        cr_expect(eq(sz, requests_with("2048", option), 1), "%s", option);
    }
}

/* MALLOC_CONF is jemalloc's own; its statistics at exit go to stderr. */
Test(options, jemalloc_has_its_own) {
    cr_assert(gt(sz, count(said("100", "MALLOC_CONF=stats_print:true"), "jemalloc"), 1));
}

/* ---- programs with more rights than their callers ---- */

enum {
    NOBODY = 65534
};

/* Only an absolute path leads such a program to its libraries. */
static const char MAKE_PRIVILEGED[] =
    "cp \"$1\" \"$2/libbigmalloc.so.1\" && "
    "cc -fno-builtin -o \"$2/program\" tests/preload/privileged.c \"$2/libbigmalloc.so.1\" "
    "-Wl,-rpath,\"$2\" && chmod 4755 \"$2/program\"";

Test(options, are_ignored_by_a_privileged_program) {
    if (geteuid() != 0) {
        cr_skip_test("only root can make a program privileged");
    }
    char *folder = new_folder();
    struct outcome made =
        child_run((struct child){.program = "sh",
                                 .arguments = {"-c", MAKE_PRIVILEGED, "sh", library_path(), folder},
                                 .bare = true});
    struct child c = {.program = format("%s/program", folder),
                      .environment = {"BIGMALLOC_STATS=always", "BIGMALLOC_TRESHOLD=2m",
                                      "XDG_RUNTIME_DIR=", format("BIGMALLOC_TRACE=%s/t", folder),
                                      format("BIGMALLOC_PROFILE=%s/p", folder)},
                      .bare = true};
    c.user = NOBODY;
    struct outcome as_nobody = child_run(c);
    bool left_none =
        file_text(format("%s/t", folder)) == NULL && file_text(format("%s/p", folder)) == NULL;
    c.user = 0;
    struct outcome as_root = child_run(c);
    bool left_both =
        file_text(format("%s/t", folder)) != NULL && file_text(format("%s/p", folder)) != NULL;
    remove_folder(folder);
    expect_success(&made);
    expect_success(&as_root);
    expect_success(&as_nobody);
    if (fact(&as_nobody, "secure") == 0) {
        cr_skip_test("the folder for temporary files is mounted nosuid");
    }
    cr_assert(gt(sz, lines(as_root.err), 2), "not privileged: %s", as_root.err);
    cr_assert(eq(sz, count(as_nobody.err, "BIGMALLOC_TRESHOLD"), 0), "%s", as_nobody.err);
    cr_assert(eq(sz, lines(as_nobody.err), 2), "as of itself: %s", as_nobody.err);
    cr_assert(eq(sz, fact(&as_root, "live_files"), 1));
    cr_assert(eq(sz, fact(&as_nobody, "live_files"), 0));
    cr_assert(left_both && left_none, "a timeline and a profile");
}
