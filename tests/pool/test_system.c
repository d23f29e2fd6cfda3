#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "pool/system.h"
#include "tests/pool/files.h"

/* ---- readers, on files of our own ---- */

static size_t ram(void) {
    struct sysinfo info;
    cr_assert(eq(int, sysinfo(&info), 0));
    return (size_t)info.totalram * info.mem_unit;
}

TestSuite(system_files, .init = files_start, .fini = files_stop);

Test(system_files, without_any_the_limit_is_the_memory_of_the_machine) {
    cr_expect(eq(sz, system_memory_limit(), ram()));
}

Test(system_files, what_the_system_promises_at_most_counts_where_it_is_strict) {
    files_put("/proc/meminfo", "MemTotal: 9000 kB\nCommitLimit: 2048 kB\nCommitted_AS: 7 kB\n");
    files_put("/proc/sys/vm/overcommit_memory", "2\n");
    cr_expect(system_is_strict());
    cr_expect(eq(sz, system_memory_limit(), 2 * MIB));
    files_put("/proc/sys/vm/overcommit_memory", "0\n");
    cr_expect(not(system_is_strict()));
    cr_expect(eq(sz, system_memory_limit(), ram()));
    files_put("/proc/sys/vm/overcommit_memory", "2\n");
    files_put("/proc/meminfo", "MemTotal: 9000 kB\n");
    cr_expect(eq(sz, system_memory_limit(), ram()), "it does not tell");
}

Test(system_files, the_limit_of_the_own_v2_group_counts) {
    files_put("/proc/self/cgroup", "0::/a/b\n");
    files_put("/sys/fs/cgroup/a/b/memory.max", "104857600\n");
    cr_expect(eq(sz, system_memory_limit(), 100 * MIB));
}

Test(system_files, the_tightest_limit_above_the_own_group_counts) {
    files_put("/proc/self/cgroup", "0::/a/b/c\n");
    files_put("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
    files_put("/sys/fs/cgroup/a/b/memory.max", "209715200\n");
    files_put("/sys/fs/cgroup/a/memory.max", "104857600\n");
    cr_expect(eq(sz, system_memory_limit(), 100 * MIB));
}

Test(system_files, the_root_group_counts_as_in_a_container_with_its_own_namespace) {
    files_put("/proc/self/cgroup", "0::/\n");
    files_put("/sys/fs/cgroup/memory.max", "52428800\n");
    cr_expect(eq(sz, system_memory_limit(), 50 * MIB));
}

Test(system_files, groups_that_the_container_does_not_show_are_passed_over) {
    files_put("/proc/self/cgroup", "4:memory:/docker/0123\n");
    files_put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "52428800\n");
    cr_expect(eq(sz, system_memory_limit(), 50 * MIB));
}

Test(system_files, the_limit_of_a_v1_group_counts) {
    files_put("/proc/self/cgroup", "4:memory:/a\n0::/b\n");
    files_put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "104857600\n");
    files_put("/sys/fs/cgroup/b/memory.max", "1\n");
    cr_expect(eq(sz, system_memory_limit(), 100 * MIB));
}

Test(system_files, a_limit_above_the_memory_of_the_machine_is_none) {
    files_put("/proc/self/cgroup", "4:memory:/a\n");
    files_put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
    cr_expect(eq(sz, system_memory_limit(), ram()));
}

Test(system_files, an_empty_limit_is_none) {
    files_put("/proc/self/cgroup", "0::/a\n");
    files_put("/sys/fs/cgroup/a/memory.max", "");
    cr_expect(eq(sz, system_memory_limit(), ram()));
}

Test(system_files, the_longest_path_that_fits_is_walked_to_the_top) {
    char text[2048] = "0::";
    for (size_t i = 3; i + 1 < 3 + 1023; i += 2) {
        memcpy(text + i, "/x", 2);
    }
    files_put("/proc/self/cgroup", text);
    files_put("/sys/fs/cgroup/memory.max", "52428800\n");
    cr_expect(eq(sz, system_memory_limit(), 50 * MIB));
}

Test(system_files, a_path_too_long_leaves_the_memory_of_the_machine) {
    char text[4000] = "0::/";
    memset(text + 4, 'x', sizeof text - 5);
    files_put("/proc/self/cgroup", text);
    cr_expect(eq(sz, system_memory_limit(), ram()));
}

Test(system_files, mappings_are_as_many_as_the_kernel_says) {
    files_put("/proc/sys/vm/max_map_count", "1048576\n");
    cr_expect(eq(sz, system_mappings_limit(), 1048576));
}

Test(system_files, mappings_are_the_default_of_the_kernel_where_it_says_nothing) {
    cr_expect(eq(sz, system_mappings_limit(), 65530));
    files_put("/proc/sys/vm/max_map_count", "many\n");
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
