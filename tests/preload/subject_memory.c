/*
 * subject_memory.c - where memory comes from, what stays, and what goes back.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/preload/subject.h"

static size_t number(const char *text) {
    CHECK(text != NULL);
    return strtoull(text, NULL, 0);
}

/* Of the mappings that begin between two addresses. */
static size_t resident_between(uintptr_t low, uintptr_t high) {
    FILE *file = fopen("/proc/self/smaps", "r");
    CHECK(file != NULL);
    uintptr_t begin = 0;
    uintptr_t end = 0;
    size_t kib = 0;
    size_t sum = 0;
    for (char line[512]; fgets(line, sizeof line, file) != NULL;) {
        (void)sscanf(line, "%lx-%lx ", &begin, &end);
        if (sscanf(line, "Rss: %zu", &kib) == 1 && begin >= low && begin < high) {
            sum += kib * KIB;
        }
    }
    (void)fclose(file);
    return sum;
}

/* Blocks that are written to from end to end, of which some are free by now, and a report. */
void tell_what_is_resident(void) {
    enum {
        BLOCKS = 40
    };
    static const size_t mib[] = {2, 3, 5, 8, 14, 20};
    void *blocks[BLOCKS];
    uintptr_t low = UINTPTR_MAX;
    uintptr_t high = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t bytes = mib[i % 6] * MIB;
        blocks[i] = get_touched(bytes);
        uintptr_t address = (uintptr_t)blocks[i];
        low = address < low ? address : low;
        high = address + bytes > high ? address + bytes : high;
    }
    for (size_t i = 0; i < BLOCKS; i += 3) {
        free(blocks[i]);
    }
    tell("resident", resident_between(low, high));
    CHECK(raise(SIGUSR1) == 0);
}

/* malloc, touch and free each of the sizes (in KiB) on the command line, then end. */
void use_sizes(void) {
    for (char **a = subject_arguments; *a != NULL; a++) {
        free(get_touched(number(*a) * KIB));
    }
}

void use_aligned(void) {
    void *p = NULL;
    CHECK(posix_memalign(&p, number(subject_arguments[0]), 3 * MIB) == 0);
    free(p);
}

/* ---- reuse ---- */

void a_freed_block_serves_the_next_request(void) {
    void *p = get_touched(64 * MIB);
    free(p);
    CHECK(get(64 * MIB) == p);
}

void the_block_freed_last_serves_first(void) {
    void *a = get(8 * MIB);
    void *b = get(8 * MIB);
    free(a);
    free(b);
    CHECK(get(8 * MIB) == b);
    CHECK(get(8 * MIB) == a);
}

void reuse_takes_no_page_faults(void) {
    free(get_touched(64 * MIB));
    size_t before = page_faults();
    for (int i = 0; i < 20; i++) {
        free(get_touched(64 * MIB));
    }
    CHECK(page_faults() - before < 100);
}

/* Sizes that differ by a little, as the shapes of batches do. */
void nearly_the_same_size_takes_no_page_faults(void) {
    free(get_touched(64 * MIB));
    size_t before = page_faults();
    for (size_t i = 0; i < 20; i++) {
        free(get_touched(64 * MIB - i * 100 * KIB));
    }
    CHECK(page_faults() - before < 100);
}

void realloc_in_place_keeps_the_address(void) {
    void *p = get(8 * MIB);
    CHECK(realloc(p, 8 * MIB - 500 * KIB) == p);
    CHECK(realloc(p, 8 * MIB) == p);
    free(p);
}

/* ---- the cache ---- */

/* Ten blocks of 40 MiB, freed together. */
void free_four_hundred_mib(void) {
    void *blocks[10];
    for (int i = 0; i < 10; i++) {
        blocks[i] = get_touched(40 * MIB);
    }
    tell("before", resident_bytes());
    for (int i = 0; i < 10; i++) {
        free(blocks[i]);
    }
    tell("after", resident_bytes());
}

/* Of two blocks the cache has room for one. */
void the_oldest_idle_block_goes_first(void) {
    size_t old_bytes = strtoull(subject_arguments[0], NULL, 10) * MIB;
    size_t young_bytes = strtoull(subject_arguments[1], NULL, 10) * MIB;
    void *old = get_touched(old_bytes);
    void *young = get_touched(young_bytes);
    free(old);
    usleep(20 * 1000);
    free(young);
    size_t before = page_faults();
    CHECK(get_touched(young_bytes) == young);
    CHECK(page_faults() - before < 10);
    before = page_faults();
    (void)get_touched(old_bytes);
    CHECK(page_faults() - before >= 5);
}

/* ---- where the system promises no more than it has (vm.overcommit_memory is 2) ---- */

static size_t meminfo_bytes(const char *label) {
    FILE *file = fopen("/proc/meminfo", "r");
    CHECK(file != NULL);
    char line[128];
    size_t bytes = SIZE_MAX;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, label, strlen(label)) == 0) {
            bytes = strtoull(line + strlen(label), NULL, 10) * KIB;
        }
    }
    (void)fclose(file);
    CHECK(bytes != SIZE_MAX);
    return bytes;
}

static size_t unpromised_bytes(void) {
    return meminfo_bytes("CommitLimit:") - meminfo_bytes("Committed_AS:");
}

/* As much as there is, in blocks that nobody touches; how much that was. */
static size_t take_and_free_all(void) {
    static void *blocks[1000];
    size_t count = 0;
    errno = 0;
    while (count < 1000 && (blocks[count] = malloc(32 * MIB)) != NULL) {
        count++;
    }
    CHECK(count < 1000 && errno == ENOMEM);
    for (size_t i = 0; i < count; i++) {
        free(blocks[i]);
    }
    return count * 32 * MIB;
}

static size_t own_bytes;

static bool own_mapping_is_granted(void) {
    void *p = mmap(NULL, own_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED && munmap(p, own_bytes) == 0;
}

static void do_nothing(void) {
}

void promises_can_be_had_and_come_back(void) {
    size_t unpromised = unpromised_bytes();
    size_t taken = take_and_free_all();
    CHECK(taken > unpromised / 4 * 3);
    own_bytes = taken / 4 * 3;
    CHECK(comes_true(own_mapping_is_granted, 3000));
    CHECK(take_and_free_all() > unpromised / 4 * 3);
    CHECK(in_child(do_nothing) == 0);
}

/* ---- refused ---- */

static bool is_refused(void *p) {
    bool refused = p == NULL && errno == ENOMEM;
    errno = 0;
    return refused;
}

void four_times_the_memory_is_refused(void) {
    struct sysinfo info;
    CHECK(sysinfo(&info) == 0);
    size_t bytes = 4 * (info.totalram + info.totalswap) * info.mem_unit;
    void *p = get(8 * MIB);
    fill(p, 8 * MIB, 1);
    errno = 0;
    CHECK(is_refused(malloc(bytes)));
    CHECK(is_refused(calloc(bytes / 8, 8)));
    CHECK(is_refused(realloc(p, bytes)));
    CHECK(is_refused(memalign(64, bytes)));
    CHECK(is_refused(memalign(4 * MIB, bytes)));
    void *q = &q;
    CHECK(posix_memalign(&q, 64, bytes) == ENOMEM && q == &q);
    CHECK(is_filled(p, 8 * MIB, 1));
    free(p);
    free(get_touched(8 * MIB));
}

/* Blocks of that many KiB until no more come; then everything goes back, and one comes again. */
void take_everything(void) {
    size_t bytes = number(subject_arguments[0]) * KIB;
    void **last = NULL;
    size_t sum = 0;
    errno = 0;
    for (void **p = malloc(bytes); p != NULL; p = malloc(bytes)) {
        touch(p, bytes);
        *p = last;
        last = p;
        sum += bytes;
    }
    CHECK(errno == ENOMEM);
    while (last != NULL) {
        void **p = last;
        last = *p;
        free(p);
    }
    CHECK(sum > 0);
    for (int i = 0; i < 10; i++) {
        free(get_touched(bytes));
    }
    tell("taken", sum);
}

void tell_addresses(void) {
    void *p = get(8 * MIB);
    tell("addresses", address_bytes());
    free(p);
}

/* A cache of one size, then a request that only fits into its place. */
void idle_blocks_make_room_for_another_size(void) {
    void *blocks[5];
    for (int i = 0; i < 5; i++) {
        blocks[i] = get_touched(64 * MIB);
    }
    for (int i = 0; i < 5; i++) {
        free(blocks[i]);
    }
    void *p = malloc(300 * MIB);
    CHECK(p != NULL);
    touch(p, 300 * MIB);
    free(p);
}

static void *nothing(void *argument) {
    return argument;
}

/* The limit comes while the program runs, as from Python's resource module. */
void a_limit_set_later_leaves_room(void) {
    free(get(8 * MIB));
    struct rlimit limit = {.rlim_cur = GIB, .rlim_max = RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    void *p = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    void *blocks[4];
    for (int i = 0; i < 4; i++) {
        blocks[i] = get_touched(64 * MIB);
    }
    for (int i = 0; i < 4; i++) {
        free(blocks[i]);
    }
    errno = 0;
    CHECK(is_refused(malloc(2 * GIB)));
    free(get_touched(100 * KIB));
    struct rlimit now;
    CHECK(getrlimit(RLIMIT_AS, &now) == 0 && now.rlim_cur == GIB);
}

/* ---- where nothing is left ---- */

static pthread_barrier_t nothing_left;

/* Whatever it asks for, it is refused that, or gets it. */
static void *ask_for_the_first_time(void *large) {
    CHECK(pthread_barrier_wait(&nothing_left) <= 0);
    if (large != NULL) {
        CHECK(is_refused(malloc(64 * MIB)));
    }
    for (int i = 0; i < 100; i++) {
        free(malloc(100));
        free(malloc(20 * KIB));
    }
    return NULL;
}

static void take_all_mappings(void) {
    for (size_t bytes = 16 * MIB; bytes >= PAGE;) {
        void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        bytes = p == MAP_FAILED ? bytes / 2 : bytes;
    }
}

/* jemalloc has some memory by then, but no more arenas than there were threads that asked for any. */
void threads_without_memory_are_refused_it(void) {
    enum {
        THREADS = 6
    };
    pthread_t threads[THREADS];
    pthread_attr_t small_stack;
    CHECK(pthread_attr_init(&small_stack) == 0);
    CHECK(pthread_attr_setstacksize(&small_stack, 128 * KIB) == 0);
    CHECK(pthread_barrier_init(&nothing_left, NULL, THREADS + 1) == 0);
    free(get(4 * MIB));
    for (int i = 0; i < THREADS; i++) {
        void *large = i % 2 == 0 ? &nothing_left : NULL;
        CHECK(pthread_create(&threads[i], &small_stack, ask_for_the_first_time, large) == 0);
    }
    take_all_mappings();
    (void)pthread_barrier_wait(&nothing_left);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* A child of vfork has its parent's memory, and a limit of its own. */
void a_limit_of_a_vfork_child_is_its_own(void) {
    free(get(8 * MIB));
    size_t before = address_bytes();
    pid_t pid = vfork();
    if (pid == 0) {
        struct rlimit limit = {.rlim_cur = GIB, .rlim_max = RLIM_INFINITY};
        _exit(setrlimit(RLIMIT_AS, &limit));
    }
    int status = -1;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(address_bytes() >= before);
}

/* Small blocks that are freed go back while the program makes only large requests. */
void small_memory_goes_back_by_and_by(void) {
    enum {
        BLOCKS = 20000
    };
    static void *blocks[BLOCKS];
    size_t before = resident_bytes();
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = get_touched(5000);
    }
    tell("used", resident_bytes() - before);
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
    for (int i = 0; i < 15; i++) {
        usleep(100 * 1000);
        free(get(8 * MIB));
    }
    tell("later", resident_bytes() - before);
}

/* ---- mappings ---- */

void a_hundred_thousand_blocks_leave_mappings(void) {
    enum {
        BLOCKS = 100 * 1000
    };
    static void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = get(5 * MIB / 2);
    }
    tell("mappings", mapping_count());
    void *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    for (int i = 0; i < BLOCKS; i += 1000) {
        fill(blocks[i], 5 * MIB / 2, (uint64_t)i);
    }
    for (int i = 0; i < BLOCKS; i += 1000) {
        CHECK(is_filled(blocks[i], 5 * MIB / 2, (uint64_t)i));
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
    (void)malloc_trim(0);
    tell("mappings_after", mapping_count());
    tell("resident_after", resident_bytes());
}

/* Prints the flags of the mapping that a block of 64 MiB lies in. */
void tell_flags_of_a_block(void) {
    void *p = get_touched(64 * MIB);
    FILE *file = fopen("/proc/self/smaps", "r");
    CHECK(file != NULL);
    char line[512];
    bool inside = false;
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long start = 0;
        unsigned long end = 0;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            inside = start <= (uintptr_t)p && (uintptr_t)p < end;
        } else if (inside && strncmp(line, "VmFlags: ", 9) == 0) {
            printf("flags=%s", line + 9);
        }
    }
    (void)fclose(file);
    free(p);
}

/* NumPy does this with each block of 4 MiB and more. */
void madvise_on_blocks_splits_no_mappings(void) {
    void *blocks[64];
    for (int i = 0; i < 64; i++) {
        blocks[i] = get(8 * MIB);
    }
    size_t before = mapping_count();
    for (int i = 0; i < 64; i++) {
        CHECK(madvise(blocks[i], 8 * MIB, MADV_HUGEPAGE) == 0);
    }
    CHECK(mapping_count() <= before + 2);
    for (int i = 0; i < 64; i++) {
        free(blocks[i]);
    }
}

void tell_figures_of_a_small_program(void) {
    free(get_touched(100 * KIB));
    tell("threads", thread_count());
    tell("addresses", address_bytes());
}
