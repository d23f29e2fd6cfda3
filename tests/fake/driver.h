/*
 * driver.h - what the files of the stand-in driver share.
 *
 *     exported symbol (call.c, from driver_api.def)
 *         call_begin   count, log, injected failures, capture rules
 *         lock         implementation (the other files): decides, and may ask to be waited for
 *         unlock       wait: for the latency, and for the work that the call has to wait for
 *         call_end     log
 *
 * All objects live in static tables: the driver never calls malloc, which the library under test
 * replaces, and a dead handle is recognised until its place is used again, as in a real driver.
 * Every implementation runs under the one lock. None calls an exported symbol.
 */
#ifndef BIGMALLOC_TESTS_FAKE_DRIVER_H
#define BIGMALLOC_TESTS_FAKE_DRIVER_H

#include "tests/fake/fake_cuda.h"
#include "tests/fake/functions.h"

#include <pthread.h>
#include <stdbool.h>

enum {
    CONTEXTS = 32,
    STREAMS = 1024,
    EVENTS = 4096,
    BLOCKS = 1 << 16,
    MAX_FUNCTIONS = 1024,
    CONTEXT_DEPTH = 16
};

#define MIB (1ULL << 20)
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct capture {
    CUstreamCaptureStatus status;
    CUstreamCaptureMode mode;
    long thread;
    uint64_t id;
};

struct cuda_stream {
    CUcontext context;
    uint64_t id;
    uint64_t busy_until_ns;
    struct capture capture;
    unsigned flags;
    bool alive;
};

struct cuda_context {
    bool alive;
    bool primary;
    bool green; /* a share of the primary one, which owns what is allocated in it */
    CUdevice device;
    uint64_t id; /* never used twice, though the address is */
    unsigned flags;
    unsigned references; /* of a primary one */
    uint32_t peers;      /* bit i: the memory of contexts[i] may be used here */
    uint64_t busy_until_ns;
    struct cuda_stream legacy;
    struct cuda_stream per_thread; /* one for all threads: nothing here depends on more */
};

enum block_kind {
    DEVICE_MEMORY,
    MANAGED_MEMORY,
    STREAM_MEMORY, /* cuMemAllocAsync */
    HOST_MEMORY,
    REGISTERED_MEMORY,
    ARRAY_MEMORY,
    RESERVED_ADDRESSES, /* cuMemAddressReserve */
    MAPPED_MEMORY,      /* cuMemMap */
    PHYSICAL_MEMORY     /* cuMemCreate; its address is the handle */
};

struct slab;

/* One allocation. Linked into the list of live ones, newest first, or into that of unused ones. */
struct block {
    struct block *next, *previous;
    enum block_kind kind;
    CUdeviceptr address;
    size_t size;      /* as requested */
    size_t footprint; /* bytes of the device that it takes; 0 in a slab, which counts for all */
    CUcontext context;
    CUdevice device;
    uint64_t id;
    unsigned flags;
    int file;          /* PHYSICAL_MEMORY: the memory, else -1 */
    struct slab *slab; /* of a small one */
    bool sync_memops;
};

/* ---- control.c ---- */

extern struct fake_cuda control;

/* The failure that a test has asked for, now that the function is called. */
CUresult control_verdict(unsigned function);
uint64_t control_count(unsigned function); /* the call's place in the log */
void control_log(uint64_t place, const struct fake_cuda_call *call);

/* ---- call.c ---- */

extern pthread_mutex_t driver_lock;

uint64_t now_ns(void);
long thread_id(void);

/* The current call, from inside an implementation. */
void call_value(uint64_t value);
void call_text(const char *text);
void call_wait_until(uint64_t ns);
void call_wait_for(CUcontext context); /* for its work, which a test may finish */
bool call_is_per_thread(void);

enum stream_kind {
    ANY,
    PER_THREAD
};

/* A row of driver_api.def or driver_stubs.def. */
struct function {
    const char *symbol, *base;
    int version;
    enum stream_kind stream;
    void *address;
};

extern const struct function functions[];
extern const size_t function_count;

/* ---- device.c ---- */

CUdevice device_valid(CUdevice device);              /* the ordinal, or -1 */
bool device_take(CUdevice device, size_t footprint); /* false: out of memory */
uint64_t device_used(CUdevice device);
void device_give(CUdevice device, size_t footprint);

/* ---- context.c ---- */

extern struct cuda_context contexts[CONTEXTS];

CUcontext context_current(void);                   /* NULL: none */
CUcontext context_owner(void);                     /* of memory that is allocated now */
uint64_t context_busy_until_ns(CUcontext context); /* a primary one waits for its green ones too */
bool context_is_alive(CUcontext context);
/* CUDA_SUCCESS, or why the calling thread's context cannot be used. */
CUresult context_check(void);
bool context_sees(CUcontext context, const struct block *block);

/* ---- block.c ---- */

struct block *block_find(CUdeviceptr address); /* the live one that holds it, or NULL */
struct block *block_starting_at(CUdeviceptr address, enum block_kind kind);
struct block *block_record(enum block_kind kind, CUdeviceptr address, size_t size);
void block_forget(struct block *block);
bool block_is_on_host(const struct block *block);
void blocks_destroy_of(CUcontext context);
/* With memory, of the current context; size 0 is refused. */
CUresult block_create(enum block_kind kind, size_t size, struct block **block);
void block_destroy(struct block *block);
size_t round_up(size_t size, size_t unit);
void *region_map(size_t size);
void region_unmap(void *start, size_t size);

/* ---- stream.c ---- */

extern struct cuda_stream streams[STREAMS];

/* The stream that a handle means in this call; NULL with the reason in *result. */
struct cuda_stream *stream_of(CUstream handle, CUresult *result);
/* Puts work at the end of a stream. False: it was captured, or refused with a reason in *result. */
bool stream_enqueue(CUstream handle, uint64_t work_us, CUresult *result);
void streams_destroy_of(CUcontext context);
void streams_finish_of(CUcontext context);

/* ---- capture.c ---- */

/* True when the rules forbid the calling thread what may be unsafe; the captures are lost. */
bool capture_forbids(void);
/* The same of work for the context's legacy stream. */
bool capture_forbids_legacy(CUcontext context);
bool capture_invalidate(struct cuda_stream *stream); /* true, to be the end of a condition */

/* ---- the implementations ---- */

#define FN(class, implementation, base, suffix, version, stream, count, ...) \
    CUresult implementation(PARAMETERS##count(__VA_ARGS__));
#include "tests/fake/driver_api.def"
#undef FN

#endif
