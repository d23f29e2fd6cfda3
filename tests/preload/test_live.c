/*
 * test_live.c - the live file of a process: when there is one, what it says, and who may not touch it.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tests/preload/child.h"

/* In place of the user's own: on a tmpfs. */
static char runtime[64];

static void start(void) {
    (void)snprintf(runtime, sizeof runtime, "/dev/shm/bigmalloc-test-XXXXXX");
    cr_assert(mkdtemp(runtime) != NULL);
}

static void stop(void) {
    (void)umount(runtime);
    remove_folder(runtime);
}

TestSuite(live, .init = start, .fini = stop);

static char *in_runtime(const char *name) {
    return format("%s/%s", runtime, name);
}

static struct child child_of(const char *behaviour, const char *argument) {
    return (struct child){.arguments = {behaviour, argument},
                          .environment = {format("XDG_RUNTIME_DIR=%s", runtime)}};
}

static struct outcome run(const char *behaviour, const char *argument) {
    struct outcome o = child_run(child_of(behaviour, argument));
    expect_success(&o);
    return o;
}

static struct outcome run_with(const char *behaviour, const char *option) {
    struct child c = child_of(behaviour, NULL);
    c.environment[1] = option;
    struct outcome o = child_run(c);
    expect_success(&o);
    return o;
}

/* Files that are left, of those whose mode is `mode`; any for 0. The last one's name is *name. */
static size_t left(mode_t mode, char **name) {
    size_t n = 0;
    DIR *d = opendir(in_runtime("bigmalloc"));
    for (const struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        struct stat s;
        char *path = in_runtime(format("bigmalloc/%s", e->d_name));
        bool counts =
            *e->d_name != '.' && lstat(path, &s) == 0 && (mode == 0 || (s.st_mode & 07777) == mode);
        n += counts;
        if (counts && name != NULL) {
            *name = path;
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return n;
}

/* ---- when there is one ---- */

Test(live, file_comes_with_the_first_large_request) {
    (void)run("a_live_file_comes_with_the_first_large_request", NULL);
}

Test(live, file_goes_with_the_process) {
    static const char *const ends[] = {"return", "_exit", "quick_exit"};
    for (int i = 0; i < 3; i++) {
        struct outcome o = run("make_a_live_file_and_end", ends[i]);
        cr_assert(eq(sz, fact(&o, "files"), 1));
        cr_assert(eq(sz, left(0, NULL), 0), "%s", ends[i]);
    }
}

Test(live, file_of_a_process_that_was_killed_stays) {
    struct outcome o = child_run(child_of("make_a_live_file_and_end", "kill"));
    cr_assert(eq(int, o.status, CHILD_SIGNALLED + SIGKILL));
    cr_assert(eq(sz, left(0600, NULL), 1));
}

Test(live, file_is_none_where_it_is_not_wanted) {
    struct outcome o = run_with("tell_live_files", "BIGMALLOC_LIVE=off");
    cr_assert(eq(sz, fact(&o, "files"), 0));
    o = run_with("tell_live_files", "BIGMALLOC=off");
    cr_assert(eq(sz, fact(&o, "files"), 0));
    cr_assert(eq(sz, left(0, NULL), 0));
}

Test(live, file_is_of_the_program_that_runs_now) {
    (void)run("make_a_live_file_and_become_another", "the_live_file_is_of_this_program");
    cr_assert(eq(sz, left(0, NULL), 0));
}

/* A sandbox is nobody's fault: not a word, and the program runs as it would. seccomp(2). */
Test(live, file_is_none_where_a_sandbox_forbids_it) {
    static const char *const errors[] = {"EPERM", "EACCES", "ENOSYS"};
    for (int i = 0; i < 3; i++) {
        struct outcome o =
            child_run((struct child){.arguments = {"where_system_calls_are_refused", "files",
                                                   errors[i], "use_sizes", "8192", "8192", "3072"},
                                     .environment = {format("XDG_RUNTIME_DIR=%s", runtime)}});
        expect_success(&o);
        cr_assert(eq(str, o.err, ""), "%s", errors[i]);
        cr_assert(eq(sz, left(0, NULL), 0));
    }
    static const char *const whats[] = {"folders", "space"};
    for (int i = 0; i < 2; i++) {
        struct child c = child_of("where_system_calls_are_refused", whats[i]);
        c.arguments[2] = "EPERM";
        c.arguments[3] = "tell_live_files";
        struct outcome o = child_run(c);
        expect_success(&o);
        cr_assert(eq(sz, fact(&o, "files"), 0), "%s", whats[i]);
        cr_assert(eq(str, o.err, ""), "%s", whats[i]);
    }
}

/* ---- what it says ---- */

Test(live, file_counts_as_its_program_does) {
    (void)run("a_live_file_counts_as_its_program_does", NULL);
    (void)run("a_live_file_counts_what_all_threads_do", NULL);
}

Test(live, file_counts_what_other_threads_ask_for_while_one_opens_the_pools) {
    struct child c = child_of("tell_live_requests", NULL);
    c.preload = "lib_meanwhile.so";
    struct outcome o = child_run(c);
    expect_success(&o);
    cr_assert(eq(sz, fact(&o, "requests"), 3));
    cr_assert(eq(sz, fact(&o, "passed"), 2));
    cr_assert(eq(sz, fact(&o, "freed"), 8 << 20));
}

static void expect_same(const struct outcome *o, const char *name, const char *in_report) {
    cr_assert(eq(sz, fact(o, name), figure(o, in_report)), "%s", name);
}

Test(live, file_agrees_with_a_report_of_the_same_instant) {
    struct child c = child_of("tell_live_figures_and_dump", NULL);
    c.environment[1] = "BIGMALLOC_STATS=json";
    c.environment[2] = "BIGMALLOC_HELPER=off";
    struct outcome o = child_run(c);
    expect_success(&o);
#define GAUGE(name, doc) \
    expect_same(&o, #name ".allocated", "pools." #name ".allocated"); \
    expect_same(&o, #name ".freed", "pools." #name ".freed"); \
    expect_same(&o, #name ".peak", "pools." #name ".peak");
#define COUNTER(name, doc) expect_same(&o, #name, "pools." #name);
#define BYTES(name, doc) COUNTER(name, doc)
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
    cr_assert(eq(sz,
                 count(o.err, format("{\"size\": 3145728, \"hits\": %zu, \"misses\": %zu, "
                                     "\"idle\": %zu, \"live\": %zu}",
                                     fact(&o, "hits"), fact(&o, "misses"), fact(&o, "idle"),
                                     fact(&o, "live"))),
                 2),
              "on the signal and at exit");
    expect_same(&o, "requests", "totals.requests");
    expect_same(&o, "pid", "pid");
    expect_same(&o, "start_ticks", "start_ticks");
}

Test(live, file_names_the_signal_while_it_dumps) {
    (void)run("a_live_file_names_the_signal_while_it_dumps", NULL);
    struct outcome o = run_with("tell_dump_signal", "BIGMALLOC_STATS_SIGNAL=none");
    cr_assert(eq(sz, fact(&o, "signal"), 0));
    o = run_with("tell_dump_signal", "BIGMALLOC_STATS=off");
    cr_assert(eq(sz, fact(&o, "signal"), 0));
    o = run_with("tell_dump_signal", "BIGMALLOC_STATS_SIGNAL=USR2");
    cr_assert(eq(sz, fact(&o, "signal"), SIGUSR2));
}

/* ---- children ---- */

Test(live, file_is_not_touched_by_children) {
    (void)run("a_raw_clone_does_not_touch_the_live_file", NULL);
    (void)run("a_child_has_a_live_file_of_its_own", NULL);
    (void)run("a_vfork_child_is_counted_with_its_parent", NULL);
    cr_assert(eq(sz, left(0, NULL), 0));
}

/* ---- what lies in the way ---- */

static void make_folder(mode_t mode) {
    cr_assert(eq(int, mkdir(in_runtime("bigmalloc"), 0700), 0));
    cr_assert(eq(int, chmod(in_runtime("bigmalloc"), mode), 0));
}

static void expect_none_of(struct child c) {
    struct outcome o = child_run(c);
    expect_success(&o);
    cr_assert(eq(sz, fact(&o, "own"), 0));
    cr_assert(eq(str, o.err, ""), "and no word about it");
}

static void expect_none(void) {
    expect_none_of(child_of("tell_live_files", NULL));
}

Test(live, file_is_not_made_where_its_name_is_taken) {
    static const char *const things[] = {"link", "fifo", "folder", "file"};
    make_folder(0700);
    for (int i = 0; i < 4; i++) {
        (void)run("a_name_that_is_taken_stays_as_it_is", things[i]);
    }
    cr_assert(eq(int, access(in_runtime("victim"), F_OK), -1), "nor behind a link");
}

Test(live, file_is_not_made_behind_a_link) {
    cr_assert(eq(int, mkdir(in_runtime("elsewhere"), 0700), 0));
    cr_assert(eq(int, symlink("elsewhere", in_runtime("bigmalloc")), 0));
    expect_none();
    cr_assert(eq(int, rmdir(in_runtime("elsewhere")), 0), "empty");
}

Test(live, file_is_not_made_where_others_may_write) {
    make_folder(0720);
    expect_none();
    cr_assert(eq(int, chmod(in_runtime("bigmalloc"), 0702), 0));
    expect_none();
    cr_assert(eq(int, chmod(in_runtime("bigmalloc"), 0755), 0));
    struct outcome o = run("tell_live_files", NULL);
    cr_assert(eq(sz, fact(&o, "own"), 1), "others may look");
}

Test(live, file_is_not_made_in_a_folder_of_somebody_else) {
    if (geteuid() != 0) {
        cr_skip_test("only root can give a folder away");
    }
    make_folder(0700);
    cr_assert(eq(int, chown(in_runtime("bigmalloc"), 65534, 65534), 0));
    expect_none();
}

Test(live, file_is_not_made_where_the_folder_is_not_to_be_written) {
    if (geteuid() != 0) {
        cr_skip_test("only root can run a program as somebody else");
    }
    make_folder(0500);
    cr_assert(eq(int, chown(in_runtime("bigmalloc"), 65534, 65534), 0));
    cr_assert(eq(int, chown(runtime, 65534, 65534), 0));
    struct child c = child_of("tell_live_files", NULL);
    c.user = 65534;
    expect_none_of(c);
}

Test(live, file_is_made_in_shared_memory_where_the_runtime_folder_is_no_tmpfs) {
    struct statfs f;
    char *folder = new_folder();
    bool is_tmpfs = statfs(folder, &f) == 0 && f.f_type == 0x01021994;
    struct child c = child_of("tell_live_files", NULL);
    c.environment[0] = format("XDG_RUNTIME_DIR=%s", folder);
    struct outcome o = child_run(c);
    expect_success(&o);
    cr_assert(is_tmpfs || rmdir(folder) == 0, "empty still");
    remove_folder(folder);
    if (is_tmpfs) {
        cr_skip_test("all folders are on a tmpfs");
    }
}

/* Enough for the folder and the file, but not for what is to be in it. */
static void expect_none_in(const char *size) {
    cr_assert(eq(int, mount("tmpfs", runtime, "tmpfs", 0, format("mode=0700,%s", size)), 0));
    expect_none();
    cr_assert(eq(sz, left(0, NULL), 0));
    cr_assert(eq(int, umount(runtime), 0));
}

Test(live, file_is_not_made_on_a_tmpfs_that_is_full) {
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        cr_skip_test("nothing can be mounted here");
    }
    expect_none_in("size=4k");
    expect_none_in("size=16k");
    expect_none_in("nr_inodes=2");
    cr_assert(eq(int, mount("tmpfs", runtime, "tmpfs", 0, "mode=0700,size=64k"), 0));
    struct outcome o = run("tell_live_files", NULL);
    cr_assert(eq(sz, fact(&o, "own"), 1), "this one is large enough");
}

Test(live, file_is_not_made_without_shared_memory_or_proc) {
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("proc", "/dev/shm", "proc", 0, NULL) != 0) {
        cr_skip_test("nothing can be mounted here");
    }
    struct child c = child_of("tell_live_files", NULL);
    c.environment[0] = "XDG_RUNTIME_DIR=/nowhere";
    expect_none_of(c);
    cr_assert(eq(int, umount("/dev/shm"), 0));
    cr_assert(eq(int, mount("tmpfs", "/proc", "tmpfs", 0, NULL), 0));
    struct outcome o = child_run(child_of("make_a_live_file_and_end", "return"));
    expect_success(&o);
    cr_assert(eq(sz, fact(&o, "files"), 0), "a process that cannot say which it is");
}

/* ---- the broom ---- */

static void kill_one(void) {
    struct outcome o = child_run(child_of("make_a_live_file_and_end", "kill"));
    cr_assert(eq(int, o.status, CHILD_SIGNALLED + SIGKILL));
}

static void write_to(const char *path, off_t offset, const void *bytes, size_t n) {
    int fd = open(path, O_WRONLY);
    cr_assert(ge(int, fd, 0));
    cr_assert(eq(sz, (size_t)pwrite(fd, bytes, n, offset), n));
    (void)close(fd);
}

static void run_tomorrow(void) {
    struct child c = child_of("tell_live_files", NULL);
    c.preload = "lib_tomorrow.so";
    struct outcome o = child_run(c);
    expect_success(&o);
}

Test(live, file_of_a_dead_process_is_marked_and_goes_a_day_later) {
    kill_one();
    struct outcome o = run("tell_live_files", NULL);
    cr_assert(eq(sz, fact(&o, "files"), 2), "it stays for a day");
    cr_assert(eq(sz, left(0400, NULL), 1));
    (void)run("tell_live_files", NULL);
    cr_assert(eq(sz, left(0400, NULL), 1));
    run_tomorrow();
    cr_assert(eq(sz, left(0, NULL), 0));
}

Test(live, file_first_found_dead_tomorrow_stays_until_the_day_after) {
    kill_one();
    run_tomorrow();
    cr_assert(eq(sz, left(0400, NULL), 1));
}

Test(live, files_of_dead_processes_are_64_at_most) {
    for (int i = 0; i < 70; i++) {
        kill_one();
    }
    (void)run("tell_live_files", NULL);
    cr_assert(eq(sz, left(0400, NULL), 64));
}

Test(live, file_of_another_namespace_is_left_alone) {
    char *path = NULL;
    kill_one();
    cr_assert(eq(sz, left(0, &path), 1));
    write_to(path, 96, "\1\2\3", 3);
    run_tomorrow();
    cr_assert(eq(sz, left(0600, NULL), 1));
}

Test(live, file_of_another_boot_is_of_nobody) {
    char *path = NULL;
    kill_one();
    cr_assert(eq(sz, left(0, &path), 1));
    write_to(path, 96, "\1\2\3", 3);
    write_to(path, 112, "00000000", 8);
    (void)run("tell_live_files", NULL);
    cr_assert(eq(sz, left(0400, NULL), 1));
}

/* The id of this process, and a start of long ago: its file is not seen to be old within the hour. */
Test(live, file_of_a_process_whose_id_is_used_again_is_of_nobody) {
    char *path = NULL;
    size_t pid = (size_t)getpid();
    struct timespec long_ago[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    kill_one();
    cr_assert(eq(sz, left(0, &path), 1));
    write_to(path, 64, &pid, sizeof pid);
    char *renamed = in_runtime(format("bigmalloc/%zu-1", pid));
    cr_assert(eq(int, rename(path, renamed), 0));
    (void)run("tell_live_files", NULL);
    cr_assert(eq(sz, left(0600, NULL), 1), "there is such a process");
    cr_assert(eq(int, utimensat(AT_FDCWD, renamed, long_ago, 0), 0));
    (void)run("tell_live_files", NULL);
    cr_assert(eq(sz, left(0400, NULL), 1), "but another one");
}

Test(live, files_that_are_none_are_left_alone) {
    make_folder(0700);
    cr_assert(eq(int, symlink("/etc/passwd", in_runtime("bigmalloc/1-1")), 0));
    cr_assert(eq(int, mkfifo(in_runtime("bigmalloc/2-1"), 0600), 0));
    int fd = open(in_runtime("bigmalloc/999999999-1"), O_CREAT | O_WRONLY, 0600);
    cr_assert(eq(sz, (size_t)write(fd, "mine", 4), 4));
    (void)close(fd);
    run_tomorrow();
    cr_assert(eq(sz, left(0600, NULL), 2));
    cr_assert(eq(sz, left(0, NULL), 3));
}
