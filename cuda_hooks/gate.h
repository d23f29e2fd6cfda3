/*
 * gate.h - many go in and out at once, until somebody bars it: then nobody goes in, and it is closed when the last
 * one has come out.
 *
 *     state:  so many are inside, and BARRED or not
 *
 * Whoever is inside, or has closed it, is in the driver (driver_enter), and may be for as long as a device works. Who
 * has barred the gate gets his turn all the same, as others wait for him from then on. So nobody waits at a gate who is
 * inside of another one.
 *
 * Zero-initialise. Not async-signal-safe; preserves errno. clang checks the discipline: inside is shared, closed is
 * exclusive.
 */
#ifndef CUDA_HOOKS_GATE_H
#define CUDA_HOOKS_GATE_H

#include "pool/lock.h"

#define ACQUIRE_SHARED(...) LOCK_ATTRIBUTE(acquire_shared_capability(__VA_ARGS__))
#define RELEASE_SHARED(...) LOCK_ATTRIBUTE(release_shared_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) LOCK_ATTRIBUTE(requires_shared_capability(__VA_ARGS__))
#define TRY_ACQUIRE_SHARED(...) LOCK_ATTRIBUTE(try_acquire_shared_capability(__VA_ARGS__))

struct CAPABILITY("gate") gate {
    _Atomic uint32_t state;
};

/* The first waits where it is barred, the second does not go in: false. */
void gate_enter(struct gate *g) ACQUIRE_SHARED(*g);
MUST_CHECK bool gate_enter_unless_barred(struct gate *g) TRY_ACQUIRE_SHARED(true, *g);
void gate_leave(struct gate *g) RELEASE_SHARED(*g);

/* Waits for those inside, and for whoever else has closed it. */
void gate_close(struct gate *g) ACQUIRE(*g);
void gate_open(struct gate *g) RELEASE(*g);

/* The half of it that does not wait for those inside. */
void gate_bar(struct gate *g);
bool gate_is_barred(const struct gate *g);
bool gate_is_empty(const struct gate *g);

/* In a forked child, where nobody is inside. */
void gate_reset(struct gate *g);

#endif
