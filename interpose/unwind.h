/*
 * unwind.h - the calls that led here.
 *
 * Frame pointers are missing in most code: the tables for exceptions are what leads from one frame to the next, by
 * the unwinder of the compiler's own library, libgcc_s.so.1, which is loaded when it is first wanted, as for
 * backtrace(3). Code without such tables ends a stack early.
 */
#ifndef INTERPOSE_UNWIND_H
#define INTERPOSE_UNWIND_H

#include "pool/trace.h"

/* Once, while requests are passed through, without a lock of ours: the loader takes its own. False: there is no
 * such library, and stacks are empty. */
MUST_CHECK bool unwind_load(void);

/* The return addresses of the calling thread, whose number is given, innermost first, without those in this library. Thread-safe, not
 * async-signal-safe. Takes a lock of the loader's where glibc is older than 2.35 or libgcc than 12: the caller
 * holds none of ours. */
void unwind(struct trace_stack *s, uint32_t thread);

#endif
