#include "pool/pressure_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pool/environment.h"

/* ---- the environment ---- */

enum {
    DIGIT_BITS = 6, /* of base64 */
    BYTE_BITS = 8
};

/* The value of a digit of base64; -1: it is none. */
static int digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *place = c != '\0' ? strchr(digits, c) : NULL;
    return place != NULL ? (int)(place - digits) : -1;
}

/* Is this how a text ends whose digits are `count`: filled up with "=" to a multiple of four? */
static bool ends_base64(const char *rest, size_t count) {
    static const char *const padding[] = {"", NULL, "==", "="};
    return padding[count % 4] != NULL && strcmp(rest, padding[count % 4]) == 0;
}

bool pressure_watch_decode(const char *text, unsigned char *bytes, size_t size, size_t *length) {
    unsigned bits = 0;
    unsigned pending = 0; /* bits that are no byte yet */
    size_t n = 0;
    const char *p = text;
    for (; digit(*p) >= 0; p++) {
        bits = (bits << DIGIT_BITS | (unsigned)digit(*p)) & 0xffff;
        pending += DIGIT_BITS;
        if (pending < BYTE_BITS) {
            continue;
        }
        if (n == size) {
            return false;
        }
        pending -= BYTE_BITS;
        bytes[n++] = (unsigned char)(bits >> pending);
    }
    *length = n;
    return ends_base64(p, (size_t)(p - text));
}

static const char *value_of(char *const *environment, const char *name) {
    return environment_value(environment, name, strlen(name));
}

void pressure_watch_load(struct pressure_watch_config *config, char *const *environment) {
    const char *path = value_of(environment, "MEMORY_PRESSURE_WATCH");
    const char *trigger = value_of(environment, "MEMORY_PRESSURE_WRITE");
    *config = (struct pressure_watch_config){0};
    if (path == NULL || *path != '/' || strlen(path) >= sizeof config->path) {
        return;
    }
    if (trigger == NULL || pressure_watch_decode(trigger, config->trigger, sizeof config->trigger,
                                                 &config->trigger_length)) {
        (void)stpcpy(config->path, path);
    }
}

/* ---- opening ---- */

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return -1;
    }
    (void)stpcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* For the trigger; and a FIFO that only others can write to ends with the last of them. */
static int open_file(const char *path) {
    return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

/* Remembers what fd is. */
static bool identify(struct pressure_watch *w, int fd) {
    struct stat found;
    if (fd < 0 || fstat(fd, &found) != 0) {
        return false;
    }
    w->fd = fd;
    w->device = found.st_dev;
    w->inode = found.st_ino;
    return true;
}

static void open_as(struct pressure_watch *w, const char *path, mode_t mode) {
    w->events = S_ISREG(mode) ? POLLPRI : POLLIN;
    int fd = S_ISSOCK(mode)                    ? connect_to(path)
             : S_ISREG(mode) || S_ISFIFO(mode) ? open_file(path)
                                               : -1;
    if (!identify(w, fd) && fd >= 0) {
        (void)close(fd);
    }
}

/* A peer that has gone shall not end the program: send(2) can do without SIGPIPE, write(2) cannot. */
static bool write_trigger(int fd, const struct pressure_watch_config *config, mode_t mode) {
    size_t length = config->trigger_length;
    ssize_t n = S_ISSOCK(mode) ? send(fd, config->trigger, length, MSG_NOSIGNAL)
                               : write(fd, config->trigger, length);
    return n == (ssize_t)length;
}

void pressure_watch_open(struct pressure_watch *w, const struct pressure_watch_config *config) {
    int saved_errno = errno;
    struct stat found;
    *w = (struct pressure_watch){.fd = -1};
    if (*config->path != '\0' && stat(config->path, &found) == 0) {
        open_as(w, config->path, found.st_mode);
        if (w->fd >= 0 && config->trigger_length != 0 &&
            !write_trigger(w->fd, config, found.st_mode)) {
            pressure_watch_close(w);
        }
    }
    errno = saved_errno;
}

/* ---- looking ---- */

enum {
    DRAIN_ROUNDS = 16 /* the 64 KiB of a FIFO */
};

static bool is_ours(const struct pressure_watch *w) {
    struct stat found;
    return w->fd >= 0 && fstat(w->fd, &found) == 0 && found.st_dev == w->device &&
           found.st_ino == w->inode;
}

void pressure_watch_close(struct pressure_watch *w) {
    int saved_errno = errno;
    if (is_ours(w)) {
        (void)close(w->fd);
    }
    w->fd = -1;
    errno = saved_errno;
}

/* Reads away what came, some of it where that is very much. True where anything had come; *ended
 * where nobody can send more. */
static bool drain(int fd, bool *ended) {
    static char room[4096];
    bool came = false;
    ssize_t n = 0;
    for (int round = 0; round < DRAIN_ROUNDS && (n = read(fd, room, sizeof room)) > 0; round++) {
        came = true;
    }
    *ended = n == 0 || (n < 0 && errno != EAGAIN);
    return came;
}

/* Did it fire, after what poll(2) reported? A PSI file without a trigger, or whose group has gone,
 * reports POLLERR beside POLLPRI. *ended where it will not fire again. */
static bool take(const struct pressure_watch *w, short reported, bool *ended) {
    *ended = (reported & (POLLERR | POLLNVAL | POLLHUP)) != 0;
    if ((reported & w->events) == 0 || (reported & (POLLERR | POLLNVAL)) != 0) {
        return false;
    }
    return w->events == POLLPRI || drain(w->fd, ended);
}

static bool look(struct pressure_watch *w) {
    struct pollfd one = {.fd = w->fd, .events = w->events};
    bool ended = false;
    bool fired = poll(&one, 1, 0) > 0 && take(w, one.revents, &ended);
    if (ended) {
        pressure_watch_close(w);
    }
    return fired;
}

bool pressure_watch_fired(struct pressure_watch *w) {
    int saved_errno = errno;
    bool fired = false;
    if (is_ours(w)) {
        fired = look(w);
    } else {
        w->fd = -1;
    }
    errno = saved_errno;
    return fired;
}
