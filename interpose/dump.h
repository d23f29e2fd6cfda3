/*
 * dump.h - when statistics are written, how much of them, and where to.
 */
#ifndef INTERPOSE_DUMP_H
#define INTERPOSE_DUMP_H

/* What BIGMALLOC_STATS asks of a process that ends; once. Allocates nothing, takes no lock. */
void dump_at_exit(void);

/* In full, now. Async-signal-safe, preserves errno. */
void dump_now(void);

/* As text, to stderr: for malloc_stats. */
void dump_to_stderr(void);

#endif
