#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/pressure_source.h"
#include "tests/pool/files.h"
#include "tests/pool/inject.h"

static struct pressure_source s;
static struct pressure_reading r;
static const struct pressure_watch_config NO_WATCH;

static void start(void) {
    inject_nothing();
    files_make();
    memset(&r, 0xee, sizeof r);
}

static void stop(void) {
    inject_nothing();
    files_remove();
}

TestSuite(pressure_source, .init = start, .fini = stop);

static void take_reading(void) {
    errno = EXFULL;
    pressure_open(&s, files_root, &NO_WATCH);
    pressure_read(&s, &r);
    cr_expect(eq(int, errno, EXFULL));
}

static void put_in(const char *group, const char *file, const char *text) {
    char name[256] = "/sys/fs/cgroup";
    (void)strcat(strcat(strcat(name, group), "/"), file);
    files_put(name, text);
}

static void put_v2(const char *group, const char *max, const char *high, const char *current) {
    put_in(group, "memory.max", max);
    put_in(group, "memory.high", high);
    put_in(group, "memory.current", current);
}

static void put_v1(const char *group, const char *limit, const char *usage, const char *failures) {
    put_in(group, "memory.limit_in_bytes", limit);
    put_in(group, "memory.usage_in_bytes", usage);
    put_in(group, "memory.failcnt", failures);
}

static void expect_nothing(void) {
    cr_expect(eq(u32, r.group_percent, 0));
    cr_expect(eq(sz, r.high_events, 0));
    cr_expect(eq(sz, r.max_events, 0));
    cr_expect(eq(u32, r.stall.some, 0));
    cr_expect(eq(u32, r.stall.full, 0));
    cr_expect(eq(sz, r.available, 0));
    cr_expect(eq(sz, r.total, 0));
    cr_expect(not(r.watch_fired));
}

Test(pressure_source, without_any_file_tells_nothing) {
    take_reading();
    expect_nothing();
}

Test(pressure_source, of_a_group_without_files_tells_nothing) {
    files_put("/proc/self/cgroup", "0::/a/b\n");
    take_reading();
    expect_nothing();
}

Test(pressure_source, a_v2_group_uses_what_is_no_page_cache) {
    files_put("/proc/self/cgroup", "0::/a\n");
    put_v2("/a", "1000\n", "max\n", "900\n");
    take_reading();
    cr_expect(eq(u32, r.group_percent, 90));
    put_in("/a", "memory.stat", "anon 1\nfile 700\ninactive_file 600\nactive_file 100\n");
    pressure_read(&s, &r);
    cr_expect(eq(u32, r.group_percent, 30));
    put_in("/a", "memory.stat", "inactive_file 901\n");
    pressure_read(&s, &r);
    cr_expect(eq(u32, r.group_percent, 0), "torn between two files");
}

Test(pressure_source, the_lower_of_high_and_max_is_the_limit) {
    files_put("/proc/self/cgroup", "0::/a\n");
    put_v2("/a", "1000\n", "500\n", "400\n");
    take_reading();
    cr_expect(eq(u32, r.group_percent, 80));
    put_v2("/a", "500\n", "1000\n", "300\n");
    pressure_read(&s, &r);
    cr_expect(eq(u32, r.group_percent, 60));
    put_v2("/a", "max\n", "max\n", "300\n");
    pressure_read(&s, &r);
    cr_expect(eq(u32, r.group_percent, 0));
}

Test(pressure_source, the_tightest_group_of_all_above_decides) {
    files_put("/proc/self/cgroup", "0::/a/b/c\n");
    put_v2("/a/b/c", "1000\n", "max\n", "100\n");
    put_v2("/a/b", "max\n", "max\n", "2000\n");
    put_v2("/a", "4000\n", "max\n", "3200\n");
    put_v2("", "100000\n", "max\n", "5000\n");
    take_reading();
    cr_expect(eq(u32, r.group_percent, 80));
    put_v2("", "5000\n", "max\n", "5000\n");
    pressure_read(&s, &r);
    cr_expect(eq(u32, r.group_percent, 100), "the uppermost, as a container sees its own");
}

Test(pressure_source, events_are_those_of_limited_groups_themselves) {
    files_put("/proc/self/cgroup", "0::/a/b\n");
    put_v2("/a/b", "1000\n", "max\n", "100\n");
    put_v2("/a", "max\n", "4000\n", "100\n");
    put_in("/a/b", "memory.events.local", "low 0\nhigh 1\nmax 20\noom 0\n");
    put_in("/a", "memory.events.local", "low 0\nhigh 300\nmax 4000\noom 0\n");
    put_in("/a", "memory.events", "low 0\nhigh 77777\nmax 77777\noom 0\n");
    put_in("", "memory.events.local", "high 99999\nmax 99999\n");
    take_reading();
    cr_expect(eq(sz, r.high_events, 301));
    cr_expect(eq(sz, r.max_events, 4020));
}

Test(pressure_source, a_v1_group_and_those_above_it_count) {
    files_put("/proc/self/cgroup", "4:memory:/a/b\n0::/x\n");
    put_v1("/memory/a/b", "1000\n", "500\n", "3\n");
    put_in("/memory/a/b", "memory.stat", "inactive_file 1\ntotal_inactive_file 300\n");
    put_v1("/memory/a", "2000\n", "1200\n", "40\n");
    put_v1("/memory", "9223372036854771712\n", "99999999\n", "500\n");
    put_v2("/x", "10\n", "max\n", "10\n");
    take_reading();
    cr_expect(eq(u32, r.group_percent, 60));
    cr_expect(eq(sz, r.max_events, 43));
    cr_expect(eq(sz, r.high_events, 0));
}

Test(pressure_source, stalls_are_those_of_the_group_or_else_of_the_machine) {
    files_put("/proc/self/cgroup", "0::/a\n");
    files_put("/proc/pressure/memory", "some avg10=1.00 avg60=0.00 avg300=0.00 total=0\n"
                                       "full avg10=0.50 avg60=0.00 avg300=0.00 total=0\n");
    take_reading();
    cr_expect(eq(u32, r.stall.some, 100));
    cr_expect(eq(u32, r.stall.full, 50));
    put_in("/a", "memory.pressure",
           "some avg10=20.00 avg60=0.00 avg300=0.00 total=0\n"
           "full avg10=10.25 avg60=0.00 avg300=0.00 total=0\n");
    pressure_read(&s, &r);
    cr_expect(eq(u32, r.stall.some, 2000));
    cr_expect(eq(u32, r.stall.full, 1025));
}

Test(pressure_source, the_machine_has_so_much_and_so_much_of_it_left) {
    files_put("/proc/meminfo", "MemTotal:  1000 kB\nMemFree:  1 kB\nMemAvailable:  400 kB\n"
                               "CommitLimit:  500 kB\nCommitted_AS:  300 kB\n");
    take_reading();
    cr_expect(eq(sz, r.total, 1000 * KIB));
    cr_expect(eq(sz, r.available, 400 * KIB));
    cr_expect(eq(sz, r.promisable, 0), "it may promise as much as it likes");
}

Test(pressure_source, a_strict_machine_has_promised_so_much_of_what_it_may) {
    static const char *const lax[] = {"0\n", "1\n", ""};
    files_put("/proc/meminfo", "CommitLimit:  500 kB\nCommitted_AS:  300 kB\n");
    files_put("/proc/sys/vm/overcommit_memory", "2\n");
    take_reading();
    cr_expect(eq(sz, r.promisable, 500 * KIB));
    cr_expect(eq(sz, r.promised, 300 * KIB));
    for (size_t i = 0; i < 3; i++) {
        files_put("/proc/sys/vm/overcommit_memory", lax[i]);
        take_reading();
        cr_expect(eq(sz, r.promisable, 0));
        cr_expect(eq(sz, r.promised, 0));
    }
}

Test(pressure_source, a_machine_that_does_not_tell_what_is_left_tells_nothing) {
    files_put("/proc/meminfo", "MemTotal:  1000 kB\nMemFree:  1 kB\n");
    take_reading();
    cr_expect(eq(sz, r.total, 0));
}

Test(pressure_source, files_of_nothing_but_rubbish_tell_nothing) {
    static const char *const rubbish[] = {"",           "\n",   "-1\n",    "max",
                                          "\xff\xfe\n", "high", "NaN kB\n"};
    files_put("/proc/self/cgroup", "0::/a\n");
    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
        put_v2("/a", rubbish[i], rubbish[i], rubbish[i]);
        put_in("/a", "memory.stat", rubbish[i]);
        put_in("/a", "memory.events.local", rubbish[i]);
        put_in("/a", "memory.pressure", rubbish[i]);
        files_put("/proc/meminfo", rubbish[i]);
        take_reading();
        expect_nothing();
    }
}

Test(pressure_source, what_follows_a_nul_byte_is_not_there) {
    static const char text[] = "MemTotal: 9 kB\n\0MemAvailable: 3 kB\n";
    files_put_bytes("/proc/meminfo", text, sizeof text);
    take_reading();
    expect_nothing();
}

Test(pressure_source, a_root_too_long_tells_nothing) {
    char root[4096];
    memset(root, '/', sizeof root - 1);
    root[sizeof root - 1] = '\0';
    pressure_open(&s, root, &NO_WATCH);
    pressure_read(&s, &r);
    expect_nothing();
}

Test(pressure_source, survives_any_call_that_fails_and_leaves_nothing_open) {
    files_put("/proc/self/cgroup", "0::/a\n");
    put_v2("/a", "1000\n", "max\n", "900\n");
    size_t before = files_open();
    for (size_t nth = 1; nth <= 16; nth++) {
        inject_failures(CALL_OPEN, nth, 1);
        take_reading();
        inject_nothing();
        inject_failures(CALL_READ, nth, 1);
        take_reading();
        inject_nothing();
    }
    cr_expect(eq(sz, files_open(), before));
    take_reading();
    cr_expect(eq(u32, r.group_percent, 90));
}

Test(pressure_source, tells_that_the_watch_fired_until_it_is_closed) {
    struct pressure_watch_config watch = {0};
    (void)strcpy(watch.path, files_path("/fifo"));
    cr_assert(eq(int, mkfifo(watch.path, 0600), 0));
    pressure_open(&s, files_root, &watch);
    int writer = open(watch.path, O_WRONLY | O_CLOEXEC);
    cr_expect(eq(sz, (size_t)write(writer, "x", 1), 1));
    pressure_read(&s, &r);
    cr_expect(r.watch_fired);
    pressure_read(&s, &r);
    cr_expect(not(r.watch_fired));
    pressure_close(&s);
    cr_expect(eq(int, s.watch.fd, -1));
    pressure_read(&s, &r);
    cr_expect(not(r.watch_fired));
}

Test(pressure_source, of_this_machine_is_plausible) {
    pressure_open(&s, "", &NO_WATCH);
    pressure_read(&s, &r);
    cr_expect(gt(sz, r.total, 1 * MIB));
    cr_expect(gt(sz, r.available, 0));
    cr_expect(le(sz, r.available, r.total));
    cr_expect(le(u32, r.group_percent, 100));
}
