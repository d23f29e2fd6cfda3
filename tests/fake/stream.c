/*
 * stream.c - streams and events as instants until which they are busy.
 *
 * Work is done at once where it is given; what takes time is only that its stream, and the context
 * with it, stays busy. So a call that has to wait for work really waits.
 */
#include "tests/fake/driver.h"

struct cuda_event {
    bool alive;
    bool captured; /* last recorded in a capture */
    CUcontext context;
    uint64_t recorded_ns; /* 0: never */
};

struct cuda_stream streams[STREAMS];
static struct cuda_event events[EVENTS];
static uint64_t last_id;

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

struct cuda_stream *stream_of(CUstream handle, CUresult *result) {
    if (handle >= streams && handle < streams + STREAMS) {
        *result = handle->alive ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
        return handle->alive ? handle : NULL;
    }
    if (handle != NULL && handle != CU_STREAM_LEGACY && handle != CU_STREAM_PER_THREAD) {
        *result = CUDA_ERROR_INVALID_HANDLE;
        return NULL;
    }
    *result = context_check();
    if (*result != CUDA_SUCCESS) {
        return NULL;
    }
    bool per_thread = handle == CU_STREAM_PER_THREAD || (handle == NULL && call_is_per_thread());
    CUcontext context = context_current();
    return per_thread ? &context->per_thread : &context->legacy;
}

void streams_destroy_of(CUcontext context) {
    for (struct cuda_stream *s = streams; s < streams + STREAMS; s++) {
        if (s->context == context) {
            s->alive = false;
            s->capture.status = CU_STREAM_CAPTURE_STATUS_NONE;
        }
    }
    context->per_thread.capture.status = CU_STREAM_CAPTURE_STATUS_NONE;
    for (struct cuda_event *e = events; e < events + EVENTS; e++) {
        e->alive &= e->context != context;
    }
}

void streams_finish_of(CUcontext context) {
    for (struct cuda_stream *s = streams; s < streams + STREAMS; s++) {
        if (s->context == context) {
            s->busy_until_ns = 0;
        }
    }
    context->legacy.busy_until_ns = 0;
    context->per_thread.busy_until_ns = 0;
    context->busy_until_ns = 0;
}

bool stream_enqueue(CUstream handle, uint64_t work_us, CUresult *result) {
    struct cuda_stream *stream = stream_of(handle, result);
    if (stream == NULL) {
        return false;
    }
    CUcontext context = stream->context;
    if (stream == &context->legacy && capture_forbids_legacy(context)) {
        *result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        return false;
    }
    if (stream->capture.status != CU_STREAM_CAPTURE_STATUS_NONE) {
        *result = stream->capture.status == CU_STREAM_CAPTURE_STATUS_ACTIVE
                      ? CUDA_SUCCESS
                      : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        return false;
    }
    stream->busy_until_ns = later(stream->busy_until_ns, now_ns()) + work_us * 1000;
    context->busy_until_ns = later(context->busy_until_ns, stream->busy_until_ns);
    return true;
}

/* ---- streams ---- */

CUresult stream_create(CUstream *stream, unsigned flags) {
    CUresult result = context_check();
    if (result != CUDA_SUCCESS) {
        return result;
    }
    for (struct cuda_stream *s = streams; s < streams + STREAMS; s++) {
        if (!s->alive) {
            *s = (struct cuda_stream){
                .alive = true, .context = context_current(), .flags = flags, .id = ++last_id};
            *stream = s;
            call_value((uint64_t)(uintptr_t)s);
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult stream_create_priority(CUstream *stream, unsigned flags, int priority) {
    (void)priority;
    return stream_create(stream, flags);
}

/* Does not wait: what it was given is still done. */
CUresult stream_destroy(CUstream handle) {
    CUresult result;
    struct cuda_stream *stream = stream_of(handle, &result);
    if (stream == NULL || stream < streams || stream >= streams + STREAMS) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    stream->alive = false;
    return CUDA_SUCCESS;
}

/* The stream, when it may be asked and waited for: not while it is captured. */
static struct cuda_stream *stream_to_wait_for(CUstream handle, CUresult *result) {
    struct cuda_stream *stream = stream_of(handle, result);
    if (stream != NULL && stream->capture.status != CU_STREAM_CAPTURE_STATUS_NONE) {
        capture_invalidate(stream);
        *result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        return NULL;
    }
    return stream;
}

/* The legacy stream is as busy as its context: it comes after all others but non-blocking ones. */
static uint64_t stream_end(const struct cuda_stream *stream) {
    return stream == &stream->context->legacy ? stream->context->busy_until_ns
                                              : stream->busy_until_ns;
}

CUresult stream_query(CUstream handle) {
    CUresult result;
    const struct cuda_stream *stream = stream_to_wait_for(handle, &result);
    if (stream == NULL) {
        return result;
    }
    return stream_end(stream) > now_ns() ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

CUresult stream_synchronize(CUstream handle) {
    CUresult result;
    const struct cuda_stream *stream = stream_to_wait_for(handle, &result);
    if (stream != NULL) {
        call_wait_until(stream_end(stream));
    }
    return result;
}

CUresult stream_context(CUstream handle, CUcontext *context) {
    CUresult result;
    const struct cuda_stream *stream = stream_of(handle, &result);
    if (stream != NULL) {
        *context = stream->context;
    }
    return result;
}

CUresult stream_id(CUstream handle, unsigned long long *id) {
    CUresult result;
    const struct cuda_stream *stream = stream_of(handle, &result);
    if (stream != NULL) {
        *id = stream->id;
    }
    return result;
}

/* ---- events ---- */

static bool event_is_alive(CUevent event) {
    return event >= events && event < events + EVENTS && event->alive;
}

CUresult event_create(CUevent *event, unsigned flags) {
    (void)flags;
    CUresult result = context_check();
    if (result != CUDA_SUCCESS) {
        return result;
    }
    for (struct cuda_event *e = events; e < events + EVENTS; e++) {
        if (!e->alive) {
            *e = (struct cuda_event){.alive = true, .context = context_current()};
            *event = e;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult event_destroy(CUevent event) {
    if (!event_is_alive(event)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    event->alive = false;
    return CUDA_SUCCESS;
}

CUresult event_record(CUevent event, CUstream handle) {
    CUresult result;
    const struct cuda_stream *stream = stream_of(handle, &result);
    if (stream == NULL || !event_is_alive(event) || event->context != stream->context) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    bool executed = stream_enqueue(handle, 0, &result);
    if (result == CUDA_SUCCESS) {
        event->captured = !executed;
        event->recorded_ns = stream_end(stream);
    }
    return result;
}

/* CUDA_SUCCESS when the event may be asked and waited for. */
static CUresult event_check(CUevent event) {
    if (!event_is_alive(event)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    return event->captured ? CUDA_ERROR_CAPTURED_EVENT : CUDA_SUCCESS;
}

CUresult event_query(CUevent event) {
    CUresult result = event_check(event);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    return event->recorded_ns > now_ns() ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

CUresult event_synchronize(CUevent event) {
    CUresult result = event_check(event);
    if (result == CUDA_SUCCESS) {
        call_wait_until(event->recorded_ns);
    }
    return result;
}

CUresult event_elapsed(float *milliseconds, CUevent start, CUevent end) {
    if (event_check(start) != CUDA_SUCCESS || event_check(end) != CUDA_SUCCESS) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *milliseconds = (float)((double)(int64_t)(end->recorded_ns - start->recorded_ns) / 1e6);
    return end->recorded_ns > now_ns() ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

CUresult stream_wait(CUstream handle, CUevent event, unsigned flags) {
    (void)flags;
    CUresult result;
    struct cuda_stream *stream = stream_of(handle, &result);
    if (stream == NULL || !event_is_alive(event)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    stream->busy_until_ns = later(stream->busy_until_ns, event->recorded_ns);
    CUcontext context = stream->context;
    context->busy_until_ns = later(context->busy_until_ns, stream->busy_until_ns);
    return CUDA_SUCCESS;
}
