#include "tests/pool/fake_backend.h"

#include <string.h>
#include <sys/mman.h>

#include "pool/size_class.h"

/* Far from anything that is mapped. */
#define NOWHERE ((char *)(uintptr_t)(1 * TIB))

/* The address stays for ever, as that of a placed block does: nothing here frees it. */
static void place(struct fake_backend *f, struct block *b) {
    size_t bytes = round_up(block_bytes(b), GRANULE);
    if (f->has_memory) {
        b->address = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        return;
    }
    b->address = f->next;
    f->next += bytes;
}

static void make_zero(const struct fake_backend *f, struct block *b, size_t from, size_t to) {
    if (f->has_memory && from < to) {
        (void)madvise(b->address + from, to - from, MADV_DONTNEED);
    }
}

static enum fill_result fill(struct backend *self, struct block *b, size_t bytes) {
    struct fake_backend *f = (struct fake_backend *)self;
    f->fills++;
    if (b->address == NULL && !(f->refuse_all_fills && f->refusal == FILL_NO_ADDRESS)) {
        place(f, b);
    }
    if (b->committed) {
        return FILL_OK;
    }
    if (f->refuse_all_fills || f->fills == f->refuse_fill) {
        return f->refusal;
    }
    size_t tail = block_bytes(b) % GRANULE;
    b->has_gap = f->has_gaps && tail != 0 && tail < GRANULE / 4 * 3;
    b->committed = true;
    block_set_held(b, block_extent(b, self->is_whole ? bytes : 0));
    return FILL_OK;
}

static bool drain(struct backend *self, struct block *b) {
    struct fake_backend *f = (struct fake_backend *)self;
    if (f->drains < FAKE_HISTORY) {
        f->drained[f->drains] = b;
    }
    f->drains++;
    if (f->refuse_drain || b == f->refuse_block) {
        return false;
    }
    if (b->address != NULL) {
        make_zero(f, b, 0, round_up(block_bytes(b), GRANULE));
    }
    b->committed = false;
    block_set_held(b, (struct extent){0});
    return true;
}

static bool clear(struct backend *self, struct block *b, size_t from, size_t to) {
    struct fake_backend *f = (struct fake_backend *)self;
    f->clears++;
    f->cleared_from = from;
    f->cleared_to = to;
    if (f->refuse_clear || b == f->refuse_block) {
        return false;
    }
    make_zero(f, b, from, to);
    return true;
}

static bool refuses_granule(const struct fake_backend *f) {
    return f->refuse_granule != 0 && f->granules >= f->refuse_granule &&
           f->granules - f->refuse_granule < size_max(f->refuse_granules, 1);
}

/* As the host does it: the contents go, and zeros are left. */
static void move_piece(const struct fake_backend *f, const struct move *m, size_t bytes) {
    if (f->has_memory) {
        size_t from = m->from_at + m->moved;
        memcpy(m->to->address + m->to_at + m->moved, m->from->address + from, bytes);
        make_zero(f, m->from, from, from + bytes);
    }
}

static void lose_piece(struct fake_backend *f, const struct move *m, size_t bytes) {
    f->stranger = m->to->address + m->to_at + m->moved;
    if (f->has_memory) {
        memset(f->stranger, FAKE_STRANGER, bytes);
    }
}

/* A tail is one piece. */
static enum move_result move_each(struct fake_backend *f, struct move *m) {
    while (m->moved < m->bytes) {
        size_t piece = size_min(m->bytes - m->moved, GRANULE);
        f->granules++;
        if (m->from == f->refuse_block) {
            return MOVE_REFUSED;
        }
        if (refuses_granule(f)) {
            if (f->move_refusal == MOVE_LOST) {
                lose_piece(f, m, piece);
            }
            return f->move_refusal;
        }
        move_piece(f, m, piece);
        m->moved += piece;
    }
    return MOVE_OK;
}

static enum move_result move(struct backend *self, struct move *m) {
    struct fake_backend *f = (struct fake_backend *)self;
    enum move_result result = move_each(f, m);
    if (f->moves < FAKE_HISTORY) {
        f->moved[f->moves] = *m;
    }
    f->moves++;
    return result;
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
                                           .move = move,
                                           .wipe_on_fork = wipe_on_fork},
                               .has_memory = has_memory,
                               .has_gaps = true,
                               .next = NOWHERE,
                               .refusal = FILL_REFUSED,
                               .move_refusal = MOVE_REFUSED};
}
