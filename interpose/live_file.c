#include "interpose/live_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "interpose/live_sweep.h"
#include "interpose/shield.h"
#include "pool/environment.h"
#include "pool/number.h"
#include "pool/writer.h"

enum {
    FOLDER_BYTES = 256,
    NAME_BYTES = 48 /* two numbers */
};

static const struct options *options;     /* NULL: there is to be no file */
static char runtime_folder[FOLDER_BYTES]; /* "": none */

static_assert((size_t)PATTERN_BYTES <= (size_t)LIVE_PATTERN_BYTES, "no name is cut");

static struct lock lock;
static char
    path[FOLDER_BYTES + NAME_BYTES]; /* under the lock; of the file that live_header tells of */

void live_file_load(char *const *environment, const struct options *chosen) {
    static const char variable[] = "XDG_RUNTIME_DIR";
    const char *folder = environment_value(environment, variable, strlen(variable));
    if (folder != NULL && *folder == '/' && strlen(folder) < sizeof runtime_folder - NAME_BYTES) {
        memcpy(runtime_folder, folder, strlen(folder) + 1);
    }
    options = chosen;
}

/* ---- the folder ---- */

/* A place for a folder of ours, and the name of that. */
struct place {
    const char *parent;
    char name[NAME_BYTES];
};

static bool is_private(int fd) {
    struct stat s;
    struct statfs f;
    return fstat(fd, &s) == 0 && s.st_uid == geteuid() && (s.st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
           fstatfs(fd, &f) == 0 && f.f_type == TMPFS_MAGIC;
}

/* Negative: there is none that could be used. */
static int open_folder(const struct place *place) {
    int parent = open(place->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) {
        return -1;
    }
    (void)mkdirat(parent, place->name, S_IRWXU);
    int fd = openat(parent, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    (void)close(parent);
    if (fd >= 0 && !is_private(fd)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* The user's own folder is asked whose it is before anything is made in it. */
static bool is_usable(const char *folder) {
    int fd = *folder != '\0' ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool usable = fd >= 0 && is_private(fd);
    if (fd >= 0) {
        (void)close(fd);
    }
    return usable;
}

static struct writer writer_in(char *room, size_t size) {
    memset(room, 0, size);
    return writer_to(-1, room, size - 1);
}

static struct place find_place(void) {
    struct place place = {.parent = runtime_folder};
    bool own = is_usable(runtime_folder);
    struct writer w = writer_in(place.name, sizeof place.name);
    write_text(&w, own ? "bigmalloc" : "bigmalloc-");
    if (!own) {
        place.parent = "/dev/shm";
        write_number(&w, geteuid(), 0);
    }
    return place;
}

/* ---- the file ---- */

static void set_path(const struct place *place, const char *name) {
    struct writer w = writer_in(path, sizeof path);
    write_text(&w, place->parent);
    write_char(&w, '/');
    write_text(&w, place->name);
    write_char(&w, '/');
    write_text(&w, name);
}

static void set_name(char name[NAME_BYTES], const struct identity *who) {
    struct writer w = writer_in(name, NAME_BYTES);
    write_number(&w, who->pid, 0);
    write_char(&w, '-');
    write_number(&w, who->start_ticks, 0);
}

/* Was it made on this boot, and in this namespace of process ids? */
static bool is_of_here(const struct live_header *h, const struct identity *who) {
    return h->pid_ns == who->pid_ns && strncmp(h->boot_id, who->boot_id, sizeof h->boot_id) == 0;
}

static const int OPEN_ANY = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

/* What this very process left behind when it was another program: execve(2) keeps both numbers. */
static void remove_former(int folder, const char *name, const struct identity *who) {
    struct live_header h;
    int fd = openat(folder, name, O_RDONLY | OPEN_ANY);
    if (fd < 0) {
        return;
    }
    if (live_read_header(fd, &h) && is_of_here(&h, who)) {
        (void)unlinkat(folder, name, 0);
    }
    (void)close(fd);
}

static int create_file(int folder, const char *name, const struct identity *who) {
    static const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(folder, name, flags, S_IRUSR | S_IWUSR);
    if (fd < 0 && errno == EEXIST) {
        remove_former(folder, name, who);
        fd = openat(folder, name, flags, S_IRUSR | S_IWUSR);
    }
    return fd;
}

static void add_all(int fd, live_pools *next) {
    size_t cursor = 0;
    bool added = true;
    for (struct pool *p = next(&cursor); p != NULL && added; p = next(&cursor)) {
        added = live_add(fd, p);
    }
}

static bool begin(int folder, const char *name, const struct identity *who, live_pools *next) {
    int fd = create_file(folder, name, who);
    if (fd < 0) {
        return false;
    }
    bool begun = live_begin(fd, who, options->threshold, options->stats_file.text);
    if (begun) {
        add_all(fd, next);
    } else {
        (void)unlinkat(folder, name, 0);
    }
    (void)close(fd);
    return begun;
}

static void open_in(int folder, const struct place *place, live_pools *next) REQUIRES(lock) {
    char name[NAME_BYTES];
    struct identity who;
    identity_read(&who);
    if (who.start_ticks == 0 || who.pid_ns == 0 || *who.boot_id == '\0') {
        return;
    }
    set_name(name, &who);
    live_sweep(folder, &who);
    if (begin(folder, name, &who, next)) {
        set_path(place, name);
    }
}

static void open_anywhere(live_pools *next) REQUIRES(lock) {
    struct place place = find_place();
    int folder = open_folder(&place);
    if (folder >= 0) {
        open_in(folder, &place, next);
        (void)close(folder);
    }
}

void live_file_open(live_pools *next) {
    struct shield shield;
    if (options == NULL) {
        return;
    }
    shield_raise(&shield);
    lock_acquire(&lock);
    if (live_header() == NULL) {
        open_anywhere(next);
    }
    lock_release(&lock);
    shield_lower(&shield);
}

/* The file under that name is ours still, unless somebody has put another in its place. */
static bool is_own(int fd) {
    struct live_header h;
    const struct live_header *own = live_header();
    return live_read_header(fd, &h) && h.pid == own->pid && h.started_us == own->started_us &&
           h.start_ticks == own->start_ticks;
}

static void add_later(struct pool *p) REQUIRES(lock) {
    int fd = open(path, O_RDWR | OPEN_ANY);
    if (fd < 0) {
        return;
    }
    if (is_own(fd)) {
        (void)live_add(fd, p);
    }
    (void)close(fd);
}

void live_file_add(struct pool *p) {
    struct shield shield;
    shield_raise(&shield);
    lock_acquire(&lock);
    if (live_header() != NULL) {
        add_later(p);
    }
    lock_release(&lock);
    shield_lower(&shield);
}

void live_file_close(void) {
    int saved_errno = errno;
    if (live_header() != NULL) {
        live_end();
        (void)unlink(path);
    }
    errno = saved_errno;
}

void live_file_after_fork_in_child(void) UNCHECKED_LOCKING {
    lock_reset(&lock);
    live_after_fork_in_child();
}
