/*
 * measure.h - what every C workload shares: the process's own usage before and after a piece of
 * work, and one JSON line on stdout for each measured row:
 *
 *     {"row": "8 MiB", "time": 93.1, "faults": 0.0, "system_ms": 0.0, "peak_mib": 3.4}
 *
 * The unit of time is the workload's own (bench.py names it); faults and system_ms are for one
 * step like the time.
 */
#ifndef TESTS_BENCH_MEASURE_H
#define TESTS_BENCH_MEASURE_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define PAGE (4 * KIB)

struct usage {
    double ns;
    double faults;
    double system_ms;
};

static inline double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* `who` is RUSAGE_SELF, or RUSAGE_CHILDREN where the work is to start programs. */
static inline struct usage usage_now(int who) {
    struct rusage r;
    getrusage(who, &r);
    return (struct usage){
        .ns = now_ns(),
        .faults = (double)r.ru_minflt,
        .system_ms = 1e3 * (double)r.ru_stime.tv_sec + 1e-3 * (double)r.ru_stime.tv_usec,
    };
}

static inline struct usage usage_since(struct usage start, int who) {
    struct usage now = usage_now(who);
    return (struct usage){now.ns - start.ns, now.faults - start.faults,
                          now.system_ms - start.system_ms};
}

/*
 * A field of a file in /proc that counts KiB. Without stdio, which allocates: some workloads look
 * while they may make no call of malloc at all.
 */
static inline double proc_mib(const char *path, const char *field) {
    char text[8192];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0) {
        close(file);
    }
    text[length > 0 ? length : 0] = '\0';
    const char *found = strstr(text, field);
    return found == NULL ? 0 : (double)strtol(found + strlen(field), NULL, 10) / KIB;
}

/* VmHWM and not ru_maxrss: the latter is inherited through exec from a larger parent. */
static inline double peak_mib(void) {
    return proc_mib("/proc/self/status", "VmHWM:");
}

/* Counted page by page; VmRSS is a sum of counters that each processor is a little behind with. */
static inline double resident_mib(void) {
    return proc_mib("/proc/self/smaps_rollup", "Rss:");
}

/* `time` is for one step already, in the workload's unit; `used` is for all `steps`. */
static inline void print_row(const char *row, double time, struct usage used, double steps) {
    printf("{\"row\": \"%s\", \"time\": %.6g, \"faults\": %.6g, \"system_ms\": %.6g, "
           "\"peak_mib\": %.1f}\n",
           row, time, used.faults / steps, used.system_ms / steps, peak_mib());
}

/* Where the work touches no memory there is nothing else to tell. */
static inline void print_time(const char *row, double time) {
    printf("{\"row\": \"%s\", \"time\": %.6g}\n", row, time);
}

/* A warm-up round or a quick look does a quarter of the work. */
static inline long steps_wanted(long steps) {
    return getenv("BENCH_QUICK") == NULL ? steps : steps / 4;
}

/* xorshift64* (Vigna 2016, "An experimental exploration of Marsaglia's xorshift generators"). */
static inline uint64_t random_next(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1D;
}

/* One byte in each page of [p + from, p + to). */
static inline char *touch(char *p, size_t from, size_t to) {
    for (size_t at = from; at < to; at += PAGE) {
        p[at] = 1;
    }
    return p;
}

/* Hides from the compiler what becomes of p: a malloc whose result nobody needs may be removed. */
static inline void keep(void *p) {
    __asm__ volatile("" : : "r"(p) : "memory");
}

#endif
