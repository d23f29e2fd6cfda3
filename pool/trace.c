#include "pool/trace.h"

#include <assert.h>
#include <string.h>

struct record {
    uint16_t type;
    uint16_t units; /* of 8 bytes, these included */
    uint32_t a;
};

#define UNIT ((size_t)8)

static_assert(sizeof(struct record) == UNIT, "a record begins with one unit");

/* ---- an entry as bytes ---- */

static const char *string_or_empty(const char *text) {
    return text != NULL ? text : "";
}

static size_t string_bytes(const char *text) {
    return round_up(strlen(text) + 1, UNIT);
}

static size_t entry_bytes(const struct trace_entry *e) {
    size_t bytes = sizeof(struct record) + e->words_count * UNIT;
    for (size_t i = 0; i < TRACE_STRINGS && e->strings[i] != NULL; i++) {
        bytes += string_bytes(e->strings[i]);
    }
    return bytes;
}

static char *put_string(char *at, const char *text) {
    size_t bytes = string_bytes(text);
    memset(at + bytes - UNIT, 0, UNIT);
    memcpy(at, text, strlen(text) + 1);
    return at + bytes;
}

static void put_entry(char *at, const struct trace_entry *e, size_t bytes) {
    struct record record = {
        .type = (uint16_t)e->type, .units = (uint16_t)(bytes / UNIT), .a = e->a};
    memcpy(at, &record, sizeof record);
    at += sizeof record;
    memcpy(at, e->words, e->words_count * UNIT);
    at += e->words_count * UNIT;
    for (size_t i = 0; i < TRACE_STRINGS && e->strings[i] != NULL; i++) {
        at = put_string(at, e->strings[i]);
    }
}

static void append(struct trace *t, const struct trace_entry *e) REQUIRES(t->ring.lock) {
    size_t bytes = entry_bytes(e);
    put_entry(trace_ring_take(&t->ring, bytes), e, bytes);
}

/* ---- pools ---- */

static struct trace_entry pool_entry(const struct trace_subject *s) {
    return (struct trace_entry){.type = TRACE_POOL,
                                .a = s->pool,
                                .words_count = 1,
                                .words = {s->backend->id},
                                .strings = {s->backend->kind, string_or_empty(s->backend->uuid),
                                            string_or_empty(s->backend->pci_address)}};
}

static void introduce_pool(struct trace *t, const struct trace_subject *s) REQUIRES(t->ring.lock) {
    if (t->pool_chunks[s->pool] != t->ring.number) {
        struct trace_entry e = pool_entry(s);
        append(t, &e);
        t->pool_chunks[s->pool] = t->ring.number;
    }
}

/* ---- stacks ---- */

/* Multiplied by the golden ratio of 2^64 (Knuth, "The Art of Computer Programming" 3, 6.4), which spreads upwards,
 * and folded back. Two stacks in 2^64 are alike. */
static uint64_t hash_of(const struct trace_stack *s) {
    uint64_t hash = s->depth;
    for (unsigned i = 0; i < s->depth; i++) {
        hash = (hash ^ s->frames[i]) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }
    return hash;
}

/* The entry with that hash; else the one that was used least lately, for which there is a new number. */
static struct trace_known_stack *known_stack(struct trace *t, uint64_t hash)
    REQUIRES(t->ring.lock) {
    struct trace_known_stack *set = t->known[hash % TRACE_STACK_SETS];
    struct trace_known_stack *oldest = set;
    for (size_t i = 0; i < TRACE_STACK_WAYS; i++) {
        if (set[i].number != 0 && set[i].hash == hash) {
            return &set[i];
        }
        oldest = set[i].chunk < oldest->chunk ? &set[i] : oldest;
    }
    *oldest = (struct trace_known_stack){.hash = hash, .number = ++t->stacks};
    return oldest;
}

static size_t stack_bytes(const struct trace_stack *s) {
    return sizeof(struct record) + s->depth * UNIT;
}

static void append_stack(struct trace *t, const struct trace_stack *s, uint32_t number)
    REQUIRES(t->ring.lock) {
    size_t bytes = stack_bytes(s);
    char *at = trace_ring_take(&t->ring, bytes);
    struct record record = {.type = TRACE_STACK, .units = (uint16_t)(bytes / UNIT), .a = number};
    memcpy(at, &record, sizeof record);
    memcpy(at + sizeof record, s->frames, s->depth * UNIT);
}

/* Its number, with a record of it in this chunk. */
static uint32_t introduce_stack(struct trace *t, const struct trace_stack *s, uint64_t hash)
    REQUIRES(t->ring.lock) {
    struct trace_known_stack *known = known_stack(t, hash);
    if (known->chunk != t->ring.number) {
        append_stack(t, s, known->number);
        known->chunk = t->ring.number;
    }
    return known->number;
}

/* Most modules are there from the beginning, or soon after. */
static const uint64_t MODULES_LEAST_MS = 1000;
static const uint64_t MODULES_MOST_MS = 60000;

bool trace_modules_are_due(struct trace *t, uint64_t now_ms) {
    lock_acquire(&t->ring.lock);
    bool news = t->stacks != t->modules.stacks && now_ms >= t->modules.due_ms;
    bool goes = t->modules.stacks != 0 && t->ring.number - t->modules.chunk >= t->ring.places / 2;
    if (news || goes) {
        t->modules.stacks = t->stacks;
        t->modules.chunk = t->ring.number;
        t->modules.wait_ms =
            size_min(size_max(2 * t->modules.wait_ms, MODULES_LEAST_MS), MODULES_MOST_MS);
        t->modules.due_ms = now_ms + t->modules.wait_ms;
    }
    lock_release(&t->ring.lock);
    return news || goes;
}

/* ---- entering ---- */

/* All that could be needed before the record: whether it is, depends on the chunk. */
static size_t bytes_with_subject(const struct trace_entry *e, const struct trace_subject *s) {
    size_t bytes = entry_bytes(e);
    if (s->backend != NULL) {
        struct trace_entry pool = pool_entry(s);
        bytes += entry_bytes(&pool);
    }
    return s->stack != NULL ? bytes + stack_bytes(s->stack) : bytes;
}

static void append_all(struct trace *t, const struct trace_entry *e, const struct trace_subject *s,
                       uint64_t hash) REQUIRES(t->ring.lock) {
    struct trace_entry complete = *e;
    if (s->backend != NULL) {
        introduce_pool(t, s);
    }
    if (s->stack != NULL) {
        uint64_t number = introduce_stack(t, s->stack, hash);
        complete.words[e->words_count - 1] |= number << TRACE_STACK_SHIFT;
    }
    append(t, &complete);
}

bool trace_enter(struct trace *t, const struct trace_entry *e, const struct trace_subject *s) {
    uint64_t hash = s->stack != NULL ? hash_of(s->stack) : 0;
    size_t bytes = bytes_with_subject(e, s);
    struct trace_buffer *full = NULL;
    lock_acquire(&t->ring.lock);
    bool fits = trace_ring_reserve(&t->ring, bytes, &full);
    if (fits) {
        append_all(t, e, s, hash);
    }
    lock_release(&t->ring.lock);
    if (UNLIKELY(full != NULL)) {
        trace_ring_write(&t->ring, full);
    }
    return fits;
}

bool trace_write_header(const struct trace_entry *e, trace_write *write) {
    char room[TRACE_HEADER_BYTES];
    size_t bytes = entry_bytes(e);
    if (bytes > sizeof room) {
        return false;
    }
    put_entry(room, e, bytes);
    struct trace_head head = trace_head(0, (uint32_t)(sizeof head + bytes), 0);
    const struct trace_piece pieces[] = {{.bytes = room, .count = bytes, .offset = sizeof head},
                                         {.bytes = &head, .count = sizeof head}};
    return write(pieces, 2);
}

bool trace_read_owner(struct trace_owner *o, const char bytes[TRACE_OWNER_BYTES]) {
    static_assert(sizeof(struct trace_head) + sizeof(struct record) + sizeof *o ==
                      TRACE_OWNER_BYTES,
                  "they are the first words of the header");
    struct trace_head expected = trace_head(0, 0, 0);
    struct record record;
    memcpy(&record, bytes + sizeof expected, sizeof record);
    if (memcmp(bytes, expected.magic, sizeof expected.magic) != 0 || record.type != TRACE_HEADER) {
        return false;
    }
    memcpy(o, bytes + sizeof expected + sizeof record, sizeof *o);
    return true;
}

void trace_reset(struct trace *t) UNCHECKED_LOCKING {
    memset(t->pool_chunks, 0, sizeof t->pool_chunks);
    memset(t->known, 0, sizeof t->known);
    memset(&t->modules, 0, sizeof t->modules);
    t->stacks = 0;
    trace_ring_reset(&t->ring);
}
