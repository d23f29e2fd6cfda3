/*
 * driver.h - the CUDA driver as driver.def lists it: its own functions, and ours in front of them.
 *
 *     program -> ours (driver_api.c) -> driver()->symbol        the next one: of another interposer,
 *                                                               or of libcuda.so.1 itself
 *
 * The driver is whatever the loader has under the name libcuda.so.1. We look for it when a name of
 * driver.def is looked up or called, and never load it: a process that has none gets none through
 * us. Once found it stays loaded, since its functions are at stake.
 *
 * No locks and no waiting: look-ups come from inside dlopen, with the loader's lock held. Threads
 * that look for the driver at once all find the same.
 */
#ifndef CUDA_HOOKS_DRIVER_H
#define CUDA_HOOKS_DRIVER_H

#include <stdatomic.h>

#include "cuda_hooks/cuda_abi.h"
#include "cuda_hooks/loader.h"
#include "pool/util.h"

enum driver_kind {
    DRIVER_DEVICE,  /* allocates and frees device memory */
    DRIVER_PINNED,  /* allocates, frees and registers host memory */
    DRIVER_BESIDE,  /* allocates and frees memory that no pool of ours holds */
    DRIVER_QUERY,   /* tells of memory */
    DRIVER_SHARING, /* shows memory to others: processes, devices, network cards */
    DRIVER_CONTEXT, /* begins and ends contexts, and what they own */
    DRIVER_RUN, /* loads, prepares and runs what takes memory by the way, and may be refused it */
    DRIVER_CAPTURE, /* begins and ends the capture of streams */
    DRIVER_LOOKUP,  /* hands out functions */
    DRIVER_KINDS
};

/* What stream 0 is to a function: the one of all threads, or each thread's own. */
enum driver_streams {
    DRIVER_LEGACY,
    DRIVER_PER_THREAD
};

/* The cudaVersion up to which driver.def knows every variant of its functions. */
enum {
    DRIVER_KNOWN_VERSION = 13000
};

/* The real functions; NULL: this driver has none of that name. */
struct driver_functions {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration has none */
#define DRIVER_CALL(symbol, parameters) CUresult(*_Atomic symbol) parameters;
#define DRIVER_PASS(symbol, base, introduced, streams, kind, parameters, arguments) \
    DRIVER_CALL(symbol, parameters)
#include "cuda_hooks/driver.def"
};

/* An exported function of ours. */
struct driver_hook {
    const char *symbol;
    const char *base;
    int introduced;
    enum driver_streams streams;
    enum driver_kind kind;
    function_of_any_type *ours;
};

/* All of them, sorted by symbol. */
extern const struct driver_hook driver_hooks[];
extern const size_t driver_hook_count;

/* The driver's functions; all NULL as long as there is no driver. */
const struct driver_functions *driver(void);

/* Is there a driver in this process? */
bool driver_is_loaded(void);

/* What to answer in the place of a function that is NULL. A reference that is weak, so that the
 * program runs without a driver, binds to ours: it hears what NVIDIA's stub library says. */
CUresult driver_lacks(void);

/*
 * Around calls of the driver by this thread. What the driver asks of the heap meanwhile comes to us, from the middle of
 * its work: then nothing is asked of it that can wait.
 */
void driver_enter(void);
void driver_leave(void);
bool driver_is_entered(void);

/* What the driver's function answers. */
#define DRIVER_ANSWER(symbol, ...) \
    __extension__({ \
        driver_enter(); \
        CUresult result_ = \
            driver()->symbol != NULL ? driver()->symbol(__VA_ARGS__) : driver_lacks(); \
        driver_leave(); \
        result_; \
    })

/* The same, but where it is refused for want of memory and `makes_room`, looked at then alone, gives back some of
 * ours: what it answers once more. */
#define DRIVER_ANSWER_OR_ROOM(makes_room, symbol, ...) \
    __extension__({ \
        CUresult answer_ = DRIVER_ANSWER(symbol, __VA_ARGS__); \
        answer_ == CUDA_ERROR_OUT_OF_MEMORY && (makes_room) ? DRIVER_ANSWER(symbol, __VA_ARGS__) \
                                                            : answer_; \
    })

/* The function of ours with exactly this symbol; NULL: there is none. */
const struct driver_hook *driver_hook_named(const char *symbol);

/* Is there a driver that has the function behind that hook? Older ones lack some. */
bool driver_has(const struct driver_hook *hook);

/* Is it the real function behind that hook: the one we call, or libcuda's own, where we call
 * another interposer's? */
bool driver_is_real(const struct driver_hook *hook, function_of_any_type *function);

/* What cuGetProcAddress was asked for. */
struct driver_query {
    const char *name; /* a base name */
    int version;
    enum driver_streams streams;
};

/* Does driver.def have variants of that base name? */
bool driver_knows(const char *base);

/* The variant that a driver hands out: the newest that is not newer than the version, and of those
 * the one for the streams. NULL: none. A pure function of driver.def. */
const struct driver_hook *driver_variant(const struct driver_query *query);

/*
 * The hook in front of what a driver has handed out: by its address among the variants of the name,
 * else by the table, where that knows all variants up to the version. NULL: a variant that we do not
 * know, whose parameters may be others.
 */
const struct driver_hook *driver_hook_for(const struct driver_query *query,
                                          function_of_any_type *answer);

/* What the driver has handed out for a hook, where it does not export it: to be called from now on. */
void driver_adopt(const struct driver_hook *hook, function_of_any_type *answer);

/* Where a function stands in driver.def, which is the place of an exported one in driver_hooks. */
#define DRIVER_PLACE(symbol) \
    (offsetof(struct driver_functions, symbol) / sizeof(function_of_any_type *))

/* One call of an exported function. */
void driver_count(size_t place);

/* What is counted of the whole process (live.h): calls of the functions of a kind, and what the pools never see. */
enum driver_tally {
    DRIVER_UNHOOKED = DRIVER_KINDS,
    DRIVER_SMALL_REQUESTS,
    DRIVER_SMALL_BYTES,
    DRIVER_TALLIES
};

#endif
