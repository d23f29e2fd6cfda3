#include "tests/preload/subject.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct behaviour {
    const char *name;
    void (*run)(void);
};

static const struct behaviour behaviours[] = {
#define SUBJECT_SAME(group, name) {#name, name},
#define SUBJECT_OURS(group, name) {#name, name},
#define SUBJECT(name) {#name, name},
#include SUBJECT_TABLE
#undef SUBJECT_SAME
#undef SUBJECT_OURS
#undef SUBJECT
};

char **subject_arguments;

void check(bool holds, const char *what, const char *file, int line) {
    if (!holds) {
        dprintf(STDERR_FILENO, "%s:%d: not so: %s\n", file, line, what);
        _exit(1);
    }
}

void tell(const char *name, size_t n) {
    dprintf(STDOUT_FILENO, "%s=%zu\n", name, n);
}

size_t opaque(size_t n) {
    return n;
}

void *opaque_pointer(void *p) {
    return p;
}

/* ---- contents ---- */

static uint64_t word_at(size_t i, uint64_t seed) {
    return (seed + i) * UINT64_C(0x9e3779b97f4a7c15);
}

static void fill_words(uint64_t *words, size_t first, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i++) {
        words[i] = word_at(first + i, seed);
    }
}

void fill(void *p, size_t bytes, uint64_t seed) {
    size_t whole = bytes / sizeof(uint64_t);
    uint64_t last = word_at(whole, seed);
    fill_words(p, 0, whole, seed);
    memcpy((uint64_t *)p + whole, &last, bytes % sizeof last);
}

bool is_filled(const void *p, size_t bytes, uint64_t seed) {
    const uint64_t *words = p;
    size_t whole = bytes / sizeof *words;
    uint64_t last = word_at(whole, seed);
    for (size_t i = 0; i < whole; i++) {
        if (words[i] != word_at(i, seed)) {
            return false;
        }
    }
    return memcmp(words + whole, &last, bytes % sizeof last) == 0;
}

bool is_zero(const void *p, size_t bytes) {
    const char *text = p;
    return bytes == 0 || (text[0] == 0 && memcmp(text, text + 1, bytes - 1) == 0);
}

void touch(void *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += PAGE) {
        ((volatile char *)p)[i] = 1;
    }
}

/* Marsaglia, Xorshift RNGs, 2003. */
uint32_t draw(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

void *get(size_t bytes) {
    void *p = malloc(bytes);
    CHECK(p != NULL);
    return p;
}

void *get_touched(size_t bytes) {
    void *p = get(bytes);
    touch(p, bytes);
    return p;
}

/* ---- this process ---- */

/* The number behind `label` in a file of /proc. */
static size_t number_in(const char *path, const char *label) {
    static char text[64 * 1024];
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    size_t length = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[length] = '\0';
    const char *at = strstr(text, label);
    CHECK(at != NULL);
    return strtoull(at + strlen(label), NULL, 10);
}

size_t resident_bytes(void) {
    return number_in("/proc/self/status", "VmRSS:") * KIB;
}

size_t peak_resident_bytes(void) {
    return number_in("/proc/self/status", "VmHWM:") * KIB;
}

/* Not from smaps_rollup: Linux 6.1 leaves a mapping out of it when a thread that starts meanwhile waits
 * for the lock of the address space. */
size_t smaps_bytes(const char *label) {
    FILE *file = fopen("/proc/self/smaps", "r");
    CHECK(file != NULL);
    size_t length = strlen(label);
    size_t sum = 0;
    for (char line[512]; fgets(line, sizeof line, file) != NULL;) {
        sum += strncmp(line, label, length) == 0 ? strtoull(line + length, NULL, 10) * KIB : 0;
    }
    (void)fclose(file);
    return sum;
}

size_t address_bytes(void) {
    return number_in("/proc/self/status", "VmSize:") * KIB;
}

size_t thread_count(void) {
    return number_in("/proc/self/status", "Threads:");
}

/* The 18th field after the name, which stands in brackets and may hold anything; proc_pid_stat(5). */
size_t stat_thread_count(void) {
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t length = read(fd, text, sizeof text - 1);
    (void)close(fd);
    CHECK(length > 0);
    text[length] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 0; field < 18 && at != NULL; field++) {
        at = strchr(at + 1, ' ');
    }
    CHECK(at != NULL);
    return strtoull(at, NULL, 10);
}

uint64_t clock_ms(void) {
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A look that takes longer than that was kept from the processor, and so may have been what it looks for. */
static const uint64_t LOOK_MS = 20;

bool comes_true(bool (*holds)(void), uint64_t within_ms) {
    uint64_t spent_ms = 0;
    for (uint64_t before = clock_ms(); !holds();) {
        if (spent_ms > within_ms) {
            return false;
        }
        (void)usleep(10 * 1000);
        uint64_t now = clock_ms();
        spent_ms += now - before < LOOK_MS ? now - before : LOOK_MS;
        before = now;
    }
    return true;
}

size_t page_faults(void) {
    struct rusage usage;
    CHECK(getrusage(RUSAGE_THREAD, &usage) == 0);
    return (size_t)usage.ru_minflt;
}

size_t mapping_count(void) {
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file != NULL);
    size_t n = 0;
    for (int c = getc(file); c != EOF; c = getc(file)) {
        n += c == '\n';
    }
    (void)fclose(file);
    return n;
}

int in_child(void (*body)(void)) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

void *function_named(const char *name) {
    void *function = dlsym(RTLD_DEFAULT, name);
    if (function == NULL) {
        dprintf(STDERR_FILENO, "%s: no such function\n", name);
        _exit(1);
    }
    return function;
}

bool run_behaviour(char **words) {
    subject_arguments = words + 1;
    for (size_t i = 0; i < sizeof behaviours / sizeof *behaviours; i++) {
        if (strcmp(behaviours[i].name, words[0]) == 0) {
            behaviours[i].run();
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv) {
    if (argc >= 2 && run_behaviour(argv + 1)) {
        return 0;
    }
    dprintf(STDERR_FILENO, "usage: subject BEHAVIOUR [ARGUMENT ...]\n");
    return 2;
}
