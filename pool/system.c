#include "pool/system.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "pool/number.h"

enum {
    TEXT_MAX = 4096,
    PATH_BYTES = 1024
};

static const size_t DEFAULT_MAX_MAP_COUNT = 65530;

/* ---- parsers ---- */

size_t system_parse_number(const char *text, size_t otherwise) {
    const char *end = NULL;
    size_t n = 0;
    return number_parse(text, &end, &n) ? n : otherwise;
}

/* Is `word` one of the comma-separated words of list[length]? */
static bool list_has(const char *list, size_t length, const char *word) {
    size_t n = strlen(word);
    const char *end = list + length;
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        const char *stop = comma != NULL ? comma : end;
        if ((size_t)(stop - list) == n && memcmp(list, word, n) == 0) {
            return true;
        }
        list = stop + 1;
    }
    return false;
}

/* One line of /proc/self/cgroup, "4:memory:/path" or "0::/path", split at its colons. */
struct cgroup_line {
    const char *controllers;
    size_t controllers_length;
    const char *path;
    size_t path_length;
};

static bool split_line(const char *line, size_t length, struct cgroup_line *out) {
    const char *first = memchr(line, ':', length);
    if (first == NULL) {
        return false;
    }
    const char *end = line + length;
    const char *second = memchr(first + 1, ':', (size_t)(end - first - 1));
    if (second == NULL) {
        return false;
    }
    *out = (struct cgroup_line){.controllers = first + 1,
                                .controllers_length = (size_t)(second - first - 1),
                                .path = second + 1,
                                .path_length = (size_t)(end - second - 1)};
    return true;
}

/* What a line says of the memory controller's group: nothing, its path in v2, or in v1. */
enum mention {
    MENTION_NONE,
    MENTION_V2,
    MENTION_V1
};

static enum mention mention(const struct cgroup_line *line) {
    if (list_has(line->controllers, line->controllers_length, "memory")) {
        return MENTION_V1;
    }
    return line->controllers_length == 0 ? MENTION_V2 : MENTION_NONE;
}

bool system_parse_cgroup(const char *text, char *path, size_t size, bool *v1) {
    enum mention best = MENTION_NONE;
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        struct cgroup_line line;
        if (split_line(text, length, &line) && line.path_length < size && mention(&line) > best) {
            best = mention(&line);
            memcpy(path, line.path, line.path_length);
            path[line.path_length] = '\0';
        }
        text += length + (text[length] == '\n');
    }
    *v1 = best == MENTION_V1;
    return best != MENTION_NONE;
}

/* ---- readers ---- */

/* The beginning of a small file, terminated. False where it cannot be read. */
static bool read_text(const char *path, char *text, size_t size) {
    int saved_errno = errno;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    if (fd >= 0) {
        n = read(fd, text, size - 1);
        (void)close(fd);
    }
    errno = saved_errno;
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static size_t read_number(const char *path, size_t otherwise) {
    char text[32];
    return read_text(path, text, sizeof text) ? system_parse_number(text, otherwise) : otherwise;
}

/* The limit of the group at mount + path, and of every group above it. path is used up. */
static size_t tightest_limit(const char *mount, char *path, const char *file) {
    size_t tightest = UNLIMITED;
    for (;;) {
        char name[PATH_BYTES + 64] = "";
        char *end = stpcpy(stpcpy(name, mount), path);
        (void)stpcpy(stpcpy(end, "/"), file);
        tightest = size_min(tightest, read_number(name, UNLIMITED));
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return tightest;
        }
        *slash = '\0';
    }
}

static size_t cgroup_limit(void) {
    char text[TEXT_MAX];
    char path[PATH_BYTES];
    bool v1 = false;
    if (!read_text("/proc/self/cgroup", text, sizeof text) ||
        !system_parse_cgroup(text, path, sizeof path, &v1)) {
        return UNLIMITED;
    }
    return v1 ? tightest_limit("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes")
              : tightest_limit("/sys/fs/cgroup", path, "memory.max");
}

size_t system_memory_limit(void) {
    struct sysinfo info;
    size_t ram = sysinfo(&info) == 0 ? (size_t)info.totalram * info.mem_unit : UNLIMITED;
    return size_min(ram, cgroup_limit());
}

size_t system_mappings_limit(void) {
    return read_number("/proc/sys/vm/max_map_count", DEFAULT_MAX_MAP_COUNT);
}

size_t system_address_limit(void) {
    struct rlimit limit;
    bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return limited ? (size_t)limit.rlim_cur : UNLIMITED;
}
