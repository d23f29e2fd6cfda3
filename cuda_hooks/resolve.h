/*
 * resolve.h - dlsym(3), which hands out our functions for those of the driver.
 *
 *     dlsym:  in resolve_<architecture>.S
 *             not cu[A-Z]...    jump to the next dlsym         a nanosecond more than without us
 *             else              resolve_name says where to jump to, or what to return
 *
 * A jump, not a call: the real dlsym takes its return address for the caller, on whom RTLD_NEXT and
 * RTLD_DEFAULT depend (a library that looks up a weak function of its own behind itself would find
 * itself for ever) and whom dlerror(3) names.
 *
 * What each look-up of a name of driver.def finds:
 *
 *     handle of a library      the real one is looked up; if it is the driver's: ours
 *     RTLD_DEFAULT, RTLD_NEXT  what the search order has, which is ours or that of an interposer
 *                              before us, and behind us the next one
 *     what no driver here has  what a process without us finds: nothing
 *
 * Not reached: libraries opened with RTLD_DEEPBIND or dlmopen(3), which bind to libc's dlsym, and
 * programs that ask libc's handle for dlsym. Two answers differ from those of a bare process, both
 * harmless: RTLD_DEFAULT finds the functions of a driver that is loaded, but RTLD_LOCAL; and weak
 * references to exported functions are never NULL (driver_lacks says what they answer).
 *
 * Nothing is initialised, locked or loaded here. Any thread, at any time, also from inside dlopen.
 */
#ifndef CUDA_HOOKS_RESOLVE_H
#define CUDA_HOOKS_RESOLVE_H

#include "pool/util.h"

/* Jump to `target` with the arguments as they came, or return `symbol` where that is NULL. */
struct resolution {
    void *target;
    void *symbol;
};

/* For resolve_<architecture>.S alone. */
struct resolution resolve_name(void *handle, const char *name);

/* A dlsym that finds nothing of ours: it asks for a version that no function of a driver has. */
void *resolve_absent(void *restrict handle, const char *restrict name);

/* Off: whoever looks up driver functions gets the driver's. On until said otherwise. */
void resolve_turn(bool on);
bool resolve_is_on(void);

#endif
