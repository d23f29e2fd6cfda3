/*
 * subject_live.c - processes that read their own live files; their folder is in $XDG_RUNTIME_DIR.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/preload/live_reader.h"
#include "tests/preload/subject.h"

/* One block of each kind of life, so that no figure is 0 by chance. */
static void live_a_little(void) {
    void *kept = get_touched(8 * MIB);
    free(get_touched(3 * MIB));
    free(get(3 * MIB));
    kept = realloc(kept, 20 * MIB);
    CHECK(kept != NULL);
}

/* ---- when there is a file ---- */

void a_live_file_comes_with_the_first_large_request(void) {
    free(get(MIB / 2));
    CHECK(live_files() == 0);
    free(get(MIB));
    CHECK(live_files() == 1);
    const char *path = live_path();
    struct stat s;
    CHECK(path != NULL && stat(path, &s) == 0);
    CHECK(s.st_mode == (S_IFREG | S_IRUSR | S_IWUSR) && s.st_uid == geteuid());
    *strrchr((char *)path, '/') = '\0';
    CHECK(stat(path, &s) == 0 && s.st_mode == (S_IFDIR | S_IRWXU));
}

/* Argument: how. */
void make_a_live_file_and_end(void) {
    const char *how = subject_arguments[0];
    free(get(8 * MIB));
    tell("files", live_files());
    if (strcmp(how, "_exit") == 0) {
        _exit(0);
    } else if (strcmp(how, "quick_exit") == 0) {
        quick_exit(0);
    } else if (strcmp(how, "kill") == 0) {
        (void)raise(SIGKILL);
    }
}

/* Large requests work, and there are so many files as the test thinks. */
void tell_live_files(void) {
    live_a_little();
    tell("files", live_files());
    tell("own", live_path() != NULL);
}

/* ---- what it says ---- */

/* Every request is counted here too. */
void a_live_file_counts_as_its_program_does(void) {
    enum {
        SLOTS = 8
    };
    void *slots[SLOTS] = {0};
    size_t bytes[SLOTS] = {0};
    uint32_t state = 7;
    uint64_t requests = 0;
    uint64_t asked = 0;
    uint64_t live = 0;
    for (int i = 0; i < 2000; i++) {
        unsigned at = draw(&state) % SLOTS;
        free(slots[at]);
        live -= bytes[at];
        bytes[at] = MIB + draw(&state) % (16 * MIB);
        slots[at] = get(bytes[at]);
        requests++;
        asked += bytes[at];
        live += bytes[at];
        if (i % 50 == 0) {
            live_read();
            CHECK(live_requests() == requests);
            CHECK(live_figure("requested_bytes", 0) == asked);
            CHECK(live_figure("requested_bytes", 0) - live_figure("requested_bytes", 1) == live);
        }
    }
    CHECK(live_figure("requested_bytes", 2) >= live);
}

enum {
    ROUNDS = 20000,
    THREADS = 4
};

static void *ask_and_free(void *unused) {
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        free(get(4 * MIB));
    }
    return NULL;
}

void a_live_file_counts_what_all_threads_do(void) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, ask_and_free, NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    live_read();
    CHECK(live_requests() == (uint64_t)THREADS * ROUNDS);
    /* While one thread opens the pools, jemalloc serves the others. */
    uint64_t pooled = live_requests() - live_figure("passed", 0);
    CHECK(live_figure("requested_bytes", 1) == pooled * 4 * MIB);
}

void tell_live_requests(void) {
    free(get(8 * MIB));
    live_read();
    tell("requests", live_requests());
    tell("passed", live_figure("passed", 0));
    tell("freed", live_figure("requested_bytes", 1));
}

/* As a report of the same instant has them. */
void tell_live_figures_and_dump(void) {
    live_a_little();
    CHECK(raise(SIGUSR1) == 0);
    live_read();
#define GAUGE(name, doc) \
    tell(#name ".allocated", live_figure(#name, 0)); \
    tell(#name ".freed", live_figure(#name, 1)); \
    tell(#name ".peak", live_figure(#name, 2));
#define COUNTER(name, doc) tell(#name, live_figure(#name, 0));
#define BYTES(name, doc) COUNTER(name, doc)
#include "pool/stats.def"
#undef GAUGE
#undef COUNTER
#undef BYTES
    tell("hits", live_class(3 * MIB, 0));
    tell("misses", live_class(3 * MIB, 1));
    tell("idle", live_class(3 * MIB, 2));
    tell("live", live_class(3 * MIB, 3));
    tell("requests", live_requests());
    tell("pid", live_half(64));
    tell("start_ticks", live_half(72));
}

static uint32_t dump_signal(void) {
    enum {
        DUMP_SIGNAL_AT = 60
    };
    live_read();
    return live_half(DUMP_SIGNAL_AT);
}

void a_live_file_names_the_signal_while_it_dumps(void) {
    struct sigaction old;
    struct sigaction own = {.sa_handler = SIG_IGN};
    free(get(MIB));
    CHECK(dump_signal() == SIGUSR1);
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR && dump_signal() == 0);
    CHECK(signal(SIGUSR1, SIG_DFL) != SIG_ERR && dump_signal() == SIGUSR1);
    CHECK(sigaction(SIGUSR1, &own, &old) == 0 && dump_signal() == 0);
    CHECK(sigaction(SIGUSR2, &own, NULL) == 0 && dump_signal() == 0);
    CHECK(sigaction(SIGUSR1, &old, NULL) == 0 && dump_signal() == SIGUSR1);
}

void tell_dump_signal(void) {
    free(get(MIB));
    tell("signal", dump_signal());
}

/* ---- children ---- */

static void *inherited;

static void use_inherited(void) {
    free(inherited);
    live_a_little();
    free(get(8 * MIB));
}

/* As it is a copy, a child looks for the file of its parent's by the name that that has. */
static void expect_same_file(void) {
    live_read();
    CHECK(live_is_unchanged());
}

void a_raw_clone_does_not_touch_the_live_file(void) {
    live_a_little();
    inherited = get(8 * MIB);
    live_read();
    long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    CHECK(pid >= 0);
    if (pid == 0) {
        use_inherited();
        _exit(raise(SIGUSR1));
    }
    int status = -1;
    CHECK(waitpid((pid_t)pid, &status, 0) == pid && status == 0);
    expect_same_file();
    CHECK(live_files() == 1);
}

static void have_a_file_of_its_own(void) {
    CHECK(live_path() == NULL);
    free(get(MIB / 2));
    CHECK(live_path() == NULL && live_files() == 1);
    use_inherited();
    CHECK(live_path() != NULL && live_files() == 2);
    live_read();
    CHECK(live_figure("inherited_bytes", 0) == 8 * MIB + 20 * MIB);
    CHECK(live_requests() == 4);
}

static void have_a_grandchild(void) {
    have_a_file_of_its_own();
    inherited = get(8 * MIB);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        free(get(8 * MIB));
        live_read();
        CHECK(live_files() == 3 && live_requests() == 1);
        exit(0);
    }
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(live_files() == 2);
}

void a_child_has_a_live_file_of_its_own(void) {
    live_a_little();
    inherited = get(8 * MIB);
    live_read();
    CHECK(in_child(have_a_grandchild) == 0);
    expect_same_file();
    CHECK(live_files() == 1);
}

/* It is its parent for that time, in all but its id. */
void a_vfork_child_is_counted_with_its_parent(void) {
    live_a_little();
    live_read();
    uint64_t requests = live_requests();
    pid_t pid = vfork();
    CHECK(pid >= 0);
    if (pid == 0) {
        free(get(8 * MIB));
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    live_read();
    CHECK(live_requests() == requests + 1);
}

/* Argument: the behaviour of the next program in this process. */
void make_a_live_file_and_become_another(void) {
    live_a_little();
    CHECK(live_files() == 1);
    (void)execl("/proc/self/exe", "subject", subject_arguments[0], NULL);
    CHECK(false);
}

void the_live_file_is_of_this_program(void) {
    CHECK(live_files() == 1);
    free(get(8 * MIB));
    CHECK(live_files() == 1);
    live_read();
    CHECK(live_requests() == 1);
}

/* ---- what lies in the way ---- */

static void plant(const char *what) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/bigmalloc/%s", getenv("XDG_RUNTIME_DIR"), live_name());
    if (strcmp(what, "link") == 0) {
        CHECK(symlink("../victim", path) == 0);
    } else if (strcmp(what, "fifo") == 0) {
        CHECK(mkfifo(path, 0600) == 0);
    } else if (strcmp(what, "folder") == 0) {
        CHECK(mkdir(path, 0700) == 0);
    } else {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
        CHECK(fd >= 0 && write(fd, "mine", 4) == 4 && close(fd) == 0);
    }
}

/* Argument: link, fifo, folder, or file. */
void a_name_that_is_taken_stays_as_it_is(void) {
    struct stat before;
    struct stat after;
    char path[512];
    plant(subject_arguments[0]);
    (void)snprintf(path, sizeof path, "%s/bigmalloc/%s", getenv("XDG_RUNTIME_DIR"), live_name());
    size_t files = live_files();
    CHECK(lstat(path, &before) == 0);
    live_a_little();
    CHECK(live_files() == files && lstat(path, &after) == 0);
    CHECK(before.st_ino == after.st_ino && before.st_size == after.st_size &&
          before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}
