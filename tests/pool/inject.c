#include "tests/pool/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

struct inject inject;

void inject_failures(enum call call, size_t from, size_t count) {
    inject.calls[call] = 0;
    inject.fail_from[call] = from;
    inject.fail_count[call] = count;
}

void inject_nothing(void) {
    inject = (struct inject){0};
}

static bool refuse(void) {
    errno = inject.error != 0 ? inject.error : ENOMEM;
    return true;
}

static bool fails(enum call call) {
    size_t n = ++inject.calls[call];
    size_t from = inject.fail_from[call];
    return from != 0 && n >= from && n - from < inject.fail_count[call] && refuse();
}

/* The linker gives the names: __wrap_X takes the calls of X, __real_X is X. */
void *__real_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t bytes);
int __real_mprotect(void *address, size_t bytes, int protection);
int __real_madvise(void *address, size_t bytes, int advice);
void *__real_mremap(void *old, size_t old_bytes, size_t bytes, int flags, ...);
int __real_prctl(int option, ...);
ssize_t __real_write(int fd, const void *bytes, size_t count);
ssize_t __real_read(int fd, void *bytes, size_t count);
int __real_poll(struct pollfd *all, nfds_t count, int timeout_ms);
int __real_posix_fallocate(int fd, off_t offset, off_t bytes);
int __real_open(const char *path, int flags, ...);

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *address, size_t bytes);
int __wrap_getcpu(unsigned *cpu, unsigned *node);
int __wrap_mprotect(void *address, size_t bytes, int protection);
int __wrap_madvise(void *address, size_t bytes, int advice);
void *__wrap_mremap(void *old, size_t old_bytes, size_t bytes, int flags, ...);
int __wrap_prctl(int option, ...);
ssize_t __wrap_write(int fd, const void *bytes, size_t count);
ssize_t __wrap_read(int fd, void *bytes, size_t count);
int __wrap_poll(struct pollfd *all, nfds_t count, int timeout_ms);
int __wrap_open(const char *path, int flags, ...);
int __wrap_posix_fallocate(int fd, off_t offset, off_t bytes);

int __wrap_getcpu(unsigned *cpu, unsigned *node) {
    (void)cpu;
    *node = inject.node;
    return 0;
}

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    bool too_large = inject.mmap_largest != 0 && bytes > inject.mmap_largest && refuse();
    if (fails(CALL_MMAP) || too_large) {
        return MAP_FAILED;
    }
    return __real_mmap(address, bytes, protection, flags, fd, offset);
}

int __wrap_munmap(void *address, size_t bytes) {
    return fails(CALL_MUNMAP) ? -1 : __real_munmap(address, bytes);
}

int __wrap_mprotect(void *address, size_t bytes, int protection) {
    return fails(CALL_MPROTECT) ? -1 : __real_mprotect(address, bytes, protection);
}

int __wrap_madvise(void *address, size_t bytes, int advice) {
    bool counts = inject.madvise_advice == 0 || inject.madvise_advice == advice;
    return counts && fails(CALL_MADVISE) ? -1 : __real_madvise(address, bytes, advice);
}

static void leave_hole(void *to, size_t bytes) {
    if (inject.mremap_hole == HOLE_NONE) {
        return;
    }
    int saved_errno = errno;
    (void)__real_munmap(to, bytes);
    if (inject.mremap_hole == HOLE_TAKEN) {
        inject.stranger = __real_mmap(to, bytes, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        memset(inject.stranger, STRANGER, bytes);
    }
    errno = saved_errno;
}

void *__wrap_mremap(void *old, size_t old_bytes, size_t bytes, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    void *to = (flags & MREMAP_FIXED) != 0 ? va_arg(arguments, void *) : NULL;
    va_end(arguments);
    if (fails(CALL_MREMAP)) {
        leave_hole(to, bytes);
        return MAP_FAILED;
    }
    return __real_mremap(old, old_bytes, bytes, flags, to);
}

int __wrap_prctl(int option, ...) {
    va_list arguments;
    va_start(arguments, option);
    unsigned long a[4];
    for (int i = 0; i < 4; i++) {
        a[i] = va_arg(arguments, unsigned long);
    }
    va_end(arguments);
    return fails(CALL_PRCTL) ? -1 : __real_prctl(option, a[0], a[1], a[2], a[3]);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t count) {
    if (fails(CALL_WRITE)) {
        return -1;
    }
    return __real_write(fd, bytes,
                        inject.write_most != 0 ? size_min(count, inject.write_most) : count);
}

ssize_t __wrap_read(int fd, void *bytes, size_t count) {
    return fails(CALL_READ) ? -1 : __real_read(fd, bytes, count);
}

/* It answers with the error, and leaves errno alone. */
int __wrap_posix_fallocate(int fd, off_t offset, off_t bytes) {
    int saved_errno = errno;
    int error = fails(CALL_POSIX_FALLOCATE) ? errno : 0;
    errno = saved_errno;
    return error != 0 ? error : __real_posix_fallocate(fd, offset, bytes);
}

int __wrap_poll(struct pollfd *all, nfds_t count, int timeout_ms) {
    if (inject.poll_reports == 0) {
        return __real_poll(all, count, timeout_ms);
    }
    all[0].revents = inject.poll_reports;
    return 1;
}

int __wrap_open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    char below[4096];
    bool is_system = strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0;
    if (inject.root != NULL && is_system) {
        (void)snprintf(below, sizeof below, "%s%s", inject.root, path);
        path = below;
    }
    return fails(CALL_OPEN) ? -1 : __real_open(path, flags, mode);
}
