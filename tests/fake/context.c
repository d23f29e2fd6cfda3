/*
 * context.c - contexts, primary and created, each thread's stack of current ones, peer access.
 *
 * A context that is destroyed or reset takes its memory and its streams with it. Its place, hence
 * its address, serves the next one, which has another id: cuCtxGetId tells them apart.
 */
#include "tests/fake/driver.h"

struct cuda_context contexts[CONTEXTS]; /* the first ones are the devices' primary contexts */

static uint64_t last_id;
static __thread CUcontext stack[CONTEXT_DEPTH];
static __thread int depth;

bool context_is_alive(CUcontext context) {
    return context >= contexts && context < contexts + CONTEXTS && context->alive;
}

CUcontext context_current(void) {
    return depth > 0 ? stack[depth - 1] : NULL;
}

CUcontext context_owner(void) {
    CUcontext context = context_current();
    return context->green ? &contexts[context->device] : context;
}

uint64_t context_busy_until_ns(CUcontext context) {
    uint64_t until = context->busy_until_ns;
    for (CUcontext c = contexts; c < contexts + CONTEXTS; c++) {
        bool is_share = c->alive && c->green && context->primary && c->device == context->device;
        until = is_share && c->busy_until_ns > until ? c->busy_until_ns : until;
    }
    return until;
}

CUresult context_check(void) {
    CUcontext context = context_current();
    if (context == NULL) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    return context->alive ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

bool context_sees(CUcontext context, const struct block *block) {
    bool is_peer = (context->peers >> (block->context - contexts)) & 1;
    return block->kind != DEVICE_MEMORY || block->context == context || is_peer;
}

static void context_start(CUcontext context, CUdevice device, unsigned flags) {
    unsigned references = context->references;
    bool primary = context->primary;
    *context = (struct cuda_context){.alive = true,
                                     .primary = primary,
                                     .device = device,
                                     .id = ++last_id,
                                     .flags = flags,
                                     .references = references};
    context->legacy = (struct cuda_stream){.alive = true, .context = context};
    context->per_thread = context->legacy;
}

/* Waits for its work, as freeing its memory would. */
static void context_end(CUcontext context) {
    call_wait_for(context);
    blocks_destroy_of(context);
    streams_destroy_of(context);
    context->alive = false;
    for (CUcontext other = contexts; other < contexts + CONTEXTS; other++) {
        other->peers &= ~(1U << (context - contexts));
    }
}

/* ---- primary contexts ---- */

CUresult primary_retain(CUcontext *context, CUdevice device) {
    if (device_valid(device) < 0) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    CUcontext primary = &contexts[device];
    primary->primary = true;
    if (!primary->alive) {
        context_start(primary, device, primary->flags);
    }
    primary->references++;
    *context = primary;
    call_value((uint64_t)(uintptr_t)primary);
    return CUDA_SUCCESS;
}

CUresult primary_release(CUdevice device) {
    if (device_valid(device) < 0) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    CUcontext primary = &contexts[device];
    if (primary->references == 0) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (--primary->references == 0 && primary->alive) {
        context_end(primary);
    }
    return CUDA_SUCCESS;
}

/* Does not give up references: who has retained it still has to release it. */
CUresult primary_reset(CUdevice device) {
    if (device_valid(device) < 0) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    if (contexts[device].alive) {
        context_end(&contexts[device]);
    }
    return CUDA_SUCCESS;
}

CUresult primary_set_flags(CUdevice device, unsigned flags) {
    if (device_valid(device) < 0) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    contexts[device].flags = flags;
    return CUDA_SUCCESS;
}

CUresult primary_state(CUdevice device, unsigned *flags, int *active) {
    if (device_valid(device) < 0) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *flags = contexts[device].flags;
    *active = contexts[device].alive;
    return CUDA_SUCCESS;
}

/* ---- created ones ---- */

CUresult context_create(CUcontext *context, unsigned flags, CUdevice device) {
    if (device_valid(device) < 0) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    for (CUcontext c = contexts + FAKE_CUDA_DEVICES; c < contexts + CONTEXTS; c++) {
        if (!c->alive) {
            context_start(c, device, flags);
            *context = c;
            call_value((uint64_t)(uintptr_t)c);
            return context_push(c);
        }
    }
    return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult context_create_v3(CUcontext *context, void *affinity, int count, unsigned flags,
                           CUdevice device) {
    (void)affinity;
    (void)count;
    return context_create(context, flags, device);
}

CUresult context_create_v4(CUcontext *context, void *parameters, unsigned flags, CUdevice device) {
    (void)parameters;
    return context_create(context, flags, device);
}

CUresult context_destroy(CUcontext context) {
    if (!context_is_alive(context) || context->primary || context->green) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    context_end(context);
    if (context_current() == context) {
        depth--;
    }
    return CUDA_SUCCESS;
}

/* ---- green ones: the handle of one is that of the context it is converted into ---- */

CUresult green_create(CUgreenCtx *green, void *description, CUdevice device, unsigned flags) {
    CUcontext primary = NULL;
    CUcontext context = NULL;
    (void)description;
    CUresult result = primary_retain(&primary, device);
    if (result == CUDA_SUCCESS) {
        result = context_create(&context, flags, device);
    }
    if (result == CUDA_SUCCESS) {
        (void)context_pop(NULL);
        context->green = true;
        *green = (CUgreenCtx)context;
    }
    return result;
}

CUresult green_convert(CUcontext *context, CUgreenCtx green) {
    CUcontext c = (CUcontext)green;
    if (!context_is_alive(c) || !c->green) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    *context = c;
    call_value((uint64_t)(uintptr_t)c);
    return CUDA_SUCCESS;
}

CUresult green_destroy(CUgreenCtx green) {
    CUcontext c = (CUcontext)green;
    if (!context_is_alive(c) || !c->green) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    context_end(c);
    return primary_release(c->device);
}

/* ---- the current one ---- */

CUresult context_push(CUcontext context) {
    if (!context_is_alive(context) || depth == CONTEXT_DEPTH) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    stack[depth++] = context;
    return CUDA_SUCCESS;
}

CUresult context_pop(CUcontext *context) {
    if (depth == 0) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    depth--;
    if (context != NULL) {
        *context = stack[depth];
    }
    return CUDA_SUCCESS;
}

/* Replaces the top of the stack; NULL takes it off. */
CUresult context_set(CUcontext context) {
    if (context != NULL && !context_is_alive(context)) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (depth > 0) {
        depth--;
    }
    return context != NULL ? context_push(context) : CUDA_SUCCESS;
}

CUresult context_get(CUcontext *context) {
    *context = context_current();
    call_value((uint64_t)(uintptr_t)*context);
    return CUDA_SUCCESS;
}

/* NULL means the current one, in the functions of CUDA 13 that take a context. */
static CUresult context_or_current(CUcontext *context) {
    if (*context == NULL) {
        *context = context_current();
        return context_check();
    }
    return context_is_alive(*context) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult context_device_of(CUdevice *device, CUcontext context) {
    CUresult result = context_or_current(&context);
    if (result == CUDA_SUCCESS) {
        *device = context->device;
    }
    return result;
}

CUresult context_device(CUdevice *device) {
    return context_device_of(device, NULL);
}

CUresult context_synchronize_of(CUcontext context) {
    CUresult result = context_or_current(&context);
    if (result == CUDA_SUCCESS) {
        call_wait_for(context);
        call_value((uint64_t)(uintptr_t)context);
    }
    return result;
}

CUresult context_synchronize(void) {
    return context_synchronize_of(NULL);
}

CUresult context_id(CUcontext context, unsigned long long *id) {
    CUresult result = context_or_current(&context);
    if (result == CUDA_SUCCESS) {
        *id = context->id;
    }
    return result;
}

CUresult context_flags(unsigned *flags) {
    CUresult result = context_check();
    if (result == CUDA_SUCCESS) {
        *flags = context_current()->flags;
    }
    return result;
}

CUresult context_api_version(CUcontext context, unsigned *version) {
    CUresult result = context_or_current(&context);
    if (result == CUDA_SUCCESS) {
        *version = 3020;
    }
    return result;
}

CUresult context_priorities(int *least, int *greatest) {
    *least = 0;
    *greatest = -5;
    return context_check();
}

/* ---- peers ---- */

CUresult peer_enable(CUcontext peer, unsigned flags) {
    CUresult result = context_check();
    if (result != CUDA_SUCCESS) {
        return result;
    }
    CUcontext own = context_current();
    if (flags != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (!context_is_alive(peer) || peer == own) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (peer->device == own->device) {
        return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
    }
    uint32_t bit = 1U << (peer - contexts);
    if (own->peers & bit) {
        return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
    }
    own->peers |= bit;
    return CUDA_SUCCESS;
}

CUresult peer_disable(CUcontext peer) {
    CUresult result = context_check();
    if (result != CUDA_SUCCESS || !context_is_alive(peer)) {
        return result != CUDA_SUCCESS ? result : CUDA_ERROR_INVALID_CONTEXT;
    }
    uint32_t bit = 1U << (peer - contexts);
    if (!(context_current()->peers & bit)) {
        return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
    }
    context_current()->peers &= ~bit;
    return CUDA_SUCCESS;
}
