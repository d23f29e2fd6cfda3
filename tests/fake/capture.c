/*
 * capture.c - the rules of stream capture, as cuda.h states them for
 * cuThreadExchangeStreamCaptureMode.
 *
 * A call that may be unsafe (an allocation, a free, waiting) is refused with 900, and the captures
 * that forbade it are lost, when this thread captures (other than RELAXED), or when another thread
 * captures in GLOBAL mode while this one's own mode is GLOBAL. A thread whose own mode is RELAXED
 * may do all of it. What is given to a stream that is captured is not done.
 */
#include "tests/fake/driver.h"

static uint64_t last_id;
static __thread CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

/* Calls judge for every stream that is being captured; true when it was true for one of them. */
static bool any_capture(bool (*judge)(struct cuda_stream *, const void *), const void *with) {
    bool any = false;
    for (struct cuda_stream *s = streams; s < streams + STREAMS; s++) {
        if (s->alive && s->capture.status == CU_STREAM_CAPTURE_STATUS_ACTIVE) {
            any |= judge(s, with);
        }
    }
    for (CUcontext c = contexts; c < contexts + CONTEXTS; c++) {
        if (c->alive && c->per_thread.capture.status == CU_STREAM_CAPTURE_STATUS_ACTIVE) {
            any |= judge(&c->per_thread, with);
        }
    }
    return any;
}

bool capture_invalidate(struct cuda_stream *stream) {
    stream->capture.status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    return true;
}

static bool forbids_unsafe_calls(struct cuda_stream *stream, const void *unused) {
    (void)unused;
    const struct capture *capture = &stream->capture;
    bool forbids =
        capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
        (capture->thread == thread_id() || (capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                                            thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL));
    return forbids && capture_invalidate(stream);
}

bool capture_forbids(void) {
    return thread_mode != CU_STREAM_CAPTURE_MODE_RELAXED && any_capture(forbids_unsafe_calls, NULL);
}

/* The legacy stream waits for every stream that is not non-blocking, which no capture can record. */
static bool forbids_legacy_stream(struct cuda_stream *stream, const void *context) {
    bool forbids = stream->context == context && !(stream->flags & CU_STREAM_NON_BLOCKING);
    return forbids && capture_invalidate(stream);
}

bool capture_forbids_legacy(CUcontext context) {
    return any_capture(forbids_legacy_stream, context);
}

CUresult capture_begin(CUstream handle, CUstreamCaptureMode mode) {
    CUresult result;
    struct cuda_stream *stream = stream_of(handle, &result);
    if (stream == NULL) {
        return result;
    }
    if (stream == &stream->context->legacy) {
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (stream->capture.status != CU_STREAM_CAPTURE_STATUS_NONE) {
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    stream->capture =
        (struct capture){CU_STREAM_CAPTURE_STATUS_ACTIVE, mode, thread_id(), ++last_id};
    return CUDA_SUCCESS;
}

CUresult capture_begin_v1(CUstream stream) {
    return capture_begin(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

CUresult capture_begin_to_graph(CUstream stream, CUgraph graph, const CUgraphNode *dependencies,
                                const void *edges, size_t count, CUstreamCaptureMode mode) {
    (void)graph;
    (void)dependencies;
    (void)edges;
    (void)count;
    return capture_begin(stream, mode);
}

CUresult capture_end(CUstream handle, CUgraph *graph) {
    CUresult result;
    struct cuda_stream *stream = stream_of(handle, &result);
    if (stream == NULL) {
        return result;
    }
    const struct capture capture = stream->capture;
    if (capture.status == CU_STREAM_CAPTURE_STATUS_NONE) {
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    if (capture.mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture.thread != thread_id()) {
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    }
    stream->capture.status = CU_STREAM_CAPTURE_STATUS_NONE;
    bool lost = capture.status == CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    *graph = lost ? NULL : (CUgraph)(uintptr_t)capture.id; /* nothing can be done with it */
    return lost ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS;
}

CUresult capture_info(CUstream handle, CUstreamCaptureStatus *status, uint64_t *id) {
    CUresult result;
    struct cuda_stream *stream = stream_of(handle, &result);
    if (stream == NULL) {
        return result;
    }
    *status = stream->capture.status;
    if (id != NULL) {
        *id = stream->capture.id;
    }
    return CUDA_SUCCESS;
}

CUresult capture_info_v2(CUstream stream, CUstreamCaptureStatus *status, uint64_t *id,
                         CUgraph *graph, const CUgraphNode **dependencies, size_t *count) {
    (void)graph;
    (void)dependencies;
    (void)count;
    return capture_info(stream, status, id);
}

CUresult capture_status(CUstream stream, CUstreamCaptureStatus *status) {
    return capture_info(stream, status, NULL);
}

CUresult capture_exchange_mode(CUstreamCaptureMode *mode) {
    if (*mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    CUstreamCaptureMode previous = thread_mode;
    call_value(*mode);
    thread_mode = *mode;
    *mode = previous;
    return CUDA_SUCCESS;
}
