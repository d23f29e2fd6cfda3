/*
 * process.h - how much memory this process has, as the kernel says it.
 *
 * Thread-safe, async-signal-safe, cancellation points; errno is preserved, and no descriptor stays open.
 */
#ifndef POOL_PROCESS_H
#define POOL_PROCESS_H

#include "pool/util.h"

/* Resident bytes, now and at most. Zeros: not known. proc(5), status. */
struct process_memory {
    size_t resident;
    size_t resident_peak;
};
void process_memory(struct process_memory *m);

/* Resident bytes now, for less than a hundredth of a millisecond. 0: not known. proc(5), statm. */
size_t process_resident(void);

#endif
