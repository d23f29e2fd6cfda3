#include "tests/pool/fake_backend.h"

#include <string.h>
#include <sys/mman.h>

#include "pool/size_class.h"

/* Far from anything that is mapped. */
#define NOWHERE ((char *)(uintptr_t)(1 * TIB))

/* The address stays for ever, as that of a placed block does: nothing here frees it. */
static void place(struct fake_backend *f, struct block *b) {
    if (f->has_memory) {
        b->address = mmap(NULL, block_bytes(b), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        return;
    }
    b->address = f->next;
    f->next += round_up(block_bytes(b), GRANULE);
}

static enum fill_result fill(struct backend *self, struct block *b) {
    struct fake_backend *f = (struct fake_backend *)self;
    f->fills++;
    if (b->address == NULL && !(f->refuse_all_fills && f->refusal == FILL_NO_ADDRESS)) {
        place(f, b);
    }
    if (f->refuse_all_fills || f->fills == f->refuse_fill) {
        return f->refusal;
    }
    if (b->committed) {
        return FILL_OK;
    }
    if (f->has_memory && b->dirty_bytes > 0) {
        memset(b->address, 0, b->dirty_bytes);
    }
    b->committed = true;
    b->dirty_bytes = 0;
    return FILL_OK;
}

static void drain(struct backend *self, struct block *b) {
    struct fake_backend *f = (struct fake_backend *)self;
    if (f->drains < FAKE_HISTORY) {
        f->drained[f->drains] = b;
    }
    f->drains++;
    if (!f->refuse_drain) {
        b->committed = false;
    }
}

static bool clear(struct backend *self, struct block *b, size_t bytes) {
    struct fake_backend *f = (struct fake_backend *)self;
    f->clears++;
    f->cleared_bytes = bytes;
    if (!f->refuse_clear && f->has_memory) {
        memset(b->address, 0, bytes);
    }
    return !f->refuse_clear;
}

static bool wipe_on_fork(struct backend *self, struct block *b, bool wiped) {
    (void)b;
    struct fake_backend *f = (struct fake_backend *)self;
    if (wiped) {
        f->marks++;
        return !f->refuse_mark;
    }
    f->unmarks++;
    return !f->refuse_unmark;
}

void fake_backend_init(struct fake_backend *f, bool has_memory) {
    *f = (struct fake_backend){.backend = {.kind = "fake",
                                           .id = 3,
                                           .fill = fill,
                                           .drain = drain,
                                           .clear = clear,
                                           .wipe_on_fork = wipe_on_fork},
                               .has_memory = has_memory,
                               .next = NOWHERE,
                               .refusal = FILL_REFUSED};
}
