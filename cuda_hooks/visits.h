/*
 * visits.h - calls of the driver that nobody asked us for just now, and their end with that of the process.
 *
 * The driver's own handlers of exit take it down. Ours runs before them, waits for what is under way, and from then
 * on there are no visits any more. Thread-safe.
 */
#ifndef CUDA_HOOKS_VISITS_H
#define CUDA_HOOKS_VISITS_H

#include "cuda_hooks/cuda_abi.h"
#include "pool/util.h"

/* Around such calls, which are no affair of captures then: the end of the process waits for them. False: it has
 * begun, or the thread is in the driver already. `mode` is the thread's until the end of the visit. */
MUST_CHECK bool visits_begin(CUstreamCaptureMode *mode);
void visits_end(CUstreamCaptureMode mode);

/* May the driver be called now? Not where a stream is being captured, either. */
bool visits_allowed(void);

/* Has the end begun? */
bool visits_are_over(void);

/* Sees to the end, once; the driver is loaded, so that its handlers of exit(3) run after ours. */
void visits_register_end(void);

/* Those of the parent's threads are none of a forked child. */
void visits_reset_in_child(void);

#endif
