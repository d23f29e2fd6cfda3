/*
 * inject.h - system calls of the library that fail, or see other files, as a test wishes.
 *
 * The test program is linked with -Wl,--wrap=NAME for every call of this table, so that a call from
 * the library or from a test arrives here first.
 */
#ifndef TESTS_POOL_INJECT_H
#define TESTS_POOL_INJECT_H

#include "pool/util.h"

enum call {
    CALL_MMAP,
    CALL_MUNMAP,
    CALL_MPROTECT,
    CALL_MADVISE,
    CALL_MREMAP,
    CALL_PRCTL,
    CALL_WRITE,
    CALL_OPEN,
    CALL_READ,
    CALL_POSIX_FALLOCATE,
    CALLS
};

/* mremap(2) with MREMAP_FIXED unmaps its destination first, and may fail thereafter. */
enum hole {
    HOLE_NONE, /* the destination is as it was */
    HOLE_LEFT, /* it is unmapped */
    HOLE_TAKEN /* and another thread has mapped something there since */
};

enum {
    STRANGER = 0x5a /* every byte of what that was */
};

struct inject {
    size_t calls[CALLS];     /* so far */
    size_t fail_from[CALLS]; /* the first that fails, 1 for the next; 0: none */
    size_t fail_count[CALLS];
    int error;             /* the errno of failures; 0: ENOMEM */
    enum hole mremap_hole; /* what a refused mremap leaves of its destination */
    void *stranger;        /* the last that HOLE_TAKEN has put there, STRANGER in every byte */
    size_t mmap_largest;   /* longer ones are refused; 0: no limit */
    int madvise_advice;    /* only this advice is counted and fails; 0: any */
    size_t write_most;     /* a write takes so many bytes at most; 0: no limit */
    short poll_reports;    /* what poll finds on its first descriptor; 0: it asks the system */
    unsigned node;         /* of the processor that the caller runs on */
    const char *root;      /* files below /proc and /sys are opened below this; NULL: as usual */
};

extern struct inject inject;

/* Lets call number `from`, counted from now, and `count - 1` more of that kind fail. */
void inject_failures(enum call call, size_t from, size_t count);

/* All calls work again, and none has been counted. */
void inject_nothing(void);

#endif
