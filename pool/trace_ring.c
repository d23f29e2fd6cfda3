#include "pool/trace_ring.h"

#include <string.h>

#include "pool/meta.h"

struct trace_head trace_head(uint64_t number, uint32_t used, uint64_t dropped) {
    return (struct trace_head){
        .magic = {'B', 'M', 'C', 'K'}, .used = used, .number = number, .dropped = dropped};
}

bool trace_ring_start(struct trace_ring *r, size_t bytes, trace_write *write) {
    char *memory = meta_map(TRACE_BUFFERS * TRACE_CHUNK);
    if (memory == NULL || !meta_allow_writing(memory, TRACE_BUFFERS * TRACE_CHUNK)) {
        return false;
    }
    for (size_t i = 0; i < TRACE_BUFFERS; i++) {
        r->buffers[i].bytes = memory + i * TRACE_CHUNK;
    }
    r->places = size_max(bytes / TRACE_CHUNK, TRACE_PLACES_LEAST);
    r->write = write;
    return true;
}

/* ---- filling ---- */

/* The first place is the header's. */
static uint64_t place_of(const struct trace_ring *r, uint64_t number) {
    return (number - 1) % (r->places - 1) + 1;
}

/* Begins the next chunk. NULL: all buffers are being written, or one that belongs to the same place. */
static struct trace_buffer *begin_chunk(struct trace_ring *r) REQUIRES(r->lock) {
    uint64_t number = r->number + 1;
    struct trace_buffer *idle = NULL;
    for (size_t i = TRACE_BUFFERS; i-- > 0;) {
        struct trace_buffer *b = &r->buffers[i];
        if (b->number == 0) {
            idle = b;
        } else if (place_of(r, b->number) == place_of(r, number)) {
            return NULL;
        }
    }
    if (idle != NULL) {
        idle->number = r->number = number;
        idle->used = sizeof(struct trace_head);
        idle->written = 0;
        idle->records = 0;
    }
    return idle;
}

bool trace_ring_reserve(struct trace_ring *r, size_t bytes, struct trace_buffer **full) {
    *full = NULL;
    if (r->filling != NULL && r->filling->used + bytes <= TRACE_CHUNK) {
        return true;
    }
    *full = r->filling;
    r->filling = begin_chunk(r);
    r->dropped += r->filling == NULL;
    return r->filling != NULL;
}

void *trace_ring_take(struct trace_ring *r, size_t bytes) {
    struct trace_buffer *b = r->filling;
    void *room = b->bytes + b->used;
    b->used += (uint32_t)bytes;
    b->records++;
    return room;
}

/* ---- writing ---- */

struct part {
    uint32_t from;
    uint32_t to;
    uint32_t records;
};

static bool write_part(const struct trace_ring *r, const struct trace_buffer *b, struct part part,
                       uint64_t dropped) {
    uint64_t offset = place_of(r, b->number) * TRACE_CHUNK;
    uint32_t from = (uint32_t)size_max(part.from, sizeof(struct trace_head));
    struct trace_head empty = trace_head(b->number, sizeof empty, dropped);
    struct trace_head head = trace_head(b->number, part.to, dropped);
    const struct trace_piece pieces[] = {
        {.bytes = &empty, .count = sizeof empty, .offset = offset},
        {.bytes = b->bytes + from, .count = part.to - from, .offset = offset + from},
        {.bytes = &head, .count = sizeof head, .offset = offset}};
    unsigned skipped = part.from != 0 ? 1 : 0;
    return r->write(pieces + skipped, 3 - skipped);
}

/* Writes what there is, and what comes meanwhile if the buffer is full by then: its filler has seen it in hand. */
static void write_in_hand(struct trace_ring *r, struct trace_buffer *b) REQUIRES(r->lock) {
    do {
        struct part part = {.from = b->written, .to = b->used, .records = b->records};
        uint64_t dropped = r->dropped;
        lock_release(&r->lock);
        bool done = write_part(r, b, part, dropped);
        lock_acquire(&r->lock);
        b->written = part.to;
        b->records -= part.records;
        r->dropped += done ? 0 : part.records;
    } while (b != r->filling && b->written < b->used);
}

static void write_locked(struct trace_ring *r, struct trace_buffer *b) REQUIRES(r->lock) {
    if (b->is_in_hand || b->number == 0) {
        return;
    }
    b->is_in_hand = true;
    if (b->written < b->used) {
        write_in_hand(r, b);
    }
    b->is_in_hand = false;
    if (b != r->filling) {
        b->number = 0;
    }
}

void trace_ring_write(struct trace_ring *r, struct trace_buffer *b) {
    lock_acquire(&r->lock);
    write_locked(r, b);
    lock_release(&r->lock);
}

void trace_ring_flush(struct trace_ring *r) {
    lock_acquire(&r->lock);
    if (r->filling != NULL) {
        write_locked(r, r->filling);
    }
    lock_release(&r->lock);
}

bool trace_ring_has_begun(struct trace_ring *r) {
    lock_acquire(&r->lock);
    bool begun = r->number != 0;
    lock_release(&r->lock);
    return begun;
}

bool trace_ring_is_busy(struct trace_ring *r) {
    bool busy = false;
    lock_acquire(&r->lock);
    for (size_t i = 0; i < TRACE_BUFFERS; i++) {
        busy = busy || r->buffers[i].is_in_hand;
    }
    lock_release(&r->lock);
    return busy;
}

void trace_ring_reset(struct trace_ring *r) UNCHECKED_LOCKING {
    for (size_t i = 0; i < TRACE_BUFFERS; i++) {
        r->buffers[i] = (struct trace_buffer){.bytes = r->buffers[i].bytes};
    }
    r->filling = NULL;
    r->number = 0;
    r->dropped = 0;
    lock_reset(&r->lock);
}
