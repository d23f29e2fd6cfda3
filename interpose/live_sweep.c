#include "interpose/live_sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pool/number.h"

enum {
    KEPT = 64,
    ENTRIES_MOST = 256,
    NAME_BYTES = 48,
    LISTING_BYTES = 4096,
    HOUR_S = 3600,
    DAY_S = 24 * HOUR_S
};

/* The newest that are of nobody, in no order. */
static struct sweep {
    int folder;
    const struct identity *who;
    time_t now;
    unsigned kept;
    struct {
        char name[NAME_BYTES];
        time_t since;
    } dead[KEPT];
} sweep;

static bool exists(size_t pid) {
    return kill((pid_t)pid, 0) == 0 || errno == EPERM;
}

/* Most files are of processes that run: those are seen to do so at a glance. The id of one that ended may
 * be another's by now, which an hour later somebody finds out. */
static bool is_plainly_alive(const char *name, const struct stat *s) {
    return exists(number_or(name, 0)) && s->st_mtime > sweep.now - HOUR_S;
}

static bool is_of_nobody(const struct live_header *h) {
    if (strncmp(h->boot_id, sweep.who->boot_id, sizeof h->boot_id) != 0) {
        return true;
    }
    size_t start_ticks = identity_start_ticks(h->pid);
    bool hides = start_ticks == 0 && exists(h->pid);
    return h->pid_ns == sweep.who->pid_ns && start_ticks != h->start_ticks && !hides;
}

/* Since when it is marked, from now on at the latest. */
static time_t mark(int fd) {
    struct stat s;
    if (fstat(fd, &s) == 0 && (s.st_mode & S_IWUSR) != 0 && fchmod(fd, S_IRUSR) == 0) {
        return sweep.now;
    }
    return s.st_ctime;
}

static void remove_file(const char *name) {
    (void)unlinkat(sweep.folder, name, 0);
}

static unsigned oldest(void) {
    unsigned place = 0;
    for (unsigned i = 1; i < sweep.kept; i++) {
        place = sweep.dead[i].since < sweep.dead[place].since ? i : place;
    }
    return place;
}

/* In the place of the oldest, where there is no other; that one goes. */
static void keep(const char *name, time_t since) {
    unsigned place = sweep.kept < KEPT ? sweep.kept++ : oldest();
    char *room = sweep.dead[place].name;
    if (*room != '\0' && sweep.dead[place].since > since) {
        remove_file(name);
        return;
    }
    if (*room != '\0') {
        remove_file(room);
    }
    memcpy(room, name, strlen(name) + 1);
    sweep.dead[place].since = since;
}

static void judge(const char *name, int fd) {
    struct live_header h;
    if (!live_read_header(fd, &h) || !is_of_nobody(&h)) {
        return;
    }
    time_t since = mark(fd);
    if (since < sweep.now - DAY_S) {
        remove_file(name);
    } else {
        keep(name, since);
    }
}

static void look_at(const char *name) {
    struct stat s;
    bool is_file = strlen(name) < NAME_BYTES && *name >= '0' && *name <= '9' &&
                   fstatat(sweep.folder, name, &s, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(s.st_mode);
    if (!is_file || is_plainly_alive(name, &s)) {
        return;
    }
    int fd = openat(sweep.folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        judge(name, fd);
        (void)close(fd);
    }
}

void live_sweep(int folder, const struct identity *who) {
    alignas(struct dirent64) char listing[LISTING_BYTES];
    sweep = (struct sweep){.folder = folder, .who = who, .now = time(NULL)};
    ssize_t n = 0;
    for (int entries = 0;
         entries < ENTRIES_MOST && (n = getdents64(folder, listing, sizeof listing)) > 0;) {
        for (ssize_t at = 0; at < n; entries++) {
            const void *entry = listing + at;
            const struct dirent64 *e = entry;
            look_at(e->d_name);
            at += e->d_reclen;
        }
    }
}
