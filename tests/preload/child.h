/*
 * child.h - runs a program with the library preloaded, and says how it went.
 *
 *     struct outcome o = child_run((struct child){
 *         .arguments = {"grow", "8"}, .environment = {"BIGMALLOC_STATS=json"}});
 *     expect_success(&o);
 *     cr_assert(eq(sz, figure(&o, "totals.requests"), 1));
 *
 * TEST_LIBRARY names the library, TEST_SUBJECTS the folder of the programs; make sets both. A child
 * gets the environment of the tests without BIGMALLOC variables, and a process group of its own,
 * which is killed when it takes longer than a minute.
 */
#ifndef TESTS_PRELOAD_CHILD_H
#define TESTS_PRELOAD_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

enum {
    CHILD_WORDS = 8,
    CHILD_TIMED_OUT = -1,
    CHILD_SIGNALLED = 128 /* plus the number, as a shell has it */
};

struct child {
    const char *program;                  /* a path; NULL: the subject */
    const char *arguments[CHILD_WORDS];   /* of the program; the subject's first is a behaviour */
    const char *environment[CHILD_WORDS]; /* NAME=value */
    bool bare;                            /* without the library */
    const char *preload;                  /* one more library, by its name in the folder */
    size_t address_limit;                 /* RLIMIT_AS; 0: as it is */
    size_t data_limit;                    /* RLIMIT_DATA; 0: as it is */
    unsigned user;                        /* runs as this user; 0: as the tests do */
    const char *folder;                   /* runs there; NULL: here */
};

struct outcome {
    int status; /* of its exit, or CHILD_SIGNALLED + n, or CHILD_TIMED_OUT */
    char *out;  /* what it wrote, terminated; never freed: every test is a process */
    char *err;
    size_t peak_bytes; /* resident at most */
};

struct outcome child_run(struct child c);

/* The subject with one argument, preloaded, and no options. */
struct outcome subject_run(const char *behaviour);

/* Absolute paths. */
const char *library_path(void);
const char *subject_path(const char *name);

/* Fails the test, and shows what the child wrote, unless it exited with 0. */
void expect_success(const struct outcome *o);

/* Skips the test where the subject found that the system does not let programs do what it is about. */
void skip_if_forbidden(const struct outcome *o);

/* The n of the line "name=n" on its stdout. Fails the test if there is none. */
size_t fact(const struct outcome *o, const char *name);

/* The text of the line "name=text". */
const char *word(const struct outcome *o, const char *name);

/* The number at a path of names, as in "totals.hits" or "pools.allocated_bytes.peak", of the JSON
 * in text; the first, where the path leads through an array. Fails the test if there is none. */
size_t number_at(const char *text, const char *path);

/* number_at of its stderr. */
size_t figure(const struct outcome *o, const char *path);

/* How often `part` occurs in `text`; how many lines text has. */
size_t count(const char *text, const char *part);
size_t lines(const char *text);

/* printf into memory that stays. */
char *format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

/* A new empty folder that every user may write to; fails the test if there can be none. */
char *new_folder(void);
void remove_folder(const char *path);

/* The contents of a file, terminated; NULL: it is not there. */
char *file_text(const char *path);

/* Makes the file, or makes it new; fails the test if it cannot. */
void write_file(const char *path, const char *text);

#endif
