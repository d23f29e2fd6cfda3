#include "pool/system.h"

#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "pool/cgroup.h"
#include "pool/pressure.h"
#include "pool/text_file.h"

static const size_t DEFAULT_MAX_MAP_COUNT = 65530;

/* The tightest limit of the own group and of those above it. */
static size_t tightest_limit(void) {
    size_t tightest = UNLIMITED;
    static struct cgroup g;
    if (cgroup_find(&g, "")) {
        do {
            tightest =
                size_min(tightest, cgroup_limit(&g, g.v1 ? "memory.limit_in_bytes" : "memory.max"));
        } while (cgroup_up(&g));
    }
    return tightest;
}

bool system_is_strict(void) {
    return text_file_number("/proc/sys/vm/overcommit_memory", 0) == 2;
}

static size_t promise_limit(void) {
    static char text[4 * KIB];
    size_t limit = system_is_strict() && text_file_read("/proc/meminfo", text, sizeof text)
                       ? pressure_parse_field(text, "CommitLimit")
                       : 0;
    return limit != 0 ? limit : UNLIMITED;
}

size_t system_memory_limit(void) {
    struct sysinfo info;
    size_t ram = sysinfo(&info) == 0 ? (size_t)info.totalram * info.mem_unit : UNLIMITED;
    return size_min(size_min(ram, promise_limit()), tightest_limit());
}

size_t system_mappings_limit(void) {
    return text_file_number("/proc/sys/vm/max_map_count", DEFAULT_MAX_MAP_COUNT);
}

size_t system_address_limit(void) {
    struct rlimit limit;
    bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return limited ? (size_t)limit.rlim_cur : UNLIMITED;
}
