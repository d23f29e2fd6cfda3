#include "cuda_hooks/cuda_backend.h"

#include "cuda_hooks/driver.h"
#include "cuda_hooks/visits.h"
#include "pool/pool.h"

struct address_map cuda_backend_blocks;

/* ---- sizes ---- */

/* The driver's own pages: what is asked of it in other units is lost. Below, four classes to a page. */
static const size_t DEVICE_PAGE = 2 * MIB;
static const size_t SMALL_STEP = 256 * KIB;

/* From here on an eighth of the size would be too much to lose. */
static const size_t TO_MEASURE_FROM = 256 * MIB;

size_t cuda_backend_rounded(bool is_pinned, size_t bytes) {
    size_t class_bytes = size_class_bytes(size_class_of(bytes));
    if (bytes >= TO_MEASURE_FROM) {
        return round_up(bytes, DEVICE_PAGE);
    }
    if (is_pinned || class_bytes < 1 * MIB) {
        return class_bytes;
    }
    return round_up(class_bytes, class_bytes <= DEVICE_PAGE ? SMALL_STEP : DEVICE_PAGE);
}

/* ---- the driver's memory ---- */

/* It is the first in it. */
static struct cuda_backend *all_of(struct backend *self) {
    void *first = self;
    return first;
}

static size_t rounded(const struct backend *self, size_t bytes) {
    const void *first = self;
    return cuda_backend_rounded(cuda_backend_is_pinned(first), bytes);
}

/* On the node next to the device, as far as that is in our hands. */
static CUresult pin(struct cuda_backend *c, size_t bytes, void **address) {
    int was = 0;
    bool is_near = c->owner->before_pinning(&c->nearby, &was);
    CUresult result = driver()->cuMemHostAlloc(address, bytes, c->which - CUDA_PINNED_POOL);
    if (is_near) {
        c->owner->after_pinning(was);
    }
    return result;
}

static CUresult allocate(struct cuda_backend *c, size_t bytes, void **address) {
    if (cuda_backend_is_pinned(c)) {
        return pin(c, bytes, address);
    }
    CUdeviceptr device_address = 0;
    CUresult result = driver()->cuMemAlloc_v2(&device_address, bytes);
    *address = cuda_pointer(device_address);
    return result;
}

CUresult cuda_backend_deallocate(const struct cuda_backend *c, void *address) {
    return cuda_backend_is_pinned(c) ? driver()->cuMemFreeHost(address)
                                     : driver()->cuMemFree_v2((CUdeviceptr)address);
}

static void place(struct block *b, void *address, size_t bytes) {
    b->address = address;
    b->committed = address != NULL;
    b->has_gap = bytes % GRANULE != 0;
    block_set_held(b, block_extent(b, bytes));
}

/* What was there has been freed without our knowing: the driver would not hand it out otherwise. */
static bool enter_map(struct block *b) {
    struct block *stale = NULL;
    bool entered = address_map_put(&cuda_backend_blocks, b, &stale);
    if (stale != NULL) {
        (void)pool_forget(stale->home, stale);
    }
    return entered;
}

/* Rounded up, or, where that is refused, exactly: then it is too little for the next request of its class, and
 * goes back to the driver when it is freed. What is refused for another reason than want of memory the
 * driver may tell the program itself. */
static enum fill_result fill(struct backend *self, struct block *b, size_t bytes) {
    struct cuda_backend *c = all_of(self);
    size_t size = rounded(self, bytes);
    void *address = NULL;
    CUresult result = allocate(c, size, &address);
    if (result == CUDA_ERROR_OUT_OF_MEMORY && size != bytes) {
        result = allocate(c, bytes, &address);
        b->is_altered = result == CUDA_SUCCESS;
    }
    if (result != CUDA_SUCCESS) {
        return result == CUDA_ERROR_OUT_OF_MEMORY ? FILL_REFUSED : FILL_NO_ADDRESS;
    }
    place(b, address, size);
    if (!enter_map(b)) {
        place(b, NULL, 0);
        (void)cuda_backend_deallocate(c, address);
        return FILL_NO_ADDRESS;
    }
    return FILL_OK;
}

/* Out of the map first: as soon as it is free, the driver may hand the address out to another thread. */
static bool drain(struct backend *self, struct block *b) {
    struct cuda_backend *c = all_of(self);
    bool pushed = false;
    if (b->address == NULL) {
        return true;
    }
    if (!visits_allowed() || !context_enter(c->context, &pushed)) {
        return false;
    }
    (void)address_map_remove(&cuda_backend_blocks, b, b->address);
    bool freed = cuda_backend_deallocate(c, b->address) == CUDA_SUCCESS;
    context_leave(pushed);
    if (freed) {
        place(b, NULL, 0);
        b->is_altered = false;
    }
    if (!freed && !enter_map(b)) {
        place(b, NULL, 0); /* and the memory is lost */
        return true;
    }
    return freed;
}

struct backend cuda_backend_for(const struct context *c, unsigned which) {
    bool pinned = which != CUDA_DEVICE_POOL;
    return (struct backend){.kind = pinned ? "pinned" : "device",
                            .id = (unsigned)c->device.ordinal,
                            .variant = pinned ? which - CUDA_PINNED_POOL : 0,
                            .cannot_move = true,
                            .is_whole = true,
                            .uuid = c->device.uuid,
                            .pci_address = c->device.pci_address,
                            .device_bytes = pinned ? 0 : c->device.bytes,
                            .rounded = rounded,
                            .fill = fill,
                            .drain = drain};
}

void cuda_backend_init(struct cuda_backend *c, const struct context *context, unsigned which,
                       const struct cuda_owner *owner) {
    c->backend = cuda_backend_for(context, which);
    c->which = which;
    c->owner = owner;
    c->nearby.node = context->device.node;
    c->backend.nearby = which != CUDA_DEVICE_POOL ? &c->nearby : NULL;
}
