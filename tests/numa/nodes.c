#include "tests/numa/nodes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- TAP ---- */

static int told;
static bool failed;

void expect(bool holds, const char *format, ...) {
    char what[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    failed = failed || !holds;
    (void)printf("%s %d - %s\n", holds ? "ok" : "not ok", ++told, what);
    (void)fflush(stdout);
}

int verdict(void) {
    (void)printf("1..%d\n", told);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

_Noreturn void give_up(const char *what) {
    (void)printf("Bail out! %s: %s\n", what, strerror(errno));
    (void)fflush(stdout);
    _exit(EXIT_FAILURE);
}

/* ---- Files ---- */

void file_read(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (n < 0) {
        give_up(path);
    }
    text[n] = '\0';
    (void)close(fd);
}

bool file_write(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int why = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    errno = why;
    return written;
}

/* ---- Nodes and processors ---- */

/* Calls add(to, id) for each number of a list as "0,2-3". */
static void each_of_list(const char *text, void (*add)(void *to, int id), void *to) {
    for (const char *p = text; *p >= '0' && *p <= '9'; p += *p == ',') {
        char *end = NULL;
        int first = (int)strtol(p, &end, 10);
        int last = *end == '-' ? (int)strtol(end + 1, &end, 10) : first;
        for (int id = first; id <= last; id++) {
            add(to, id);
        }
        p = end;
    }
}

static void add_node(void *to, int id) {
    struct node_list *nodes = to;
    if (nodes->count < NODES_MAX) {
        nodes->ids[nodes->count++] = id;
    }
}

static void add_cpu(void *to, int id) {
    if (id < CPUS_MAX) {
        CPU_SET(id, (cpu_set_t *)to);
    }
}

struct node_list node_list_of(const char *text) {
    struct node_list nodes = {0};
    each_of_list(text, add_node, &nodes);
    return nodes;
}

bool node_list_has(const struct node_list *nodes, int id) {
    for (int i = 0; i < nodes->count; i++) {
        if (nodes->ids[i] == id) {
            return true;
        }
    }
    return false;
}

static void node_file(int node, const char *name, char *text, size_t size) {
    char path[100];
    (void)snprintf(path, sizeof path, "/sys/devices/system/node/node%d/%s", node, name);
    file_read(path, text, size);
}

static cpu_set_t cpus_of_node(int node) {
    char text[200];
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    node_file(node, "cpulist", text, sizeof text);
    each_of_list(text, add_cpu, &cpus);
    return cpus;
}

static bool may_run_on(int node) {
    cpu_set_t cpus = cpus_of_node(node);
    cpu_set_t own;
    if (sched_getaffinity(0, sizeof own, &own) != 0) {
        give_up("sched_getaffinity");
    }
    CPU_AND(&cpus, &cpus, &own);
    return CPU_COUNT(&cpus) > 0;
}

struct node_list nodes_to_run_on(void) {
    char text[200];
    file_read("/sys/devices/system/node/has_cpu", text, sizeof text);
    struct node_list with_cpus = node_list_of(text);
    struct node_list nodes = {0};
    for (int i = 0; i < with_cpus.count; i++) {
        if (may_run_on(with_cpus.ids[i])) {
            add_node(&nodes, with_cpus.ids[i]);
        }
    }
    return nodes;
}

/* The kernel has moved the thread when the call returns. */
void stay_on_node(int node) {
    cpu_set_t cpus = cpus_of_node(node);
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) {
        give_up("sched_setaffinity");
    }
}

size_t node_bytes(int node, const char *key) {
    char text[4096];
    node_file(node, "meminfo", text, sizeof text);
    const char *found = strstr(text, key);
    if (found == NULL) {
        give_up(key);
    }
    return strtoull(found + strcspn(found, "0123456789"), NULL, 10) * KIB;
}

/* ---- Threads ---- */

struct task {
    pthread_t thread;
    int node;
    void (*with_argument)(void *argument);
    void *argument;
    void (*with_number)(int i);
    int number;
};

static void *run_task(void *it) {
    const struct task *t = it;
    stay_on_node(t->node);
    if (t->with_number != NULL) {
        t->with_number(t->number);
    } else {
        t->with_argument(t->argument);
    }
    return NULL;
}

static void task_start(struct task *t) {
    if (pthread_create(&t->thread, NULL, run_task, t) != 0) {
        give_up("pthread_create");
    }
}

void on_node(int node, void (*body)(void *argument), void *argument) {
    struct task t = {.node = node, .with_argument = body, .argument = argument};
    task_start(&t);
    (void)pthread_join(t.thread, NULL);
}

void on_all_nodes(const struct node_list *nodes, int count, void (*body)(int i)) {
    struct task tasks[CPUS_MAX];
    for (int i = 0; i < count; i++) {
        tasks[i] =
            (struct task){.node = nodes->ids[i % nodes->count], .with_number = body, .number = i};
        task_start(&tasks[i]);
    }
    for (int i = 0; i < count; i++) {
        (void)pthread_join(tasks[i].thread, NULL);
    }
}

/* ---- Blocks ---- */

void wake_allocator(void) {
    struct block b = block_of(HUGE_PAGE, ALL_PAGES);
    block_free(&b);
}

struct block block_of(size_t bytes, enum page_step step) {
    struct block b = {.address = malloc(bytes), .bytes = bytes, .step = step};
    if (b.address == NULL) {
        give_up("malloc");
    }
    return b;
}

void block_free(struct block *b) {
    free(b->address);
    *b = (struct block){0};
}

static volatile uint64_t *word_of_page(const struct block *b, size_t offset) {
    return (volatile uint64_t *)(b->address + offset);
}

void block_touch(const struct block *b) {
    for (size_t offset = 0; offset < b->bytes; offset += b->step * PAGE) {
        *word_of_page(b, offset) = (uintptr_t)b->address + offset;
    }
}

size_t block_changed_pages(const struct block *b) {
    size_t changed = 0;
    for (size_t offset = 0; offset < b->bytes; offset += b->step * PAGE) {
        changed += *word_of_page(b, offset) != (uintptr_t)b->address + offset;
    }
    return changed;
}

size_t chance(uint64_t *state, size_t n) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state % n;
}

/* ---- Where pages lie ---- */

bool nodes_by_move_pages(size_t count, void *const *pages, int *nodes) {
    if (syscall(SYS_move_pages, 0, count, pages, NULL, nodes, 0) != 0) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        nodes[i] = nodes[i] < 0 ? NOWHERE : nodes[i];
    }
    return true;
}

/* Physical memory in sections of equal size, each on one node. */
enum {
    SECTIONS_MAX = 1024
};
static struct {
    pthread_once_t once;
    size_t bytes;
    int node[SECTIONS_MAX];
} sections = {.once = PTHREAD_ONCE_INIT};

static void find_sections_of_node(int node) {
    char path[100];
    (void)snprintf(path, sizeof path, "/sys/devices/system/node/node%d", node);
    DIR *folder = opendir(path);
    for (struct dirent *e = NULL; folder != NULL && (e = readdir(folder)) != NULL;) {
        int n = 0;
        if (sscanf(e->d_name, "memory%d", &n) == 1 && n < SECTIONS_MAX) {
            sections.node[n] = node;
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
}

static void find_sections(void) {
    char text[100];
    file_read("/sys/devices/system/memory/block_size_bytes", text, sizeof text);
    sections.bytes = strtoull(text, NULL, 16);
    memset(sections.node, NOWHERE, sizeof sections.node);
    for (int node = 0; node < NODES_MAX; node++) {
        find_sections_of_node(node);
    }
}

/* See Documentation/admin-guide/mm/pagemap.rst: bit 63 is "present", bits 0 to 54 the frame, which is
 * 0 for all but root. */
static int node_of_entry(uint64_t entry) {
    uint64_t frame = entry & (((uint64_t)1 << 55) - 1);
    bool is_present = entry >> 63 != 0;
    size_t section = frame * PAGE / sections.bytes;
    return is_present && section < SECTIONS_MAX ? sections.node[section] : NOWHERE;
}

bool nodes_by_pagemap(size_t count, void *const *pages, int *nodes) {
    (void)pthread_once(&sections.once, find_sections);
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0;
    for (size_t i = 0; is_read && i < count; i++) {
        uint64_t entry = 0;
        off_t offset = (off_t)((uintptr_t)pages[i] / PAGE * sizeof entry);
        is_read = pread(fd, &entry, sizeof entry, offset) == sizeof entry;
        nodes[i] = node_of_entry(entry);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return is_read;
}

static void count_pages(struct placement *p, size_t count, void *const *pages) {
    int nodes[512];
    if (!nodes_by_move_pages(count, pages, nodes) && !nodes_by_pagemap(count, pages, nodes)) {
        give_up("neither move_pages nor pagemap tells where pages lie");
    }
    for (size_t i = 0; i < count; i++) {
        if (nodes[i] >= 0 && nodes[i] < NODES_MAX) {
            p->pages++;
            p->on[nodes[i]]++;
        }
    }
}

struct placement block_placement(const struct block *b, size_t sample) {
    size_t step = sample * b->step;
    struct placement p = {0};
    void *pages[512];
    size_t count = 0;
    for (size_t offset = 0; offset < b->bytes; offset += step * PAGE) {
        pages[count++] = b->address + offset;
        if (count == 512 || offset + step * PAGE >= b->bytes) {
            count_pages(&p, count, pages);
            count = 0;
        }
    }
    return p;
}

void placement_add(struct placement *sum, const struct placement *more) {
    sum->pages += more->pages;
    for (int node = 0; node < NODES_MAX; node++) {
        sum->on[node] += more->on[node];
    }
}

size_t placement_elsewhere(const struct placement *p, int node) {
    return p->pages - p->on[node];
}

/* "7f00 default anon=2 dirty=2 N0=1 N3=1 kernelpagesize_kB=4" */
static void count_mapping(struct placement *p, char *line) {
    char *rest = NULL;
    for (char *word = strtok_r(line, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        int node = 0;
        size_t pages = 0;
        if (sscanf(word, "N%d=%zu", &node, &pages) == 2 && node < NODES_MAX) {
            p->pages += pages;
            p->on[node] += pages;
        }
    }
}

static bool is_wanted(const char *line, uintptr_t low, uintptr_t high) {
    uintptr_t address = strtoull(line, NULL, 16);
    bool is_anonymous = strstr(line, " file=") == NULL && strstr(line, " anon=") != NULL;
    return is_anonymous && address >= low && address < high;
}

struct placement anonymous_placement(uintptr_t low, uintptr_t high) {
    struct placement p = {0};
    FILE *maps = fopen("/proc/self/numa_maps", "re");
    if (maps == NULL) {
        give_up("/proc/self/numa_maps");
    }
    for (char line[1000]; fgets(line, sizeof line, maps) != NULL;) {
        if (is_wanted(line, low, high)) {
            count_mapping(&p, line);
        }
    }
    (void)fclose(maps);
    return p;
}
