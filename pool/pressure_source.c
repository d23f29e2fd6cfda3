#include "pool/pressure_source.h"

#include <string.h>

#include "pool/text_file.h"

enum {
    TEXT_MAX = 4096,
    PATH_BYTES = 512 /* of root and a file in /proc */
};

/* v2 throttles at memory.high and kills at memory.max; v1 has one limit. */
static size_t limit_of(const struct cgroup *g) {
    return g->v1 ? cgroup_limit(g, "memory.limit_in_bytes")
                 : size_min(cgroup_limit(g, "memory.max"), cgroup_limit(g, "memory.high"));
}

/* Without the page cache that is dropped first: it is no pressure. */
static size_t used_by(const struct cgroup *g) {
    static char text[TEXT_MAX];
    size_t cache = 0;
    if (cgroup_read(g, "memory.stat", text, sizeof text)) {
        cache = pressure_parse_field(text, g->v1 ? "total_inactive_file" : "inactive_file");
    }
    size_t used = cgroup_number(g, g->v1 ? "memory.usage_in_bytes" : "memory.current", 0);
    return size_minus(used, cache);
}

/*
 * How often this group's own limits were met. memory.events of a group that lies above counts what
 * its other descendants met, too, and that is no shortage of ours: only memory.events.local is taken
 * (Linux 5.2), as memory.failcnt of v1 is of one group alone.
 */
static void add_events(const struct cgroup *g, struct pressure_reading *r) {
    static char text[TEXT_MAX];
    if (g->v1) {
        r->max_events += cgroup_number(g, "memory.failcnt", 0);
    } else if (cgroup_read(g, "memory.events.local", text, sizeof text)) {
        r->high_events += pressure_parse_field(text, "high");
        r->max_events += pressure_parse_field(text, "max");
    }
}

/* A group without a limit has nothing to meet, and costs one or two files to find that out. */
static void add_group(const struct cgroup *g, struct pressure_reading *r) {
    size_t limit = limit_of(g);
    if (limit != UNLIMITED) {
        unsigned percent = pressure_percent(used_by(g), limit);
        r->group_percent = percent > r->group_percent ? percent : r->group_percent;
        add_events(g, r);
    }
}

static void add_groups(const struct pressure_source *s, struct pressure_reading *r) {
    static struct cgroup g;
    g = s->group;
    do {
        add_group(&g, r);
    } while (cgroup_up(&g));
}

static bool read_proc(const struct pressure_source *s, const char *file, char *text, size_t size) {
    static char name[PATH_BYTES];
    if (strlen(s->root) + strlen(file) >= sizeof name) {
        return false;
    }
    (void)stpcpy(stpcpy(name, s->root), file);
    return text_file_read(name, text, size);
}

static void add_stall(const struct pressure_source *s, struct pressure_reading *r) {
    static char text[TEXT_MAX];
    if ((s->in_group && cgroup_read(&s->group, "memory.pressure", text, sizeof text)) ||
        read_proc(s, "/proc/pressure/memory", text, sizeof text)) {
        r->stall = pressure_parse_stall(text);
    }
}

/* Linux before 3.14 does not tell what is available: that is not nothing. */
static void add_machine(const struct pressure_source *s, struct pressure_reading *r) {
    static char text[TEXT_MAX];
    if (read_proc(s, "/proc/meminfo", text, sizeof text)) {
        r->available = pressure_parse_field(text, "MemAvailable");
        r->total = r->available != 0 ? pressure_parse_field(text, "MemTotal") : 0;
        r->promised = s->is_strict ? pressure_parse_field(text, "Committed_AS") : 0;
        r->promisable = s->is_strict ? pressure_parse_field(text, "CommitLimit") : 0;
    }
}

/* proc_sys_vm(5), overcommit_memory */
static bool is_strict(const struct pressure_source *s) {
    char mode[4] = "";
    return read_proc(s, "/proc/sys/vm/overcommit_memory", mode, sizeof mode) && mode[0] == '2';
}

void pressure_open(struct pressure_source *s, const char *root,
                   const struct pressure_watch_config *watch) {
    s->root = root;
    s->is_strict = is_strict(s);
    s->in_group = cgroup_find(&s->group, root);
    pressure_watch_open(&s->watch, watch);
}

void pressure_read(struct pressure_source *s, struct pressure_reading *r) {
    *r = (struct pressure_reading){.watch_fired = pressure_watch_fired(&s->watch)};
    if (s->in_group) {
        add_groups(s, r);
    }
    add_stall(s, r);
    add_machine(s, r);
}

void pressure_close(struct pressure_source *s) {
    pressure_watch_close(&s->watch);
}
