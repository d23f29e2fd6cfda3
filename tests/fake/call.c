/*
 * call.c - the exported functions, and what all of them do: count, log, fail when told to, keep the
 * rules of capture, take their time.
 */
#include "tests/fake/driver.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    SPIN_NS = 200 * 1000,      /* below it sleeping would take longer than asked for */
    LOOK_NS = 5 * 1000 * 1000, /* whether work that is waited for has been finished by a test */
    NS_PER_US = 1000
};

enum class {
    LOOKUP, /* before cuInit, and after a fault */
    PLAIN,
    STREAM, /* ordered by a stream, hence legal in a capture */
    COPY,
    QUERY,
    ALLOC,
    FREE,
    SYNC,
    HOST
};

/* The functions by number. */
enum {
#define FN(class, implementation, base, suffix, version, stream, count, ...) N_##base##suffix,
#define STUB(base, suffix, version, stream) N_##base##suffix,
#include "tests/fake/driver_api.def"
#include "tests/fake/driver_stubs.def"
#undef FN
#undef STUB
    FUNCTIONS
};

static_assert((int)FUNCTIONS <= (int)MAX_FUNCTIONS, "control.c counts each");

pthread_mutex_t driver_lock = PTHREAD_MUTEX_INITIALIZER;

static bool initialised;
static pid_t owner; /* the process that initialised */

/* The call that the thread is in. */
struct call {
    unsigned function;
    enum class class;
    struct fake_cuda_call record;
    uint64_t wait_until_ns;
    CUcontext worker; /* whose work is waited for; NULL: nobody's */
    uint64_t work_until_ns;
    uint64_t place; /* in the log */
};
static __thread struct call *current;

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

long thread_id(void) {
    return syscall(SYS_gettid);
}

void call_value(uint64_t value) {
    current->record.value = value;
}

void call_text(const char *text) {
    snprintf(current->record.text, sizeof(current->record.text), "%s", text);
}

void call_wait_until(uint64_t ns) {
    if (ns > current->wait_until_ns) {
        current->wait_until_ns = ns;
    }
}

void call_wait_for(CUcontext context) {
    current->worker = context;
    current->work_until_ns = context_busy_until_ns(context);
}

bool call_is_per_thread(void) {
    return current != NULL && functions[current->function].stream == PER_THREAD;
}

/* ---- before the implementation ---- */

static const struct {
    bool may_be_unsafe; /* in a capture */
    _Atomic uint64_t *latency_us;
} classes[] = {
    [COPY] = {true, NULL},
    [QUERY] = {true, NULL},
    [ALLOC] = {true, &control.knobs.alloc_us},
    [FREE] = {true, &control.knobs.free_us},
    [SYNC] = {true, &control.knobs.sync_us},
    [HOST] = {true, &control.knobs.host_us},
};

static uint64_t latency_us(enum class class) {
    return classes[class].latency_us != NULL ? *classes[class].latency_us : 0;
}

/* What the call answers without coming to its implementation. */
static CUresult verdict(const struct call *call) {
    if (control.knobs.exited) {
        return CUDA_ERROR_DEINITIALIZED;
    }
    CUresult result = control_verdict(call->function);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    if (control.knobs.stub) {
        return CUDA_ERROR_STUB_LIBRARY;
    }
    if (call->class == LOOKUP) {
        return CUDA_SUCCESS;
    }
    if (!initialised || getpid() != owner) {
        return CUDA_ERROR_NOT_INITIALIZED; /* a forked child cannot use the driver */
    }
    if (control.knobs.sticky) {
        return (CUresult)control.knobs.sticky;
    }
    if (classes[call->class].may_be_unsafe && capture_forbids()) {
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return CUDA_SUCCESS;
}

static CUresult call_begin(struct call *call) {
    call->record.symbol = functions[call->function].symbol;
    call->record.thread = thread_id();
    call->record.begin_ns = now_ns();
    pthread_mutex_lock(&driver_lock);
    current = call;
    call->place = control_count(call->function);
    CUresult result = verdict(call);
    if (result == CUDA_SUCCESS) {
        call_wait_until(call->record.begin_ns + latency_us(call->class) * NS_PER_US);
    }
    return result;
}

/* ---- after it ---- */

static void wait_until(uint64_t ns) {
    if (ns > now_ns() + SPIN_NS) {
        struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    }
    while (now_ns() < ns) {
    }
}

static bool is_working(CUcontext context) {
    pthread_mutex_lock(&driver_lock);
    bool working = context_busy_until_ns(context) > now_ns();
    pthread_mutex_unlock(&driver_lock);
    return working;
}

static void wait_for_work(const struct call *call) {
    while (call->worker != NULL && now_ns() < call->work_until_ns && is_working(call->worker)) {
        uint64_t look_ns = now_ns() + LOOK_NS;
        wait_until(look_ns < call->work_until_ns ? look_ns : call->work_until_ns);
    }
}

/* What it calls in its turn has no middle. */
static void be_amid(const char *symbol) {
    static __thread bool is_amid;
    void (*amid)(const char *) = control.amid;
    if (amid != NULL && !is_amid) {
        is_amid = true;
        amid(symbol);
        is_amid = false;
    }
}

static CUresult call_end(struct call *call, CUresult result) {
    current = NULL;
    pthread_mutex_unlock(&driver_lock);
    be_amid(call->record.symbol);
    wait_for_work(call);
    wait_until(call->wait_until_ns);
    call->record.result = result;
    call->record.end_ns = now_ns();
    control_log(call->place, &call->record);
    return result;
}

/* ---- the exported functions ---- */

/* An argument as a number; the one structure that is passed by value as 0. */
#define NUMBER(x) (uint64_t)(uintptr_t) _Generic((x), CUipcMemHandle : 0, default : (x))
#define NUMBERS0 0
#define NUMBERS1 NUMBER(a)
#define NUMBERS2 NUMBERS1, NUMBER(b)
#define NUMBERS3 NUMBERS2, NUMBER(c)
#define NUMBERS4 NUMBERS3, NUMBER(d)
#define NUMBERS5 NUMBERS4
#define NUMBERS6 NUMBERS4
#define VALUES0
#define VALUES1 a
#define VALUES2 a, b
#define VALUES3 a, b, c
#define VALUES4 a, b, c, d
#define VALUES5 a, b, c, d, e
#define VALUES6 a, b, c, d, e, f

#define FN(class, implementation, base, suffix, version, stream, count, ...) \
    EXPORT CUresult base##suffix(PARAMETERS##count(__VA_ARGS__)) { \
        struct call call = { \
            N_##base##suffix, class, {.arguments = {NUMBERS##count}}, 0, NULL, 0, 0}; \
        CUresult result = call_begin(&call); \
        if (result == CUDA_SUCCESS) { \
            result = implementation(VALUES##count); \
        } \
        return call_end(&call, result); \
    }
#include "tests/fake/driver_api.def"
#undef FN

#define STUB(base, suffix, version, stream) \
    EXPORT CUresult base##suffix(void); \
    CUresult base##suffix(void) { \
        struct call call = {N_##base##suffix, PLAIN, {.symbol = NULL}, 0, NULL, 0, 0}; \
        CUresult result = call_begin(&call); \
        return call_end(&call, result == CUDA_SUCCESS ? CUDA_ERROR_NOT_SUPPORTED : result); \
    }
#include "tests/fake/driver_stubs.def"
#undef STUB

#define ROW(base, suffix, version, stream) \
    {#base #suffix, #base, version, stream, (void *)(uintptr_t)base##suffix},
#define FN(class, implementation, base, suffix, version, stream, count, ...) \
    ROW(base, suffix, version, stream)
#define STUB ROW
const struct function functions[FUNCTIONS] = {
#include "tests/fake/driver_api.def"
#include "tests/fake/driver_stubs.def"
};
#undef FN
#undef STUB
const size_t function_count = FUNCTIONS;

/* ---- starting the driver ---- */

CUresult driver_init(unsigned flags) {
    if (flags != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (initialised && getpid() != owner) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    initialised = true;
    owner = getpid();
    return control.knobs.devices > 0 ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}
