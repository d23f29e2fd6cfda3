/*
 * capture.h - which streams are being captured. While any is, calls of the driver that were not asked for could
 * spoil the capture, whichever thread makes them ("potentially unsafe API calls" of cuStreamBeginCapture).
 *
 * A capture ends when it is ended, and with its stream or its context. Thread-safe, not async-signal-safe.
 */
#ifndef CUDA_HOOKS_CAPTURE_H
#define CUDA_HOOKS_CAPTURE_H

#include "cuda_hooks/cuda_abi.h"
#include "pool/util.h"

bool capture_is_under_way(void);

/* The context is the calling thread's; NULL: not known. */
void capture_begin(CUstream stream, CUcontext context);

/* Of one that is not being captured: nothing changes. */
void capture_end(CUstream stream);

void capture_end_context(CUcontext context);

/* What the calling thread does is no affair of captures between two of these, of which the first gets
 * CU_STREAM_CAPTURE_MODE_RELAXED and the second what that has left there. For calls of ours, which a stream that
 * another thread has begun to capture meanwhile would not survive. */
void capture_exchange_mode(CUstreamCaptureMode *mode);

/* In a forked child: there is none. */
void capture_reset_in_child(void);

#endif
