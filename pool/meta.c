#include "pool/meta.h"

#include <sys/mman.h>

#define CHUNK (64 * KIB)

void *meta_map(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

bool meta_allow_writing(void *pages, size_t bytes) {
    return mprotect(pages, bytes, PROT_READ | PROT_WRITE) == 0;
}

static char *carve(struct meta_records *records) REQUIRES(records->lock) {
    if (records->next == NULL || records->next + records->record_bytes > records->end) {
        return NULL;
    }
    char *record = records->next;
    records->next += records->record_bytes;
    return record;
}

void *meta_record(struct meta_records *records) {
    lock_acquire(&records->lock);
    char *record = carve(records);
    lock_release(&records->lock);
    if (record != NULL) {
        return record;
    }
    char *chunk = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED) {
        return NULL;
    }
    lock_acquire(&records->lock);
    /* Another thread may have brought a chunk too: the rest of the older one is left unused. */
    records->next = chunk;
    records->end = chunk + CHUNK;
    record = carve(records);
    lock_release(&records->lock);
    return record;
}
