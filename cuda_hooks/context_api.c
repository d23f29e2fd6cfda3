/*
 * context_api.c - the driver's functions that begin contexts, those that end them, with all that is allocated in
 * them, and those between which a stream is captured.
 */
#include "cuda_hooks/capture.h"
#include "cuda_hooks/cuda_pools.h"
#include "cuda_hooks/driver.h"
#include "cuda_hooks/driver_api.h"

/* ---- contexts that are made ---- */

/* What a new one is expected to need is made from now on. */
static CUresult made(CUresult result, const CUcontext *context) {
    if (result == CUDA_SUCCESS && context != NULL && cuda_pool_options() != NULL) {
        cuda_pools_expect_in(*context);
        context_meet(*context);
    }
    return result;
}

/* They need memory of their device, where ours may be in the way. */
static bool make_room(CUdevice device) {
    return cuda_pool_options() != NULL && cuda_pools_make_room(device, UNLIMITED);
}

CUresult own_cuCtxCreate(CUcontext *context, unsigned int flags, CUdevice device) {
    return made(DRIVER_ANSWER_OR_ROOM(make_room(device), cuCtxCreate, context, flags, device),
                context);
}

CUresult own_cuCtxCreate_v2(CUcontext *context, unsigned int flags, CUdevice device) {
    return made(DRIVER_ANSWER_OR_ROOM(make_room(device), cuCtxCreate_v2, context, flags, device),
                context);
}

CUresult own_cuCtxCreate_v3(CUcontext *context, void *affinities, int count, unsigned int flags,
                            CUdevice device) {
    return made(DRIVER_ANSWER_OR_ROOM(make_room(device), cuCtxCreate_v3, context, affinities, count,
                                      flags, device),
                context);
}

CUresult own_cuCtxCreate_v4(CUcontext *context, void *parameters, unsigned int flags,
                            CUdevice device) {
    return made(DRIVER_ANSWER_OR_ROOM(make_room(device), cuCtxCreate_v4, context, parameters, flags,
                                      device),
                context);
}

CUresult own_cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    return made(DRIVER_ANSWER_OR_ROOM(make_room(device), cuDevicePrimaryCtxRetain, context, device),
                context);
}

CUresult own_cuGreenCtxCreate(CUgreenCtx *green, void *description, CUdevice device,
                              unsigned int flags) {
    return DRIVER_ANSWER_OR_ROOM(make_room(device), cuGreenCtxCreate, green, description, device,
                                 flags);
}

/* By this it becomes one that can be current. */
CUresult own_cuCtxFromGreenCtx(CUcontext *context, CUgreenCtx green) {
    CUresult result = DRIVER_ANSWER(cuCtxFromGreenCtx, context, green);
    if (result == CUDA_SUCCESS && cuda_pool_options() != NULL) {
        context_meet_green(*context);
    }
    return result;
}

/* ---- contexts that end ---- */

/* One that is about to be destroyed; NULL: it is not known. */
static struct context *before_destruction(CUcontext handle) UNCHECKED_LOCKING {
    struct context *c = cuda_pools_before_end(context_find(handle));
    if (c != NULL) {
        context_suspend(c);
    }
    return c;
}

static CUresult destroyed(struct context *c, CUcontext handle, CUresult result) UNCHECKED_LOCKING {
    bool gone = result == CUDA_SUCCESS;
    if (gone) {
        capture_end_context(handle);
    } else if (c != NULL) {
        context_resume(c);
    }
    cuda_pools_after_end(c, gone);
    return result;
}

CUresult own_cuCtxDestroy(CUcontext context) {
    struct context *c = before_destruction(context);
    return destroyed(c, context, DRIVER_ANSWER(cuCtxDestroy, context));
}

CUresult own_cuCtxDestroy_v2(CUcontext context) {
    struct context *c = before_destruction(context);
    return destroyed(c, context, DRIVER_ANSWER(cuCtxDestroy_v2, context));
}

CUresult own_cuCtxDetach(CUcontext context) {
    struct context *c = before_destruction(context);
    return destroyed(c, context, DRIVER_ANSWER(cuCtxDetach, context));
}

/* ---- primary contexts, which begin anew when they are retained again ---- */

static CUresult emptied(struct context *c, CUresult result) {
    if (result == CUDA_SUCCESS && c != NULL) {
        capture_end_context(c->handle);
    }
    cuda_pools_after_end(c, result == CUDA_SUCCESS);
    return result;
}

/* It ends with its last user. */
static CUresult released(struct context *c, CUresult result) {
    unsigned flags = 0;
    int active = 1;
    bool told = c != NULL && driver()->cuDevicePrimaryCtxGetState(c->device.ordinal, &flags,
                                                                  &active) == CUDA_SUCCESS;
    if (told && !active) {
        return emptied(c, result);
    }
    cuda_pools_after_end(c, false);
    return result;
}

CUresult own_cuDevicePrimaryCtxReset(CUdevice device) {
    struct context *c = cuda_pools_before_end(context_primary(device));
    return emptied(c, DRIVER_ANSWER(cuDevicePrimaryCtxReset, device));
}

CUresult own_cuDevicePrimaryCtxReset_v2(CUdevice device) {
    struct context *c = cuda_pools_before_end(context_primary(device));
    return emptied(c, DRIVER_ANSWER(cuDevicePrimaryCtxReset_v2, device));
}

CUresult own_cuDevicePrimaryCtxRelease(CUdevice device) {
    struct context *c = cuda_pools_before_end(context_primary(device));
    return released(c, DRIVER_ANSWER(cuDevicePrimaryCtxRelease, device));
}

CUresult own_cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    struct context *c = cuda_pools_before_end(context_primary(device));
    return released(c, DRIVER_ANSWER(cuDevicePrimaryCtxRelease_v2, device));
}

/* NULL: it was never made one that can be current, or the driver does not know it. */
static CUcontext handle_of(CUgreenCtx green) {
    CUcontext handle = NULL;
    CUresult (*convert)(CUcontext *, CUgreenCtx) = driver()->cuCtxFromGreenCtx;
    bool is_told = convert != NULL && convert(&handle, green) == CUDA_SUCCESS;
    return is_told ? handle : NULL;
}

/* It was a user of the primary context, maybe the last one. */
CUresult own_cuGreenCtxDestroy(CUgreenCtx green) UNCHECKED_LOCKING {
    CUcontext handle = handle_of(green);
    struct context *c = handle != NULL ? before_destruction(handle) : NULL;
    struct context *primary =
        cuda_pools_before_end(c != NULL ? context_primary(c->device.ordinal) : NULL);
    CUresult result = released(primary, DRIVER_ANSWER(cuGreenCtxDestroy, green));
    return destroyed(c, handle, result);
}

/* ---- capture ---- */

/* It counts before the driver begins: other threads free meanwhile. */
static void begin(CUstream stream) {
    capture_begin(stream, context_current_handle());
}

static CUresult began(CUresult result, CUstream stream) {
    if (result != CUDA_SUCCESS) {
        capture_end(stream);
    }
    return result;
}

/* One that was invalidated ends as well; one that this stream or thread may not end goes on. */
static bool has_ended(CUresult result) {
    return result == CUDA_SUCCESS ||
           (result >= CUDA_ERROR_STREAM_CAPTURE_INVALIDATED &&
            result <= CUDA_ERROR_CAPTURED_EVENT && result != CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
}

static CUresult ended(CUresult result, CUstream stream) {
    if (has_ended(result)) {
        capture_end(stream);
    }
    return result;
}

CUresult own_cuStreamDestroy(CUstream stream) {
    return ended(DRIVER_ANSWER(cuStreamDestroy, stream), stream);
}

CUresult own_cuStreamDestroy_v2(CUstream stream) {
    return ended(DRIVER_ANSWER(cuStreamDestroy_v2, stream), stream);
}

CUresult own_cuStreamBeginCapture(CUstream stream) {
    begin(stream);
    return began(DRIVER_ANSWER(cuStreamBeginCapture, stream), stream);
}

CUresult own_cuStreamBeginCapture_ptsz(CUstream stream) {
    begin(stream);
    return began(DRIVER_ANSWER(cuStreamBeginCapture_ptsz, stream), stream);
}

CUresult own_cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
    begin(stream);
    return began(DRIVER_ANSWER(cuStreamBeginCapture_v2, stream, mode), stream);
}

CUresult own_cuStreamBeginCapture_v2_ptsz(CUstream stream, CUstreamCaptureMode mode) {
    begin(stream);
    return began(DRIVER_ANSWER(cuStreamBeginCapture_v2_ptsz, stream, mode), stream);
}

/* NOLINTBEGIN(readability-function-size): they have six parameters */
CUresult own_cuStreamBeginCaptureToGraph(CUstream stream, CUgraph graph, const CUgraphNode *nodes,
                                         const void *edges, size_t count,
                                         CUstreamCaptureMode mode) {
    begin(stream);
    return began(
        DRIVER_ANSWER(cuStreamBeginCaptureToGraph, stream, graph, nodes, edges, count, mode),
        stream);
}

CUresult own_cuStreamBeginCaptureToGraph_ptsz(CUstream stream, CUgraph graph,
                                              const CUgraphNode *nodes, const void *edges,
                                              size_t count, CUstreamCaptureMode mode) {
    begin(stream);
    return began(
        DRIVER_ANSWER(cuStreamBeginCaptureToGraph_ptsz, stream, graph, nodes, edges, count, mode),
        stream);
}
/* NOLINTEND(readability-function-size) */

CUresult own_cuStreamEndCapture(CUstream stream, CUgraph *graph) {
    return ended(DRIVER_ANSWER(cuStreamEndCapture, stream, graph), stream);
}

CUresult own_cuStreamEndCapture_ptsz(CUstream stream, CUgraph *graph) {
    return ended(DRIVER_ANSWER(cuStreamEndCapture_ptsz, stream, graph), stream);
}
