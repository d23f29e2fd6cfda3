#include "pool/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* rename(2) */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/writer.h"

static const mode_t MODE = 0644;

/* Nothing there, or a file that is what its name says. */
static bool is_replaceable(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0 ? S_ISREG(found.st_mode) : errno == ENOENT;
}

/* A name that a collector of *.prom or *.json passes over, and nobody else's. False: it does not fit. */
static bool name_beside(struct whole_file *f, size_t number) {
    struct writer w = writer_to(-1, f->beside, sizeof f->beside - 1);
    write_text(&w, f->path);
    write_char(&w, '.');
    write_number(&w, (size_t)getpid(), 0);
    write_char(&w, '.');
    write_number(&w, number, 0);
    write_text(&w, ".new");
    bool fits = w.length < w.size;
    f->beside[fits ? w.length : 0] = '\0';
    return fits;
}

/* What a killed process has left there goes first. */
static int open_beside(const struct whole_file *f) {
    (void)unlink(f->beside);
    return open(f->beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, MODE);
}

bool whole_file_open(struct whole_file *f, const char *path, size_t number) {
    int saved_errno = errno;
    *f = (struct whole_file){.fd = -1, .path = path};
    if (is_replaceable(path) && name_beside(f, number)) {
        f->fd = open_beside(f);
    }
    if (f->fd < 0) {
        *f->beside = '\0';
        f->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, MODE);
    }
    errno = saved_errno;
    return f->fd >= 0;
}

static bool take_place(const struct whole_file *f, bool written) {
    bool taken = written && rename(f->beside, f->path) == 0;
    if (!taken) {
        (void)unlink(f->beside);
    }
    return taken;
}

bool whole_file_close(struct whole_file *f, bool written) {
    int saved_errno = errno;
    bool stands = *f->beside != '\0' ? take_place(f, written) : written;
    (void)close(f->fd);
    f->fd = -1;
    errno = saved_errno;
    return stands;
}
