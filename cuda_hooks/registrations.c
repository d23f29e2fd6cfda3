#include "cuda_hooks/registrations.h"

#include "pool/meta.h"

/* Looked for one by one: to register memory takes the driver a millisecond. */
struct record {
    struct record *next;
    const struct context *context;
    struct registration what;
};

static struct lock lock;
static struct record *first;  /* under the lock */
static struct record *unused; /* under the lock */
static struct meta_records records = {.record_bytes = sizeof(struct record)};

static struct record *pop(struct record **list) REQUIRES(lock) {
    struct record *r = *list;
    if (r != NULL) {
        *list = r->next;
    }
    return r;
}

static void push(struct record **list, struct record *r) REQUIRES(lock) {
    r->next = *list;
    *list = r;
}

/* The link to the record of that address, or, where that is NULL, of that context. */
static struct record **link_to(const void *address, const struct context *c) REQUIRES(lock) {
    struct record **link = &first;
    while (*link != NULL &&
           (address != NULL ? (*link)->what.address != address : (*link)->context != c)) {
        link = &(*link)->next;
    }
    return link;
}

static struct registration take(const void *address, const struct context *c) {
    struct registration what = {0};
    lock_acquire(&lock);
    struct record *r = pop(link_to(address, c));
    if (r != NULL) {
        what = r->what;
        push(&unused, r);
    }
    lock_release(&lock);
    return what;
}

bool registrations_add(struct registration what, const struct context *c) {
    lock_acquire(&lock);
    struct record *r = pop(&unused);
    lock_release(&lock);
    r = r != NULL ? r : meta_record(&records);
    if (r == NULL) {
        return false;
    }
    *r = (struct record){.context = c, .what = what};
    lock_acquire(&lock);
    push(&first, r);
    lock_release(&lock);
    return true;
}

struct registration registrations_take(const void *address) {
    return take(address, NULL);
}

struct registration registrations_take_of(const struct context *c) {
    return take(NULL, c);
}

void registrations_reset_in_child(void) UNCHECKED_LOCKING {
    lock_reset(&lock);
    first = NULL;
    unused = NULL;
    records = (struct meta_records){.record_bytes = sizeof(struct record)};
}
