#include "pool/cgroup.h"

#include <string.h>

#include "pool/number.h"
#include "pool/text_file.h"

enum {
    TEXT_MAX = 4096,
    FILE_NAME_MAX = 64 /* of the files of a group, and of /proc/self/cgroup */
};

/* v1 knows no "max": its largest limit is LONG_MAX, rounded down to whole pages. */
static const size_t LARGEST_LIMIT = SIZE_MAX / 4;

/* ---- the text of /proc/self/cgroup ---- */

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

bool cgroup_parse(const char *text, char *path, size_t size, bool *v1) {
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

/* ---- folders ---- */

/* Ends the folder after `length` bytes, or before the slashes that these end with. */
static void drop_slashes(struct cgroup *g, size_t length) {
    while (length > g->mount_length && g->folder[length - 1] == '/') {
        length--;
    }
    g->folder[length] = '\0';
}

/* The folder of the group `path`; false where it does not fit. */
static bool set_folder(struct cgroup *g, const char *root, const char *path) {
    const char *mount = g->v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
    g->mount_length = strlen(root) + strlen(mount);
    size_t length = g->mount_length + strlen(path);
    if (length >= sizeof g->folder) {
        return false;
    }
    (void)stpcpy(stpcpy(stpcpy(g->folder, root), mount), path);
    drop_slashes(g, length);
    return true;
}

bool cgroup_find(struct cgroup *g, const char *root) {
    static const char file[] = "/proc/self/cgroup";
    static char name[CGROUP_FOLDER + FILE_NAME_MAX];
    static char text[TEXT_MAX];
    static char path[CGROUP_PATH];
    if (strlen(root) >= CGROUP_FOLDER) {
        return false;
    }
    (void)stpcpy(stpcpy(name, root), file);
    return text_file_read(name, text, sizeof text) &&
           cgroup_parse(text, path, sizeof path, &g->v1) && set_folder(g, root, path);
}

bool cgroup_up(struct cgroup *g) {
    const char *slash = strrchr(g->folder + g->mount_length, '/');
    if (slash == NULL) {
        return false;
    }
    drop_slashes(g, (size_t)(slash - g->folder));
    return true;
}

/* ---- files ---- */

bool cgroup_read(const struct cgroup *g, const char *file, char *text, size_t size) {
    static char name[CGROUP_FOLDER + FILE_NAME_MAX];
    (void)stpcpy(stpcpy(stpcpy(name, g->folder), "/"), file);
    return text_file_read(name, text, size);
}

size_t cgroup_number(const struct cgroup *g, const char *file, size_t otherwise) {
    char text[32];
    return cgroup_read(g, file, text, sizeof text) ? number_or(text, otherwise) : otherwise;
}

size_t cgroup_limit(const struct cgroup *g, const char *file) {
    size_t limit = cgroup_number(g, file, UNLIMITED);
    return limit > LARGEST_LIMIT ? UNLIMITED : limit;
}
