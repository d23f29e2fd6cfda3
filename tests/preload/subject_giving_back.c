/*
 * subject_giving_back.c - memory that nobody uses goes back, and who does the work.
 *
 * Resident memory is read from smaps, and reading it makes no large request.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/preload/subject.h"

static size_t word_number(int i) {
    CHECK(subject_arguments[i] != NULL);
    return strtoull(subject_arguments[i], NULL, 10);
}

/* ---- what is resident ---- */

static size_t mapped(void) {
    return smaps_bytes("Rss:");
}

static size_t bound;

static bool is_resident_below_bound(void) {
    return mapped() < bound;
}

/* Within so many milliseconds, and without a large request. */
static bool falls_below(size_t bytes, uint64_t within_ms) {
    bound = bytes;
    return comes_true(is_resident_below_bound, within_ms);
}

/* ---- what the helper is ---- */

/* The value of a line of a thread's status. */
static bool read_status(const char *tid, const char *label, char *value, size_t size) {
    char path[300];
    char line[256];
    (void)snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
    FILE *file = fopen(path, "r");
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        found = strncmp(line, label, strlen(label)) == 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    if (found) {
        (void)snprintf(value, size, "%.*s", (int)strcspn(line + strlen(label), "\n"),
                       line + strlen(label));
    }
    return found;
}

/* A line of the status of the thread that is called bigmalloc. False: there is none. */
static bool read_helper(const char *label, char *value, size_t size) {
    DIR *folder = opendir("/proc/self/task");
    CHECK(folder != NULL);
    bool found = false;
    for (struct dirent *d = readdir(folder); d != NULL && !found; d = readdir(folder)) {
        char name[64] = "";
        found = read_status(d->d_name, "Name:\t", name, sizeof name) &&
                strcmp(name, "bigmalloc") == 0 && read_status(d->d_name, label, value, size);
    }
    (void)closedir(folder);
    return found;
}

/* It names itself, a moment after it began. */
static bool has_name(void) {
    char name[64];
    return read_helper("Name:\t", name, sizeof name);
}

static bool is_alone(void) {
    return stat_thread_count() == 1;
}

/* SIGKILL and SIGSTOP cannot be blocked (signal(7)); libc keeps 32 and 33 for itself (nptl(7)). */
static void check_signals_of_helper(void) {
    static const int excepted[] = {9, 19, 32, 33};
    char text[64];
    CHECK(read_helper("SigBlk:\t", text, sizeof text));
    uint64_t blocked = strtoull(text, NULL, 16);
    for (int i = 0; i < 4; i++) {
        blocked |= UINT64_C(1) << (excepted[i] - 1);
    }
    CHECK(blocked == UINT64_MAX);
}

/* A thread that runs in real time is the first to free a block. */
static void *free_in_real_time(void *unused) {
    struct sched_param first = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &first) != 0) {
        CHECK(errno == EPERM);
        _exit(FORBIDDEN);
    }
    free(get_touched(64 * MIB));
    return unused;
}

void the_helper_does_not_run_in_real_time(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_in_real_time, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(comes_true(has_name, 1000));
    char pid[64];
    CHECK(read_helper("Pid:\t", pid, sizeof pid));
    CHECK(sched_getscheduler(atoi(pid)) == SCHED_OTHER);
}

/* ---- by age ---- */

enum {
    BLOCKS = 10
};

/* How long the frees took. */
static uint64_t free_blocks_of(size_t bytes) {
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = get_touched(bytes);
    }
    uint64_t began_ms = clock_ms();
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
    return clock_ms() - began_ms;
}

/* The decay time in milliseconds is the argument. What holds until it is over may be seen too late. */
void idle_memory_goes_back_by_itself(void) {
    uint64_t decay_ms = word_number(0);
    char *live = get(30 * MIB);
    fill(live, 30 * MIB, 1);
    size_t before = mapped();
    CHECK(stat_thread_count() == 1);
    uint64_t freed_ms = clock_ms();
    (void)free_blocks_of(40 * MIB);
    CHECK(mapped() > before + 380 * MIB || clock_ms() > freed_ms + decay_ms);
    CHECK(stat_thread_count() == 2 || clock_ms() > freed_ms + decay_ms);
    CHECK(falls_below(before + 16 * MIB, decay_ms + 2000));
    CHECK(clock_ms() >= freed_ms + decay_ms);
    CHECK(is_filled(live, 30 * MIB, 1));
    CHECK(comes_true(is_alone, 3000));
}

void idle_memory_stays(void) {
    size_t before = mapped();
    (void)free_blocks_of(40 * MIB);
    CHECK(!falls_below(before + 380 * MIB, 2500));
    free(get_touched(40 * MIB));
    CHECK(mapped() > before + 380 * MIB);
    size_t threads = stat_thread_count();
    tell("threads", threads);
    if (threads == 2) {
        CHECK(comes_true(has_name, 1000));
        check_signals_of_helper();
    }
}

void idle_memory_goes_back_in_free(void) {
    size_t before = mapped();
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = get_touched(40 * MIB);
    }
    for (int i = 0; i < BLOCKS; i++) {
        size_t all = mapped();
        free(blocks[i]);
        CHECK(mapped() < all - 38 * MIB);
        CHECK(stat_thread_count() == 1);
    }
    CHECK(mapped() < before + 4 * MIB);
}

static bool a_large_free_has_made_room(void) {
    free(get(2 * MIB));
    CHECK(stat_thread_count() == 1);
    return is_resident_below_bound();
}

/* Nobody is there to do it sooner, unless the first has aged when the last is freed: then once more. */
void a_later_large_free_gives_idle_memory_back(void) {
    size_t before = mapped();
    while (free_blocks_of(40 * MIB) > 200) {
    }
    CHECK(stat_thread_count() == 1);
    CHECK(!falls_below(before + 380 * MIB, 1500));
    bound = before + 16 * MIB;
    CHECK(comes_true(a_large_free_has_made_room, 2500));
}

/* ---- small programs ---- */

void small_amounts_start_no_thread(void) {
    for (int i = 0; i < 20; i++) {
        free(get_touched(12 * MIB));
        CHECK(stat_thread_count() == 1);
    }
    char *live = get_touched(64 * MIB);
    CHECK(stat_thread_count() == 1);
    free(live);
    CHECK(stat_thread_count() == 2);
}

void a_large_free_starts_no_thread(void) {
    (void)free_blocks_of(20 * MIB);
    CHECK(stat_thread_count() == 1);
}

/* ---- because somebody asks for it ---- */

/* A thread that ends meanwhile leaves small blocks of its own. */
static bool is_trimmed(void) {
    return malloc_trim(0) == 0;
}

void malloc_trim_gives_all_back(void) {
    size_t before = mapped();
    (void)free_blocks_of(5 * MIB / 2);
    (void)free_blocks_of(33 * MIB);
    tell("idle", mapped() - before);
    CHECK(malloc_trim(0) == 1);
    CHECK(mapped() < before + 8 * MIB);
    CHECK(comes_true(is_trimmed, 3000));
}

/* The FIFO that systemd watches is the argument. */
void a_word_of_systemd_gives_all_back(void) {
    size_t before = mapped();
    (void)free_blocks_of(40 * MIB);
    CHECK(!falls_below(before + 380 * MIB, 1500));
    int fd = open(subject_arguments[0], O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    (void)close(fd);
    CHECK(falls_below(before + 16 * MIB, 2000));
}

/* ---- memory beforehand ---- */

static void check_faults_of(size_t bytes) {
    size_t before = page_faults();
    char *p = get_touched(bytes);
    CHECK(page_faults() - before < 50);
    free(p);
}

/* Idle, which it is a moment after it became resident. */
static bool is_there_beforehand(void) {
    return mallinfo2().fordblks > 60 * MIB;
}

void memory_is_there_beforehand(void) {
    size_t before = mapped();
    char *first = get(MIB);
    CHECK(comes_true(is_there_beforehand, 3000));
    CHECK(mapped() > before + 60 * MIB);
    CHECK(mapped() < before + 80 * MIB);
    check_faults_of(32 * MIB);
    free(first);
}

/* Untouched, and after a part of it was in use. */
void memory_beforehand_outlives_the_decay_time(void) {
    size_t before = mapped();
    char *first = get(MIB);
    CHECK(comes_true(is_there_beforehand, 3000));
    CHECK(mapped() > before + 60 * MIB);
    CHECK(!falls_below(before + 60 * MIB, 1500));
    check_faults_of(32 * MIB);
    CHECK(!falls_below(before + 60 * MIB, 1500));
    free(first);
}

void memory_is_there_at_once(void) {
    size_t before = mapped();
    char *first = get(MIB);
    CHECK(stat_thread_count() == 1);
    CHECK(mapped() > before + 60 * MIB);
    CHECK(mapped() < before + 80 * MIB);
    check_faults_of(32 * MIB);
    free(first);
}

/* It was as much at the last looks, too. */
static bool is_settled(void) {
    enum {
        LOOKS = 50
    };
    static size_t last;
    static int looks;
    size_t now = mapped();
    looks = now == last ? looks + 1 : 0;
    last = now;
    return looks == LOOKS;
}

/* So much more is resident when the first large request has had its effect. */
void tell_memory_beforehand(void) {
    size_t before = mapped();
    free(get(MIB));
    CHECK(comes_true(is_settled, 60 * 1000));
    tell("more", mapped() - before);
    free(get_touched(64 * MIB));
}
