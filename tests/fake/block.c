/*
 * block.c - allocations, backed by the memory of this process, and the records of them.
 *
 * Like the driver's: 2 MiB and more start on 2 MiB and take whole ones; smaller ones are packed on
 * 512 bytes into slabs of 2 MiB, one context each, which go when their last block goes. A freed
 * range stays PROT_NONE for ever (while knobs.protect), so that a late use of it faults.
 */
#include "tests/fake/driver.h"

#include <sys/mman.h>

enum {
    SLABS = 1024,
    SMALL_ALIGNMENT = 512,
    PAGE = 4096
};

#define LARGE (2 * MIB)

struct slab {
    char *start; /* NULL: this place is free */
    size_t used;
    unsigned live;
    CUcontext context;
};

static struct block *blocks_live;

static struct block blocks[BLOCKS];
static struct block *blocks_unused;
static size_t blocks_touched; /* those from here on were never used */
static struct slab slabs[SLABS];
static uint64_t last_id;

size_t round_up(size_t size, size_t unit) {
    return (size + unit - 1) / unit * unit;
}

/* ---- regions of address space, aligned on 2 MiB ---- */

/* What was unmapped last, where addresses are used again: it is the first to be. */
static char *vacant;
static size_t vacant_size;

static void *map_vacant(size_t size) {
    if (vacant == NULL || size > vacant_size) {
        return NULL;
    }
    void *start = mmap(vacant, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    vacant = NULL;
    return start != MAP_FAILED ? start : NULL;
}

void *region_map(size_t size) {
    void *again = map_vacant(size);
    if (again != NULL) {
        return again;
    }
    char *raw = mmap(NULL, size + LARGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) {
        return NULL;
    }
    char *start = raw + (LARGE - (uintptr_t)raw % LARGE) % LARGE;
    size_t end = round_up(size, PAGE);
    if (start > raw) {
        munmap(raw, (size_t)(start - raw));
    }
    munmap(start + end, (size_t)(raw + round_up(size + LARGE, PAGE) - (start + end)));
    return start;
}

void region_unmap(void *start, size_t size) {
    if (control.knobs.protect) {
        mmap(start, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
             0);
    } else {
        munmap(start, size);
        vacant = start;
        vacant_size = size;
    }
}

/* ---- the records ---- */

struct block *block_record(enum block_kind kind, CUdeviceptr address, size_t size) {
    struct block *block = blocks_unused;
    if (block != NULL) {
        blocks_unused = block->next;
    } else if (blocks_touched < BLOCKS) {
        block = &blocks[blocks_touched++];
    } else {
        return NULL;
    }
    CUcontext context = context_owner();
    *block = (struct block){.kind = kind,
                            .address = address,
                            .size = size,
                            .context = context,
                            .device = context->device,
                            .id = ++last_id,
                            .file = -1,
                            .next = blocks_live};
    if (blocks_live != NULL) {
        blocks_live->previous = block;
    }
    blocks_live = block;
    return block;
}

void block_forget(struct block *block) {
    *(block->previous != NULL ? &block->previous->next : &blocks_live) = block->next;
    if (block->next != NULL) {
        block->next->previous = block->previous;
    }
    block->next = blocks_unused;
    blocks_unused = block;
}

struct block *block_find(CUdeviceptr address) {
    for (struct block *b = blocks_live; b != NULL; b = b->next) {
        if (address - b->address < b->size && b->kind < RESERVED_ADDRESSES) {
            return b;
        }
    }
    for (struct block *b = blocks_live; b != NULL; b = b->next) {
        if (address - b->address < b->size && b->kind == MAPPED_MEMORY) {
            return b;
        }
    }
    return NULL;
}

struct block *block_starting_at(CUdeviceptr address, enum block_kind kind) {
    struct block *b = blocks_live;
    while (b != NULL && (b->address != address || b->kind != kind)) {
        b = b->next;
    }
    return b;
}

bool block_is_on_host(const struct block *block) {
    return block->kind == HOST_MEMORY || block->kind == REGISTERED_MEMORY;
}

/* ---- small ones share a slab ---- */

static struct slab *slab_with_room(CUcontext context, size_t size) {
    struct slab *free_place = NULL;
    for (struct slab *s = slabs; s < slabs + SLABS; s++) {
        if (s->start == NULL) {
            free_place = s;
        } else if (s->context == context && s->used + size <= LARGE) {
            return s;
        }
    }
    if (free_place == NULL || !device_take(context->device, LARGE)) {
        return NULL;
    }
    char *start = region_map(LARGE);
    *free_place = (struct slab){start, 0, 0, context};
    return start != NULL ? free_place : NULL;
}

static struct block *small_create(enum block_kind kind, size_t size) {
    size_t taken = round_up(size, SMALL_ALIGNMENT);
    struct slab *slab = slab_with_room(context_owner(), taken);
    if (slab == NULL) {
        return NULL;
    }
    struct block *block =
        block_record(kind, (CUdeviceptr)(uintptr_t)slab->start + slab->used, size);
    if (block != NULL) {
        block->slab = slab;
        slab->used += taken;
        slab->live++;
    }
    return block;
}

/* Only whole pages of its own can be made to fault: neighbours live on the others. */
static void small_destroy(const struct block *block) {
    struct slab *slab = block->slab;
    if (--slab->live == 0) {
        region_unmap(slab->start, LARGE);
        device_give(block->device, LARGE);
        slab->start = NULL;
        return;
    }
    size_t first = round_up(block->address, PAGE);
    size_t end = (block->address + round_up(block->size, SMALL_ALIGNMENT)) / PAGE * PAGE;
    if (control.knobs.protect && end > first) {
        mprotect((void *)first, end - first, PROT_NONE);
    }
}

/* ---- blocks with memory ---- */

static struct block *large_create(enum block_kind kind, size_t size) {
    CUdevice device = context_current()->device;
    size_t footprint = kind == HOST_MEMORY ? 0 : round_up(size, LARGE);
    if (size > SIZE_MAX / 2 || !device_take(device, footprint)) {
        return NULL;
    }
    void *start = region_map(size);
    struct block *block =
        start != NULL ? block_record(kind, (CUdeviceptr)(uintptr_t)start, size) : NULL;
    if (block == NULL) {
        device_give(device, footprint);
        return NULL;
    }
    block->footprint = footprint;
    return block;
}

CUresult block_create(enum block_kind kind, size_t size, struct block **block) {
    CUresult result = context_check();
    if (result != CUDA_SUCCESS || size == 0) {
        return result != CUDA_SUCCESS ? result : CUDA_ERROR_INVALID_VALUE;
    }
    bool is_small = size < LARGE && kind != HOST_MEMORY;
    *block = is_small ? small_create(kind, size) : large_create(kind, size);
    if (*block == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    call_value((*block)->address);
    return CUDA_SUCCESS;
}

void block_destroy(struct block *block) {
    if (block->slab != NULL) {
        small_destroy(block);
    } else if (block->kind != REGISTERED_MEMORY) {
        region_unmap((void *)block->address, round_up(block->size, PAGE));
        device_give(block->device, block->footprint);
    }
    block_forget(block);
}

/* cuda.h: memory of cuMemCreate and of cuMemAllocAsync outlives its context. */
void blocks_destroy_of(CUcontext context) {
    struct block *next;
    for (struct block *b = blocks_live; b != NULL; b = next) {
        next = b->next;
        if (b->context == context && b->kind < RESERVED_ADDRESSES && b->kind != STREAM_MEMORY) {
            block_destroy(b);
        }
    }
}
