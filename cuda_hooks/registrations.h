/*
 * registrations.h - host memory that the program has registered with a device, and not yet taken back.
 *
 * The driver is told of an address and a size at first, and of the address alone later. What was registered in a
 * context ends with that.
 *
 * Functions are thread-safe and not async-signal-safe.
 */
#ifndef CUDA_HOOKS_REGISTRATIONS_H
#define CUDA_HOOKS_REGISTRATIONS_H

#include "cuda_hooks/context.h"

struct registration {
    void *address; /* NULL: there is none */
    size_t bytes;
};

/* What the driver has registered in context c, which may be NULL. False: no memory for the record. */
MUST_CHECK bool registrations_add(struct registration what, const struct context *c);

/* Takes out what was registered at that address, which is not NULL; and one after the other of a context. */
struct registration registrations_take(const void *address);
struct registration registrations_take_of(const struct context *c);

/* In a forked child: there are none. */
void registrations_reset_in_child(void);

#endif
