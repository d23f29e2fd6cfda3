#include "pool/trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* rename */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- making it ---- */

/* The path from the root: the program may go elsewhere. */
static bool set_path(struct trace_file *f, const char *path) {
    size_t folder = 0;
    if (*path != '/') {
        if (getcwd(f->path, sizeof f->path - 1) == NULL) {
            return false;
        }
        folder = strlen(f->path);
        f->path[folder++] = '/';
    }
    if (strlen(path) >= sizeof f->path - folder) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(f->path + folder, path, strlen(path) + 1);
    return true;
}

static int create(const char *path) {
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
}

static bool is_plain_file(const char *path) {
    struct stat found;
    int saved_errno = errno;
    bool is_plain = lstat(path, &found) == 0 && S_ISREG(found.st_mode);
    errno = saved_errno;
    return is_plain;
}

/* Another process may still write to what is there under that name: the new one is beside it for a moment, so
 * that it does not get its number. */
static int replace(const char *path) {
    static const char suffix[] = ".new";
    char beside[PATH_MAX + sizeof suffix];
    size_t length = strlen(path);
    memcpy(beside, path, length);
    memcpy(beside + length, suffix, sizeof suffix);
    (void)unlink(beside);
    int fd = create(beside);
    if (fd >= 0 && rename(beside, path) != 0) {
        (void)close(fd);
        (void)unlink(beside);
        return -1;
    }
    return fd;
}

static int create_or_replace(const char *path) {
    int fd = create(path);
    return fd < 0 && errno == EEXIST && is_plain_file(path) ? replace(path) : fd;
}

/* Zeros for the birth where the file system knows none. statx(2) */
static bool identify(int fd, struct statx *s) {
    *s = (struct statx){0};
    return statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, s) == 0;
}

bool trace_file_make(struct trace_file *f, const char *path) {
    int fd = set_path(f, path) ? create_or_replace(f->path) : -1;
    if (fd < 0) {
        return false;
    }
    bool known = identify(fd, &f->made);
    (void)close(fd);
    return known;
}

/* ---- writing to it ---- */

static bool is_the_same(const struct trace_file *f, int fd) {
    const struct statx *made = &f->made;
    struct statx s;
    return identify(fd, &s) && s.stx_ino == made->stx_ino &&
           s.stx_dev_major == made->stx_dev_major && s.stx_dev_minor == made->stx_dev_minor &&
           s.stx_btime.tv_sec == made->stx_btime.tv_sec &&
           s.stx_btime.tv_nsec == made->stx_btime.tv_nsec;
}

/* The file; negative: it is gone. */
static int reopen(const struct trace_file *f) {
    int fd = open(f->path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && !is_the_same(f, fd)) {
        (void)close(fd);
        errno = ESTALE;
        return -1;
    }
    return fd;
}

/* setrlimit(2): beyond the limit there is a signal that ends the process. */
static bool may_grow_to(uint64_t bytes) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < bytes) {
        errno = EFBIG;
        return false;
    }
    return true;
}

static bool write_piece(int fd, const struct trace_piece *p) {
    const char *next = p->bytes;
    size_t left = p->count;
    uint64_t offset = p->offset;
    while (left > 0) {
        ssize_t n = pwrite(fd, next, left, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return false;
        }
        next += n;
        left -= (size_t)n;
        offset += (uint64_t)n;
    }
    return true;
}

bool trace_file_write(const struct trace_file *f, const struct trace_piece *pieces,
                      unsigned count) {
    int fd = reopen(f);
    bool done = fd >= 0;
    for (unsigned i = 0; done && i < count; i++) {
        done = may_grow_to(pieces[i].offset + pieces[i].count) && write_piece(fd, &pieces[i]);
    }
    if (fd >= 0) {
        int saved_errno = errno;
        (void)close(fd);
        errno = saved_errno;
    }
    return done;
}
