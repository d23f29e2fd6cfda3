#include "tests/pool/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that hangs is a child that fails. */
enum {
    CHILD_SECONDS = 300 /* a child that hangs */
};

/* The kernel answers EFAULT where a process would be killed. write(2), read(2) */
bool is_readable(const void *p) {
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    bool readable = write(ends[1], p, 1) == 1;
    (void)close(ends[0]);
    (void)close(ends[1]);
    return readable;
}

bool is_writable(void *p) {
    int fd = open("/dev/zero", O_RDONLY);
    bool writable = read(fd, p, 1) == 1;
    (void)close(fd);
    return writable;
}

bool is_all(const void *p, size_t bytes, char value) {
    const char *text = p;
    return bytes == 0 || (text[0] == value && memcmp(text, text + 1, bytes - 1) == 0);
}

size_t resident_bytes(const void *p, size_t bytes) {
    unsigned char pages[4096];
    size_t sum = 0;
    char *from = (char *)(uintptr_t)p;
    for (size_t done = 0; done < bytes; done += sizeof pages * PAGE) {
        size_t part = size_min(bytes - done, sizeof pages * PAGE);
        if (mincore(from + done, part, pages) != 0) {
            return SIZE_MAX;
        }
        for (size_t i = 0; i < part / PAGE; i++) {
            sum += (pages[i] & 1) != 0 ? PAGE : 0;
        }
    }
    return sum;
}

/* A line of the file, without its end; false at the end of the file. No stdio: it allocates, which
 * the forked child of a process with several threads may not. */
static bool read_line(int fd, char *line, size_t size) {
    size_t n = 0;
    char c = '\0';
    while (read(fd, &c, 1) == 1 && c != '\n') {
        if (n + 1 < size) {
            line[n++] = c;
        }
    }
    line[n] = '\0';
    return c == '\n';
}

bool find_mapping(const void *p, struct mapping *m) {
    int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    char line[512];
    bool inside = false;
    bool complete = false;
    while (!complete && read_line(fd, line, sizeof line)) {
        unsigned long start = 0;
        unsigned long end = 0;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            inside = start <= (uintptr_t)p && (uintptr_t)p < end;
            *m = (struct mapping){.start = start, .end = end};
            (void)sscanf(line, "%*s %*s %*s %*s %*s %63s", m->name);
        }
        complete = inside && sscanf(line, "VmFlags:%255[^\n]", m->flags) == 1;
    }
    (void)close(fd);
    return complete;
}

size_t address_space_bytes(void) {
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    char line[128];
    unsigned long pages = 0;
    (void)read_line(fd, line, sizeof line);
    (void)sscanf(line, "%lu", &pages);
    (void)close(fd);
    return pages * PAGE;
}

bool has_flag(const void *p, const char *flag) {
    struct mapping m;
    char word[8];
    (void)snprintf(word, sizeof word, " %s ", flag);
    return find_mapping(p, &m) && strstr(m.flags, word) != NULL;
}

bool true_in_child(bool (*body)(void)) {
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(CHILD_SECONDS);
        _exit(body() ? 0 : 1);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}
