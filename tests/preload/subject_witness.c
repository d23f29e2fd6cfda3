/*
 * subject_witness.c - memory that is registered with a device, as RDMA does, must not be exchanged
 * behind the back of whoever watches the calls of libc (lib_witness.c): the device would go on to write
 * into pages that are another block's by now.
 *
 * Each record is a page of a block, at the time live: its address, the frame behind it, and a stamp that
 * no other page has. Where the frame has changed, and with it the stamp, the witness must have
 * heard of the address since. (A frame alone may change when the kernel compacts memory: the stamp stays.)
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/preload/subject.h"

enum {
    RECORDS = 4096,
    BLOCKS = 48,
    SECONDS = 4,  /* and longer, where that is not enough for */
    ENOUGH = 600, /* changes */
    NO_FRAMES = 3 /* the exit status where the system does not tell them */
};

struct record {
    char *address;
    uint64_t frame;
    uint64_t stamp;
    size_t since; /* of the witness */
};

static struct record records[RECORDS];
static size_t (*witness_now)(void);
static bool (*witness_is_full)(void);
static bool (*witness_heard_of)(const void *address, size_t since);
static int pagemap = -1;
static int memory = -1;
static uint32_t state = 1;
static size_t changes;

/* The entry of a page: its frame, or 0 where there is none; proc_pid_pagemap(5). */
static uint64_t frame_of(const char *address) {
    uint64_t entry = 0;
    off_t place = (off_t)((uintptr_t)address / PAGE * sizeof entry);
    CHECK(pread(pagemap, &entry, sizeof entry, place) == (ssize_t)sizeof entry);
    bool is_present = (entry >> 63 & 1) != 0;
    return is_present ? entry & ((UINT64_C(1) << 55) - 1) : 0;
}

/* Without a fault where the address cannot be read any more. */
static uint64_t stamp_at(const char *address) {
    uint64_t stamp = 0;
    ssize_t n = pread(memory, &stamp, sizeof stamp, (off_t)(uintptr_t)address);
    return n == (ssize_t)sizeof stamp ? stamp : 0;
}

static void open_witness(void) {
    witness_now = (size_t(*)(void))function_named("witness_now");
    witness_is_full = (bool (*)(void))function_named("witness_is_full");
    witness_heard_of = (bool (*)(const void *, size_t))function_named("witness_heard_of");
    pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0 || memory < 0 || frame_of((char *)&state) == 0) {
        _exit(FORBIDDEN);
    }
}

/* ---- records ---- */

static void add_record(char *page) {
    static uint64_t stamps;
    struct record *r = &records[draw(&state) % RECORDS];
    r->address = page;
    r->stamp = ++stamps;
    *(volatile uint64_t *)page = r->stamp;
    r->since = witness_now();
    r->frame = frame_of(page);
    CHECK(r->frame != 0);
}

static const struct record *asked_for;

/* A call under way in another thread may be noted a moment later. */
static bool is_heard_of(void) {
    return witness_heard_of(asked_for->address, asked_for->since);
}

static void check_record(struct record *r) {
    uint64_t frame = frame_of(r->address);
    if (frame == r->frame || (frame != 0 && stamp_at(r->address) == r->stamp)) {
        return;
    }
    asked_for = r;
    if (!comes_true(is_heard_of, 1000)) {
        (void)fprintf(stderr, "%p: frame %lx became %lx\n", (void *)r->address,
                      (unsigned long)r->frame, (unsigned long)frame);
        CHECK(!"unheard of by the witness");
    }
    changes++;
    r->address = NULL;
}

static void check_records(void) {
    for (size_t i = 0; i < RECORDS; i++) {
        if (records[i].address != NULL) {
            check_record(&records[i]);
        }
    }
}

/* ---- the program ---- */

static char *blocks[BLOCKS];
static size_t sizes[BLOCKS];

static void register_pages(size_t i) {
    touch(blocks[i], sizes[i]);
    for (int n = 0; n < 8; n++) {
        add_record(blocks[i] + draw(&state) % (sizes[i] / PAGE) * PAGE);
    }
}

static void take(size_t i) {
    sizes[i] = MIB + draw(&state) % (24 * MIB);
    blocks[i] = draw(&state) % 4 == 0 ? calloc(1, sizes[i]) : malloc(sizes[i]);
    CHECK(blocks[i] != NULL);
    register_pages(i);
}

static void resize(size_t i) {
    sizes[i] = MIB + draw(&state) % (40 * MIB);
    blocks[i] = realloc(blocks[i], sizes[i]);
    CHECK(blocks[i] != NULL);
    register_pages(i);
}

static void step(void) {
    size_t i = draw(&state) % BLOCKS;
    if (blocks[i] == NULL) {
        take(i);
    } else if (draw(&state) % 3 == 0) {
        resize(i);
    } else {
        free(blocks[i]);
        blocks[i] = NULL;
    }
}

/* In phases of fewer and more blocks, with rests in which what is idle ages. */
void registered_memory_changes_only_before_a_witness(void) {
    open_witness();
    uint64_t end = clock_ms() + SECONDS * 1000;
    for (size_t n = 0; (clock_ms() < end || changes < ENOUGH) && !witness_is_full(); n++) {
        step();
        if (n % 8 == 0) {
            check_records();
        }
        if (n % 512 == 0) {
            (void)usleep(50 * 1000);
        }
    }
    check_records();
    tell("changes", changes);
}
