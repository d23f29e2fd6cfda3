#include "tests/preload/child.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    TIMEOUT_MS = 600 * 1000, /* it hangs: however slow a machine is */
    COULD_NOT_START = 125
};

extern char **environ;

char *format(const char *pattern, ...) {
    va_list arguments;
    va_start(arguments, pattern);
    char *text = NULL;
    int n = vasprintf(&text, pattern, arguments);
    va_end(arguments);
    cr_assert(n >= 0);
    return text;
}

/* ---- where things are ---- */

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value != NULL ? value : otherwise;
}

static const char *absolute(const char *path) {
    char *real = realpath(path, NULL);
    cr_assert(real != NULL, "%s: %s", path, strerror(errno));
    return real;
}

const char *library_path(void) {
    return absolute(setting("TEST_LIBRARY", "build/libbigmalloc.so"));
}

const char *subject_path(const char *name) {
    return absolute(format("%s/%s", setting("TEST_SUBJECTS", "build/tests/preload"), name));
}

/* ---- in the child, before exec ---- */

static bool limit(int resource, size_t bytes) {
    struct rlimit both = {.rlim_cur = bytes, .rlim_max = bytes};
    return bytes == 0 || setrlimit(resource, &both) == 0;
}

static void drop_our_options(void) {
    for (char **e = environ; *e != NULL;) {
        if (strncmp(*e, "BIGMALLOC", strlen("BIGMALLOC")) == 0) {
            (void)unsetenv(format("%.*s", (int)strcspn(*e, "="), *e));
            e = environ;
        } else {
            e++;
        }
    }
}

static void set_environment(const struct child *c, const char *preload) {
    drop_our_options();
    (void)unsetenv("LD_PRELOAD");
    if (preload != NULL) {
        (void)setenv("LD_PRELOAD", preload, 1);
    }
    for (int i = 0; i < CHILD_WORDS && c->environment[i] != NULL; i++) {
        (void)putenv(strdup(c->environment[i]));
    }
}

static bool change_user(unsigned user) {
    return user == 0 || (setgid(user) == 0 && setuid(user) == 0);
}

struct pipes {
    int out[2];
    int err[2];
};

static void become(const struct child *c, const char *program, const char *preload,
                   const struct pipes *p) {
    char *argv[CHILD_WORDS + 2] = {(char *)program};
    for (int i = 0; i < CHILD_WORDS && c->arguments[i] != NULL; i++) {
        argv[i + 1] = (char *)c->arguments[i];
    }
    (void)setpgid(0, 0);
    (void)dup2(p->out[1], STDOUT_FILENO);
    (void)dup2(p->err[1], STDERR_FILENO);
    bool ready = (c->folder == NULL || chdir(c->folder) == 0) && change_user(c->user) &&
                 limit(RLIMIT_AS, c->address_limit) && limit(RLIMIT_DATA, c->data_limit) &&
                 limit(RLIMIT_CORE, 1);
    set_environment(c, preload);
    if (ready) {
        (void)execvp(program, argv);
    }
    dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
    _exit(COULD_NOT_START);
}

/* ---- in the parent ---- */

struct text {
    char *bytes;
    size_t length;
};

/* False at the end of the file. */
static bool read_some(int fd, struct text *t) {
    char room[16 * 1024];
    ssize_t n = read(fd, room, sizeof room);
    if (n <= 0) {
        return false;
    }
    t->bytes = realloc(t->bytes, t->length + (size_t)n + 1);
    cr_assert(t->bytes != NULL);
    memcpy(t->bytes + t->length, room, (size_t)n);
    t->length += (size_t)n;
    t->bytes[t->length] = '\0';
    return true;
}

static long now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until both ends are closed; false if that takes too long. */
static bool read_all(const struct pipes *p, struct text *out, struct text *err) {
    struct pollfd fds[] = {{.fd = p->out[0], .events = POLLIN},
                           {.fd = p->err[0], .events = POLLIN}};
    struct text *texts[] = {out, err};
    long end = now_ms() + TIMEOUT_MS;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        long left = end - now_ms();
        if (left <= 0 || poll(fds, 2, (int)left) == 0) {
            return false;
        }
        for (int i = 0; i < 2; i++) {
            if (fds[i].revents != 0 && !read_some(fds[i].fd, texts[i])) {
                fds[i].fd = -1;
            }
        }
    }
    return true;
}

static int status_of(int wait_status) {
    return WIFSIGNALED(wait_status) ? CHILD_SIGNALLED + WTERMSIG(wait_status)
                                    : WEXITSTATUS(wait_status);
}

static struct outcome collect(pid_t pid, const struct pipes *p) {
    struct text out = {.bytes = strdup("")};
    struct text err = {.bytes = strdup("")};
    bool ended = read_all(p, &out, &err);
    if (!ended) {
        (void)kill(-pid, SIGKILL);
    }
    int status = 0;
    struct rusage usage;
    cr_assert(eq(int, wait4(pid, &status, 0, &usage), pid));
    return (struct outcome){.status = ended ? status_of(status) : CHILD_TIMED_OUT,
                            .out = out.bytes,
                            .err = err.bytes,
                            .peak_bytes = (size_t)usage.ru_maxrss * KIB};
}

/* Ours comes first, as a user would have it. */
static const char *preload_of(const struct child *c) {
    const char *more = c->preload != NULL ? subject_path(c->preload) : NULL;
    if (c->bare) {
        return more;
    }
    return more != NULL ? format("%s:%s", library_path(), more) : library_path();
}

struct outcome child_run(struct child c) {
    const char *program = c.program != NULL ? c.program : subject_path("subject");
    const char *preload = preload_of(&c);
    struct pipes p;
    cr_assert(pipe2(p.out, O_CLOEXEC) == 0 && pipe2(p.err, O_CLOEXEC) == 0);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        become(&c, program, preload, &p);
    }
    (void)close(p.out[1]);
    (void)close(p.err[1]);
    struct outcome o = collect(pid, &p);
    (void)close(p.out[0]);
    (void)close(p.err[0]);
    return o;
}

struct outcome subject_run(const char *behaviour) {
    return child_run((struct child){.arguments = {behaviour}});
}

/* ---- what it said ---- */

void expect_success(const struct outcome *o) {
    cr_assert(eq(int, o->status, 0), "stdout:\n%s\nstderr:\n%s", o->out, o->err);
}

void skip_if_forbidden(const struct outcome *o) {
    enum {
        FORBIDDEN = 3 /* as subject.h has it */
    };
    if (o->status == FORBIDDEN) {
        cr_skip_test("the system does not let programs do that");
    }
}

const char *word(const struct outcome *o, const char *name) {
    const char *label = format("%s=", name);
    for (const char *line = o->out; line != NULL && *line != '\0';) {
        if (strncmp(line, label, strlen(label)) == 0) {
            const char *start = line + strlen(label);
            return format("%.*s", (int)strcspn(start, "\n"), start);
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    cr_fatal("no line %s in:\n%s\nstderr:\n%s", label, o->out, o->err);
    return NULL;
}

size_t fact(const struct outcome *o, const char *name) {
    return strtoull(word(o, name), NULL, 10);
}

size_t number_at(const char *text, const char *path) {
    const char *at = text;
    for (const char *name = path; *name != '\0' && at != NULL;) {
        size_t length = strcspn(name, ".");
        const char *label = format("\"%.*s\": ", (int)length, name);
        at = strstr(at, label);
        at = at != NULL ? at + strlen(label) : NULL;
        name += length + (name[length] == '.');
    }
    cr_assert(at != NULL, "no %s in:\n%s", path, text);
    return strtoull(at, NULL, 10);
}

size_t figure(const struct outcome *o, const char *path) {
    return number_at(o->err, path);
}

size_t count(const char *text, const char *part) {
    size_t n = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        n++;
    }
    return n;
}

size_t lines(const char *text) {
    return count(text, "\n");
}

/* ---- files ---- */

char *new_folder(void) {
    char *path = format("%s/preload-test-XXXXXX", setting("TMPDIR", "/tmp"));
    cr_assert(mkdtemp(path) != NULL, "%s: %s", path, strerror(errno));
    cr_assert(eq(int, chmod(path, 0777), 0));
    return path;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

void remove_folder(const char *path) {
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

char *file_text(const char *path) {
    struct text t = {.bytes = strdup("")};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    while (read_some(fd, &t)) {
    }
    (void)close(fd);
    return t.bytes;
}

void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}
