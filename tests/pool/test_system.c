#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "pool/system.h"
#include "tests/pool/inject.h"

/* ---- numbers ---- */

Test(system, a_number_is_what_the_text_begins_with) {
    cr_expect(eq(sz, system_parse_number("0", 5), 0));
    cr_expect(eq(sz, system_parse_number("65530\n", 5), 65530));
    cr_expect(eq(sz, system_parse_number("12abc", 5), 12));
    cr_expect(eq(sz, system_parse_number("9223372036854771712\n", 5), 9223372036854771712U));
    cr_expect(eq(sz, system_parse_number("18446744073709551615", 5), SIZE_MAX));
}

Test(system, a_text_that_is_no_number_is_the_other_value) {
    cr_expect(eq(sz, system_parse_number("max\n", 5), 5));
    cr_expect(eq(sz, system_parse_number("", 5), 5));
    cr_expect(eq(sz, system_parse_number("\n", 5), 5));
    cr_expect(eq(sz, system_parse_number("-1", 5), 5));
    cr_expect(eq(sz, system_parse_number(" 7", 5), 5));
}

Test(system, a_number_too_large_is_unlimited) {
    cr_expect(eq(sz, system_parse_number("18446744073709551616", 5), UNLIMITED));
    cr_expect(eq(sz, system_parse_number("99999999999999999999999999", 5), UNLIMITED));
}

/* ---- /proc/self/cgroup ---- */

static char path[64];
static bool v1;

static bool parses(const char *text) {
    memset(path, '#', sizeof path);
    return system_parse_cgroup(text, path, sizeof path, &v1);
}

Test(system, a_machine_with_cgroup_v2_has_one_line) {
    cr_assert(parses("0::/user.slice/user-1000.slice/session-3.scope\n"));
    cr_expect(eq(str, path, "/user.slice/user-1000.slice/session-3.scope"));
    cr_expect(not(v1));
}

Test(system, a_machine_with_cgroup_v1_names_the_controller) {
    cr_assert(parses("12:cpu,cpuacct:/c\n"
                     "11:memory:/docker/0123abcd\n"
                     "10:pids:/p\n"
                     "1:name=systemd:/s\n"));
    cr_expect(eq(str, path, "/docker/0123abcd"));
    cr_expect(v1);
}

Test(system, a_hybrid_machine_keeps_memory_in_v1_wherever_the_lines_stand) {
    cr_assert(parses("4:memory:/old\n0::/new\n"));
    cr_expect(eq(str, path, "/old"));
    cr_expect(v1);
    cr_assert(parses("0::/new\n4:memory:/old\n"));
    cr_expect(eq(str, path, "/old"));
    cr_expect(v1);
}

Test(system, a_hybrid_machine_without_memory_in_v1_has_it_in_v2) {
    cr_assert(parses("3:cpu:/c\n1:name=systemd:/s\n0::/new\n"));
    cr_expect(eq(str, path, "/new"));
    cr_expect(not(v1));
}

Test(system, memory_may_be_one_of_several_controllers) {
    cr_assert(parses("5:cpuset,memory,pids:/x\n"));
    cr_expect(eq(str, path, "/x"));
    cr_expect(v1);
    cr_assert(parses("5:memory,pids:/y\n"));
    cr_expect(eq(str, path, "/y"));
    cr_assert(parses("5:cpu,memory:/z\n"));
    cr_expect(eq(str, path, "/z"));
}

Test(system, controllers_that_only_resemble_memory_are_others) {
    cr_expect(not(parses("5:memory2:/x\n6:mymemory:/y\n7:name=memory:/z\n8:mem:/m\n9:,:/n\n")));
}

Test(system, paths_may_contain_colons_and_blanks) {
    cr_assert(parses("0::/a:b c:d\n"));
    cr_expect(eq(str, path, "/a:b c:d"));
}

Test(system, the_root_group_is_a_path_too) {
    cr_assert(parses("0::/\n"));
    cr_expect(eq(str, path, "/"));
}

Test(system, a_last_line_without_its_end_counts) {
    cr_assert(parses("3:cpu:/c\n0::/new"));
    cr_expect(eq(str, path, "/new"));
}

Test(system, no_text_and_torn_lines_say_nothing) {
    cr_expect(not(parses("")));
    cr_expect(not(parses("\n")));
    cr_expect(not(parses("\n\n\n")));
    cr_expect(not(parses("0")));
    cr_expect(not(parses("0:")));
    cr_expect(not(parses("4:memory")));
    cr_expect(not(parses("4:memory\n:/x\n")));
    cr_expect(not(parses("no colon at all\n")));
}

Test(system, a_torn_line_does_not_hide_a_good_one) {
    cr_assert(parses("4:mem\n0::/new\n5:cp"));
    cr_expect(eq(str, path, "/new"));
    cr_expect(not(v1));
}

Test(system, a_line_of_two_colons_has_an_empty_path) {
    cr_assert(parses("0::"));
    cr_expect(eq(str, path, ""));
}

Test(system, a_path_that_does_not_fit_is_not_cut) {
    char text[128] = "0::/";
    memset(text + 4, 'x', 63);
    cr_expect(not(parses(text)), "64 bytes, and no room for the terminator");
    text[3 + 63] = '\0';
    cr_assert(parses(text));
    cr_expect(eq(sz, strlen(path), 63));
}

Test(system, a_parser_never_reads_past_the_end_of_its_text) {
    static const char text[] = "3:cpu:/c\n4:memory:/old\n0::/new\n";
    for (size_t length = 0; length < sizeof text; length++) {
        char *copy = strndup(text, length); /* a byte too far is the address sanitizer's */
        (void)parses(copy);
        (void)system_parse_number(copy, 0);
        free(copy);
    }
}

Test(system, any_bytes_are_survived) {
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[48];
        for (size_t i = 0; i + 1 < sizeof text; i++) {
            text[i] = "04::::,,/\n\nmemory\xff"[rand_r(&seed) % 18];
        }
        text[sizeof text - 1] = '\0';
        if (parses(text)) {
            cr_assert(lt(sz, strnlen(path, sizeof path), sizeof path));
        }
    }
}

/* ---- readers, on files of our own ---- */

static char root[64];

static void make_root(void) {
    (void)strcpy(root, "/tmp/bigmalloc-test-XXXXXX");
    cr_assert(not(eq(ptr, mkdtemp(root), NULL)));
    inject_nothing();
    inject.root = root;
}

static void remove_root(void) {
    char command[128];
    inject_nothing();
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_expect(eq(int, system(command), 0));
}

/* Writes the file, and makes the directories above it. */
static void put(const char *name, const char *text) {
    char full[512];
    (void)snprintf(full, sizeof full, "%s%s", root, name);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(full, 0700);
        *p = '/';
    }
    FILE *file = fopen(full, "we");
    cr_assert(not(eq(ptr, file, NULL)));
    (void)fputs(text, file);
    (void)fclose(file);
}

static size_t ram(void) {
    struct sysinfo info;
    cr_assert(eq(int, sysinfo(&info), 0));
    return (size_t)info.totalram * info.mem_unit;
}

TestSuite(system_files, .init = make_root, .fini = remove_root);

Test(system_files, without_any_the_limit_is_the_memory_of_the_machine) {
    cr_expect(eq(sz, system_memory_limit(), ram()));
}

Test(system_files, the_limit_of_the_own_v2_group_counts) {
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "104857600\n");
    cr_expect(eq(sz, system_memory_limit(), 100 * MIB));
}

Test(system_files, the_tightest_limit_above_the_own_group_counts) {
    put("/proc/self/cgroup", "0::/a/b/c\n");
    put("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
    put("/sys/fs/cgroup/a/b/memory.max", "209715200\n");
    put("/sys/fs/cgroup/a/memory.max", "104857600\n");
    cr_expect(eq(sz, system_memory_limit(), 100 * MIB));
}

Test(system_files, the_root_group_counts_as_in_a_container_with_its_own_namespace) {
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "52428800\n");
    cr_expect(eq(sz, system_memory_limit(), 50 * MIB));
}

Test(system_files, groups_that_the_container_does_not_show_are_passed_over) {
    put("/proc/self/cgroup", "4:memory:/docker/0123\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "52428800\n");
    cr_expect(eq(sz, system_memory_limit(), 50 * MIB));
}

Test(system_files, the_limit_of_a_v1_group_counts) {
    put("/proc/self/cgroup", "4:memory:/a\n0::/b\n");
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "104857600\n");
    put("/sys/fs/cgroup/b/memory.max", "1\n");
    cr_expect(eq(sz, system_memory_limit(), 100 * MIB));
}

Test(system_files, a_limit_above_the_memory_of_the_machine_is_none) {
    put("/proc/self/cgroup", "4:memory:/a\n");
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
    cr_expect(eq(sz, system_memory_limit(), ram()));
}

Test(system_files, an_empty_limit_is_none) {
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/memory.max", "");
    cr_expect(eq(sz, system_memory_limit(), ram()));
}

Test(system_files, the_longest_path_that_fits_is_walked_to_the_top) {
    char text[2048] = "0::";
    for (size_t i = 3; i + 1 < 3 + 1023; i += 2) {
        memcpy(text + i, "/x", 2);
    }
    put("/proc/self/cgroup", text);
    put("/sys/fs/cgroup/memory.max", "52428800\n");
    cr_expect(eq(sz, system_memory_limit(), 50 * MIB));
}

Test(system_files, a_path_too_long_leaves_the_memory_of_the_machine) {
    char text[4000] = "0::/";
    memset(text + 4, 'x', sizeof text - 5);
    put("/proc/self/cgroup", text);
    cr_expect(eq(sz, system_memory_limit(), ram()));
}

Test(system_files, mappings_are_as_many_as_the_kernel_says) {
    put("/proc/sys/vm/max_map_count", "1048576\n");
    cr_expect(eq(sz, system_mappings_limit(), 1048576));
}

Test(system_files, mappings_are_the_default_of_the_kernel_where_it_says_nothing) {
    cr_expect(eq(sz, system_mappings_limit(), 65530));
    put("/proc/sys/vm/max_map_count", "many\n");
    cr_expect(eq(sz, system_mappings_limit(), 65530));
}

/* ---- readers, on this machine ---- */

Test(system, the_memory_of_this_machine_is_plausible) {
    size_t limit = system_memory_limit();
    cr_expect(ge(sz, limit, 1 * MIB));
    cr_expect(le(sz, limit, ram()));
}

Test(system, the_mappings_of_this_machine_are_plausible) {
    cr_expect(ge(sz, system_mappings_limit(), 1024));
}

Test(system, addresses_are_unlimited_unless_the_process_was_limited) {
    struct rlimit limit;
    cr_assert(eq(int, getrlimit(RLIMIT_AS, &limit), 0));
    size_t wanted = limit.rlim_cur == RLIM_INFINITY ? UNLIMITED : (size_t)limit.rlim_cur;
    cr_expect(eq(sz, system_address_limit(), wanted));
    cr_expect(eq(sz, system_address_share(160 * MIB), 10 * MIB));
}

Test(system, a_limit_of_addresses_is_told_in_bytes) {
    struct rlimit limit = {.rlim_cur = 200 * TIB, .rlim_max = RLIM_INFINITY};
    cr_assert(eq(int, setrlimit(RLIMIT_AS, &limit), 0));
    cr_expect(eq(sz, system_address_limit(), 200 * TIB));
}
