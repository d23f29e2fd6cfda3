/*
 * test_stats.c - who speaks at its end, where to, and whether it is true: figures are compared with
 * requests that the test itself lists.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/preload/child.h"

/* ---- who speaks ---- */

static char *said(const char *kib, const char *option) {
    struct outcome o =
        child_run((struct child){.arguments = {"use_sizes", kib}, .environment = {option}});
    expect_success(&o);
    return o.err;
}

Test(stats, are_silent_below_64_mib) {
    cr_assert(eq(str, said("65535", NULL), ""));
    cr_assert(eq(str, said("65535", "BIGMALLOC_STATS=auto"), ""));
}

Test(stats, take_five_lines_at_most_from_64_mib) {
    char *text = said("65536", NULL);
    cr_assert(le(sz, lines(text), 5));
    cr_assert(eq(sz, count(text, "1 large requests for 64 MiB"), 1), "%s", text);
}

Test(stats, count_what_was_served_in_all_for_auto) {
    struct outcome o =
        child_run((struct child){.arguments = {"use_sizes", "16384", "16384", "16384", "16384"}});
    cr_assert(eq(sz, count(o.err, "4 large requests for 64 MiB, 75.0 %"), 1), "%s", o.err);
}

Test(stats, may_be_off) {
    cr_assert(eq(str, said("100000", "BIGMALLOC_STATS=off"), ""));
}

Test(stats, as_text_come_from_a_program_with_one_large_request) {
    cr_assert(eq(str, said("1023", "BIGMALLOC_STATS=text"), ""));
    char *text = said("1024", "BIGMALLOC_STATS=text");
    cr_assert(gt(sz, lines(text), 10));
    cr_assert(le(sz, lines(text), 24), "one screen");
    cr_assert(eq(sz, count(text, "1 large requests for 1 MiB"), 1), "%s", text);
}

Test(stats, come_as_the_preset_says_and_as_the_user_says_before_all) {
    cr_assert(eq(str, said("65536", "BIGMALLOC_PRESET=inference"), ""));
    cr_assert(le(sz, lines(said("65536", "BIGMALLOC_PRESET=training")), 5));
    cr_assert(gt(sz, lines(said("1024", "BIGMALLOC_PRESET=batch")), 10));
    struct outcome o = child_run(
        (struct child){.arguments = {"use_sizes", "1024"},
                       .environment = {"BIGMALLOC_PRESET=inference", "BIGMALLOC_STATS=text"}});
    cr_assert(gt(sz, lines(o.err), 10));
}

Test(stats, as_json_come_from_a_program_with_one_large_request) {
    cr_assert(eq(str, said("1023", "BIGMALLOC_STATS=json"), ""));
    cr_assert(eq(
        sz, count(said("1024", "BIGMALLOC_STATS=json"), "{\"schema\": \"bigmalloc-stats/1\""), 1));
}

Test(stats, as_prom_come_from_a_program_with_one_large_request) {
    cr_assert(eq(str, said("1023", "BIGMALLOC_STATS=prom"), ""));
    char *text = said("1024", "BIGMALLOC_STATS=prom");
    cr_assert(eq(sz, count(text, "\nbigmalloc_requests_total{kind=\"host\",node=\"0\"} 1\n"), 1),
              "%s", text);
}

Test(stats, always_come_from_a_program_without_one_which_says_so) {
    char *text = said("100", "BIGMALLOC_STATS=always");
    cr_assert(eq(sz, count(text, "bigmalloc: subject (pid "), 1), "%s", text);
    cr_assert(eq(sz, count(text, "no large requests"), 1), "%s", text);
    cr_assert(eq(sz, count(said("1024", "BIGMALLOC_STATS=always"), "1 large requests"), 1));
}

/* One screen is one screen for a program of many sizes too. */
Test(stats, as_text_fit_on_a_screen_for_a_program_of_many_sizes) {
    struct outcome o = child_run((struct child){.program = subject_path("subject_cxx"),
                                                .environment = {"BIGMALLOC_STATS=text"}});
    cr_assert(eq(sz, count(o.err, "bigmalloc: subject_cxx (pid "), 1), "%s", o.err);
    cr_assert(le(sz, lines(o.err), 24), "%s", o.err);
}

/* ---- figures ---- */

static struct outcome json_of(struct child c) {
    c.environment[0] = "BIGMALLOC_STATS=json";
    struct outcome o = child_run(c);
    expect_success(&o);
    return o;
}

/*
  * Each block is freed before the next request. 8, 10 and 1 MiB are sizes of classes. The block of 10 MiB
 * gets the pages of that of 8, which is empty then; 8 MiB + 1 KiB takes the class of 9 MiB, and finds
 * that of 10 MiB, one class up; so does 8 MiB in the end, two classes up.
 */
Test(stats, agree_with_the_requests) {
    struct outcome o = json_of((struct child){
        .arguments = {"use_sizes", "8192", "8192", "10240", "8193", "1024", "8192"}});
    cr_assert(eq(sz, figure(&o, "totals.requests"), 6));
    cr_assert(eq(sz, figure(&o, "totals.misses"), 3));
    cr_assert(eq(sz, figure(&o, "totals.hits"), 3));
    cr_assert(eq(sz, figure(&o, "totals.failures"), 0));
    cr_assert(eq(sz, figure(&o, "totals.oom_retries"), 0));
    cr_assert(eq(sz, figure(&o, "requested_bytes.allocated"), 44033 * KIB));
    cr_assert(eq(sz, figure(&o, "requested_bytes.freed"), 44033 * KIB));
    cr_assert(eq(sz, figure(&o, "requested_bytes.current"), 0));
    cr_assert(eq(sz, figure(&o, "requested_bytes.peak"), 10240 * KIB));
    cr_assert(eq(sz, figure(&o, "allocated_bytes.allocated"), (2 * 8 + 3 * 10 + 1) * MIB));
    cr_assert(eq(sz, figure(&o, "allocated_bytes.current"), 0));
    cr_assert(eq(sz, figure(&o, "allocated_bytes.peak"), 10 * MIB));
    cr_assert(eq(sz, figure(&o, "reserved_bytes.current"), (10 + 1) * MIB));
    cr_assert(eq(sz, figure(&o, "reserved_bytes.peak"), (10 + 1) * MIB));
    cr_assert(eq(sz, figure(&o, "recycled_blocks"), 1));
    cr_assert(eq(sz, figure(&o, "recycled_bytes"), 8 * MIB));
    cr_assert(eq(sz, figure(&o, "reserved_bytes.freed"), 0));
}

Test(stats, give_ratios) {
    struct outcome o = json_of((struct child){
        .arguments = {"use_sizes", "8192", "8192", "10240", "8193", "1024", "8192"}});
    cr_assert(eq(sz, count(o.err, "\"hit_ratio\": 0.5000,"), 1), "%s", o.err);
    /* (8192 + 8193 + 8192) / 44033 */
    cr_assert(eq(sz, count(o.err, "\"reuse_ratio\": 0.5581,"), 1), "%s", o.err);
    /* 44033 / 48128 */
    cr_assert(eq(sz, count(o.err, "\"allocation_efficiency\": 0.9149,"), 1), "%s", o.err);
}

Test(stats, tell_each_class_in_use) {
    struct outcome o = json_of((struct child){
        .arguments = {"use_sizes", "8192", "8192", "10240", "8193", "1024", "8192"}});
    static const char *const classes[] = {
        "{\"size\": 1048576, \"hits\": 0, \"misses\": 1, \"idle\": 1, \"live\": 0}",
        "{\"size\": 8388608, \"hits\": 2, \"misses\": 1, \"idle\": 0, \"live\": 0}",
        "{\"size\": 9437184, \"hits\": 1, \"misses\": 0, \"idle\": 0, \"live\": 0}",
        "{\"size\": 10485760, \"hits\": 0, \"misses\": 1, \"idle\": 1, \"live\": 0}"};
    for (int i = 0; i < 4; i++) {
        cr_expect(eq(sz, count(o.err, classes[i]), 1), "%s in:\n%s", classes[i], o.err);
    }
    cr_assert(eq(sz, count(o.err, "\"size\": "), 4));
}

/* Resident memory as the kernel has it is the witness of what is reserved. */
Test(stats, agree_with_the_kernel) {
    struct outcome o = json_of((struct child){.arguments = {"free_four_hundred_mib"}});
    cr_assert(eq(sz, figure(&o, "reserved_bytes.peak"), 400 * MIB));
    cr_assert(gt(sz, o.peak_bytes, 400 * MIB));
    cr_assert(lt(sz, o.peak_bytes, 416 * MIB));
}

/* To the page, of live and of idle blocks. */
Test(stats, of_held_memory_are_within_a_percent_of_what_is_resident) {
    struct child c = {.arguments = {"tell_what_is_resident"}};
    c.environment[1] = "BIGMALLOC_HELPER=off";
    struct outcome o = json_of(c);
    size_t held = figure(&o, "reserved_bytes.current");
    size_t resident = fact(&o, "resident");
    cr_assert(gt(sz, held, figure(&o, "allocated_bytes.current")), "some is idle");
    cr_assert(ge(sz, resident * 100, held * 99), "%zu held, %zu resident", held, resident);
    cr_assert(le(sz, resident * 100, held * 101), "%zu held, %zu resident", held, resident);
}

/* Requests of all kinds, of several threads, from somewhere deep in a real program. */
static const char MANY_REQUESTS[] =
    "import array, threading\n"
    "kept = []\n"
    "def work(n):\n"
    "    text = bytearray()\n"
    "    for i in range(40): text += bytes((n + i) * 30000)\n"
    "    kept.append(text)\n"
    "    for i in range(200): bytes(i * 20011); b'x' * (i << 14)\n"
    "    numbers = array.array('q', range(200000)); numbers.extend(numbers); del numbers[50000:]\n"
    "    kept.append(sorted(range(300000), reverse=True)[::3])\n"
    "threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
    "[t.start() for t in threads]; [t.join() for t in threads]\n"
    "import os, signal; os.kill(os.getpid(), signal.SIGUSR1)\n";

Test(stats, are_those_of_somebody_who_counts_before_us) {
    char *folder = new_folder();
    char *counted = format("%s/counted", folder);
    struct outcome o = child_run((struct child){
        .program = "python3",
        .arguments = {"-c", MANY_REQUESTS},
        .environment = {format("LD_PRELOAD=%s:%s", subject_path("lib_counter.so"), library_path()),
                        format("COUNTER=%s", counted), "BIGMALLOC_STATS=json",
                        format("BIGMALLOC_STATS_FILE=%s/%%n", folder)},
        .bare = true});
    expect_success(&o);
    struct outcome counter = {.out = file_text(counted)};
    char *at_exit = file_text(format("%s/1", folder));
    remove_folder(folder);
    cr_assert(counter.out != NULL && at_exit != NULL);
    size_t others =
        number_at(at_exit, "pools.grown_bytes") + number_at(at_exit, "pools.inherited_bytes");
    cr_assert(gt(sz, fact(&counter, "requests"), 1000));
    cr_assert(gt(sz, number_at(at_exit, "pools.grown_bytes"), 0));
    cr_expect(eq(sz, number_at(at_exit, "totals.requests"), fact(&counter, "requests")));
    cr_expect(
        eq(sz, number_at(at_exit, "requested_bytes.allocated") - others, fact(&counter, "asked")));
    cr_expect(eq(sz, number_at(at_exit, "requested_bytes.current"), fact(&counter, "live")));
}

/* Every name and equation, by somebody who parses JSON for a living. */
Test(stats, are_json_as_the_schema_has_it) {
    static const char *const behaviours[] = {"realloc_keeps_contents_in_any_order",
                                             "blocks_are_freed_by_other_threads",
                                             "free_four_hundred_mib", "end_by_return"};
    for (int i = 0; i < 4; i++) {
        struct outcome o = json_of((struct child){.arguments = {behaviours[i]}});
        o = child_run((struct child){.program = "python3",
                                     .arguments = {"tests/preload/check_stats.py", o.err},
                                     .bare = true});
        expect_success(&o);
    }
}

Test(stats, are_json_for_a_program_of_any_name) {
    char *folder = new_folder();
    char *program = format("%s/a\"b\\c\t.", folder);
    cr_assert(eq(int, symlink(subject_path("subject"), program), 0));
    struct outcome o =
        json_of((struct child){.program = program, .arguments = {"use_sizes", "2048"}});
    remove_folder(folder);
    o = child_run((struct child){
        .program = "python3", .arguments = {"tests/preload/check_stats.py", o.err}, .bare = true});
    expect_success(&o);
}

/* ---- where to ---- */

/* The dump of one large request, written to the pattern in a new folder. The file's name. */
static void expect_file(const char *pattern, const char *expected, const char *more) {
    char *folder = new_folder();
    struct outcome o = child_run((struct child){
        .arguments = {"tell_the_pid_of_a_forked_child"},
        .environment = {format("BIGMALLOC_STATS_FILE=%s/%s", folder, pattern), more}});
    char *path = format("%s/%s", folder, expected);
    path = strstr(path, "PARENT") == NULL
               ? path
               : format("%.*s%s%s", (int)(strstr(path, "PARENT") - path), path, word(&o, "parent"),
                        strstr(path, "PARENT") + strlen("PARENT"));
    char *text = file_text(path);
    remove_folder(folder);
    expect_success(&o);
    cr_assert(eq(str, o.err, ""));
    cr_assert(ne(ptr, text, NULL), "no %s", path);
    cr_assert(eq(sz, count(text, format("bigmalloc: subject (pid %s)", word(&o, "parent"))), 1),
              "%s:\n%s", path, text);
}

/* The mode of a file in a new folder, dumped by a program whose mask lets nobody else read. */
static mode_t mode_of_a_dump(const char *how) {
    char *folder = new_folder();
    struct outcome o = child_run((struct child){
        .program = "sh",
        .arguments = {"-c", "umask 077; exec \"$0\" use_sizes 2048", subject_path("subject")},
        .environment = {format("BIGMALLOC_STATS=%s", how),
                        format("BIGMALLOC_STATS_FILE=%s/out", folder)}});
    struct stat found = {0};
    cr_assert(eq(int, stat(format("%s/out", folder), &found), 0), "%s", o.err);
    remove_folder(folder);
    expect_success(&o);
    return found.st_mode & 0777;
}

Test(stats, are_for_all_to_read_as_metrics_and_for_whom_the_mask_lets_otherwise) {
    cr_assert(eq(u32, mode_of_a_dump("prom"), 0644));
    cr_assert(eq(u32, mode_of_a_dump("json"), 0600));
}

Test(stats, leave_no_file_but_the_one_named) {
    char *folder = new_folder();
    struct outcome o = child_run((struct child){
        .program = "sh",
        .arguments = {"-c", "\"$0\" get_two_signals; ls \"$1\"", subject_path("subject"), folder},
        .environment = {"BIGMALLOC_STATS=prom", format("BIGMALLOC_STATS_FILE=%s/out", folder)}});
    remove_folder(folder);
    expect_success(&o);
    cr_assert(eq(str, o.out, "out\n"));
}

static char *host_name(void) {
    char name[256] = "";
    cr_assert(eq(int, gethostname(name, sizeof name - 1), 0));
    return format("%s", name);
}

Test(stats, go_to_a_file) {
    expect_file("out", "out", NULL);
}

Test(stats, go_to_a_file_named_after_the_process) {
    expect_file("out.%p.txt", "out.PARENT.txt", NULL);
}

Test(stats, go_to_a_file_named_after_the_host) {
    expect_file("%h.out", format("%s.out", host_name()), NULL);
}

Test(stats, go_to_a_file_named_after_the_rank) {
    expect_file("out-%r", "out-3", "SLURM_PROCID=3");
    expect_file("out-%r", "out-5", "RANK=5");
    expect_file("out-%r", "out-7", "OMPI_COMM_WORLD_RANK=7");
    expect_file("out-%r", "out-0", NULL);
}

Test(stats, go_to_a_file_named_after_a_variable) {
    expect_file("%q{JOB}-100%%", "train-100%", "JOB=train");
    expect_file("%q{JOB}-100%%", "-100%", NULL);
    expect_file("%q{JOB}", "50%p", "JOB=50%p");
}

Test(stats, go_to_numbered_files) {
    char *folder = new_folder();
    struct outcome o =
        child_run((struct child){.arguments = {"get_two_signals"},
                                 .environment = {format("BIGMALLOC_STATS_FILE=%s/%%n", folder)}});
    char *texts[4];
    for (int i = 0; i < 4; i++) {
        texts[i] = file_text(format("%s/%d", folder, i));
    }
    remove_folder(folder);
    expect_success(&o);
    cr_assert(texts[0] != NULL && texts[1] != NULL && texts[2] != NULL && texts[3] == NULL);
}

Test(stats, of_a_forked_child_go_to_a_file_of_its_own) {
    char *folder = new_folder();
    struct outcome o = child_run((struct child){
        .arguments = {"tell_the_pid_of_a_forked_child"},
        .environment = {format("BIGMALLOC_STATS_FILE=%s/out", folder), "BIGMALLOC_STATS=json"}});
    char *parent = file_text(format("%s/out", folder));
    char *child = file_text(format("%s/out.%s", folder, word(&o, "child")));
    remove_folder(folder);
    expect_success(&o);
    cr_assert(parent != NULL && child != NULL);
    cr_assert(eq(sz, number_at(parent, "pid"), fact(&o, "parent")));
    cr_assert(eq(sz, number_at(child, "pid"), fact(&o, "child")));
    cr_assert(eq(sz, number_at(child, "totals.requests"), 1));
    cr_assert(eq(sz, number_at(child, "requested_bytes.allocated"), 8 * MIB));
    cr_assert(eq(sz, number_at(child, "reserved_bytes.peak"), 8 * MIB));
}

Test(stats, go_to_stderr_where_the_file_cannot_be_written) {
    struct outcome o =
        child_run((struct child){.arguments = {"use_sizes", "2048"},
                                 .environment = {"BIGMALLOC_STATS_FILE=/proc/no/such/folder"}});
    expect_success(&o);
    cr_assert(eq(sz,
                 count(o.err, "bigmalloc: BIGMALLOC_STATS_FILE: cannot write "
                              "/proc/no/such/folder, using stderr\nbigmalloc: subject (pid "),
                 1),
              "%s", o.err);
}

enum {
    NOBODY = 65534
};

static const char INSTALL[] =
    "cp \"$1\" \"$3/subject\" && cp \"$2\" \"$3/libbigmalloc.so\" && chmod 755 \"$3\"";

Test(stats, of_a_program_that_may_write_nowhere_go_to_stderr) {
    if (geteuid() != 0) {
        cr_skip_test("only root can become another user");
    }
    char *folder = new_folder();
    struct outcome o = child_run((struct child){
        .program = "sh",
        .arguments = {"-c", INSTALL, "sh", subject_path("subject"), library_path(), folder},
        .bare = true});
    expect_success(&o);
    o = child_run((struct child){.program = format("%s/subject", folder),
                                 .arguments = {"use_sizes", "100", "8192", "200000"},
                                 .environment = {"BIGMALLOC_STATS_FILE=out.%p",
                                                 format("LD_PRELOAD=%s/libbigmalloc.so", folder)},
                                 .bare = true,
                                 .user = NOBODY,
                                 .folder = folder});
    remove_folder(folder);
    expect_success(&o);
    cr_assert(eq(sz, count(o.err, "bigmalloc: BIGMALLOC_STATS_FILE: cannot write out."), 1), "%s",
              o.err);
    cr_assert(eq(sz, count(o.err, "2 large requests for 203 MiB"), 1), "%s", o.err);
}
