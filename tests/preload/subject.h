/*
 * subject.h - programs that know nothing of the library, one for each behaviour.
 *
 * subject.def lists them. Each is a function that exits with 1 and says where when something is
 * not as malloc(3) has it, and prints what only its test can judge as lines "name=value".
 * SUBJECT_TABLE is another list for subjects of another kind (tests/cuda_pools).
 */
#ifndef TESTS_PRELOAD_SUBJECT_H
#define TESTS_PRELOAD_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define PAGE ((size_t)4096)

#ifndef SUBJECT_TABLE
#define SUBJECT_TABLE "tests/preload/subject.def"
#endif

#define SUBJECT_SAME(group, name) void name(void);
#define SUBJECT_OURS(group, name) void name(void);
#define SUBJECT(name) void name(void);
#include SUBJECT_TABLE
#undef SUBJECT_SAME
#undef SUBJECT_OURS
#undef SUBJECT

/* The exit status of a behaviour that this system does not know, or does not let programs have. */
enum {
    FORBIDDEN = 3
};

/* The words after the behaviour on the command line; NULL after the last. */
extern char **subject_arguments;

/* Runs the behaviour that the first word names, with the others as its arguments. False: no such. */
bool run_behaviour(char **words);

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)
void check(bool holds, const char *what, const char *file, int line);

/* Prints name=n. */
void tell(const char *name, size_t n);

/* The same value or pointer, of which the compiler knows nothing. */
size_t opaque(size_t n);
void *opaque_pointer(void *p);

/* Contents that depend on the seed and on the place. */
void fill(void *p, size_t bytes, uint64_t seed);
bool is_filled(const void *p, size_t bytes, uint64_t seed);
bool is_zero(const void *p, size_t bytes);

/* Writes a byte to each page. */
void touch(void *p, size_t bytes);

/* malloc, which must succeed; the second one touched. */
void *get(size_t bytes);
void *get_touched(size_t bytes);

/* The next of a row of pseudo-random numbers; any state will do, but 0. */
uint32_t draw(uint32_t *state);

/* Of this process, now. */
size_t resident_bytes(void);
size_t peak_resident_bytes(void);
size_t address_bytes(void);
size_t thread_count(void);
size_t mapping_count(void);

/* The same from smaps, to the page; label as it stands there, with its colon. */
size_t smaps_bytes(const char *label);

/* The number of threads in /proc/self/stat, where CPython looks before it warns of a fork. */
size_t stat_thread_count(void);

/* Of this thread: the helper has its own. */
size_t page_faults(void);

/* Milliseconds of the monotonic clock. */
uint64_t clock_ms(void);

/* Looks again and again, without a large request, until it holds. False: not within that time, of which a machine
 * that is busy with others has more. */
bool comes_true(bool (*holds)(void), uint64_t within_ms);

/* Runs `body` in a forked child and gives its status as waitpid has it. */
int in_child(void (*body)(void));

/* The function of that name as the process sees it; it must be there. */
void *function_named(const char *name);

#endif
