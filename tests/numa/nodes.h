/*
 * nodes.h - what the programs of this directory share: the nodes of the machine, threads that stay on
 * one of them, blocks that are written page by page, and where the kernel says that these pages lie.
 *
 * The programs know nothing of the library: they also run without it, to see what the kernel and glibc
 * do. They print TAP, and what cannot be asked at all ends them. Every function that has to do with the
 * system ends the process where that fails.
 */
#ifndef TESTS_NUMA_NODES_H
#define TESTS_NUMA_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define HUGE_PAGE (2 * MIB)
#define PAGE ((size_t)4096)

enum {
    NODES_MAX = 16, /* as many as the machines of tests/numa/run have, and more */
    CPUS_MAX = 64,
    NOWHERE = -1 /* the node of a page that is not resident */
};

/* ---- TAP ---- */

/* One line, numbered, of what holds or not; from one thread at a time. */
void expect(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The plan, and the exit status. */
int verdict(void);

_Noreturn void give_up(const char *what);

/* ---- Nodes and processors ---- */

struct node_list {
    int count;
    int ids[NODES_MAX];
};

/* Of a list as the kernel writes it: "0,2-3". */
struct node_list node_list_of(const char *text);

bool node_list_has(const struct node_list *nodes, int id);

/* Those with a processor on which the calling thread may run now. */
struct node_list nodes_to_run_on(void);

/* Moves the calling thread to the processors of a node, and keeps it there. */
void stay_on_node(int node);

/* A number from a file of sysfs about the node, as "meminfo" has it behind `key`, in bytes. */
size_t node_bytes(int node, const char *key);

/* Reads the whole of a short file; gives up where it cannot. */
void file_read(const char *path, char *text, size_t size);

/* False: refused, and errno says why. */
bool file_write(const char *path, const char *text);

/* ---- Threads ---- */

/* Calls body(argument) on a thread of that node, and waits for its end. */
void on_node(int node, void (*body)(void *argument), void *argument);

/* Calls body(i) on a thread of nodes->ids[i % nodes->count] for each i below count, all at once. */
void on_all_nodes(const struct node_list *nodes, int count, void (*body)(int i));

/* ---- Blocks ---- */

/* A large request, and its end. An allocator may learn of nodes on the first one, which takes time, and serve
 * what others ask for meanwhile from elsewhere. */
void wake_allocator(void);

/* From one page that is written, and looked at, to the next. Looking at a page takes the kernel longer than
 * writing it. 7 has no factor in common with what the kernel and the library count in. */
enum page_step {
    ALL_PAGES = 1,
    SOME_PAGES = 7
};

struct block {
    char *address; /* NULL: none */
    size_t bytes;
    enum page_step step;
};

/* From malloc. */
struct block block_of(size_t bytes, enum page_step step);

/* Frees it, and forgets the address. */
void block_free(struct block *b);

/* Writes a word on each page that is to be written. */
void block_touch(const struct block *b);

/* Pages with another word than block_touch wrote there. */
size_t block_changed_pages(const struct block *b);

/* Xorshift, by Marsaglia (2003): the same numbers everywhere. The state is not 0. */
size_t chance(uint64_t *state, size_t n);

/* ---- Where pages lie ---- */

/* Pages by node; those that are not resident are counted nowhere. */
struct placement {
    size_t pages;
    size_t on[NODES_MAX];
};

void placement_add(struct placement *sum, const struct placement *more);

/* Pages that lie on another node than this one. */
size_t placement_elsewhere(const struct placement *p, int node);

/* Of the pages that are to be written, every `sample`th: 1 for all of them. As move_pages(2) tells, or where
 * that is refused, as /proc/self/pagemap does, which takes a root. */
struct placement block_placement(const struct block *b, size_t sample);

/* The two witnesses themselves: the node of each page, or NOWHERE. False: refused. */
bool nodes_by_move_pages(size_t count, void *const *pages, int *nodes);
bool nodes_by_pagemap(size_t count, void *const *pages, int *nodes);

/* Of all mappings in /proc/self/numa_maps that begin from `low` on and below `high`, and are no file's. */
struct placement anonymous_placement(uintptr_t low, uintptr_t high);

#endif
