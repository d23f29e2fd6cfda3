/* control.c - knobs, failures, counts and the log: what the tests say, and what they are told. */
#include "tests/fake/driver.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    FAILURES = 16
};

struct fake_cuda control;

static struct fake_cuda_call calls[FAKE_CUDA_CALLS];
static _Atomic uint64_t counts[MAX_FUNCTIONS];
static int log_file = -1;

static struct failure {
    unsigned function;
    unsigned remaining; /* 0: this place is free */
    CUresult result;
} failures[FAILURES];

/* ---- what call.c asks and tells; under the lock but for the log ---- */

static bool is_fault_of_the_device(CUresult result) {
    return result >= CUDA_ERROR_ILLEGAL_ADDRESS && result <= CUDA_ERROR_LAUNCH_FAILED;
}

CUresult control_verdict(unsigned function) {
    CUresult result = CUDA_SUCCESS;
    for (struct failure *f = failures; f < failures + FAILURES; f++) {
        if (f->remaining > 0 && f->function == function && --f->remaining == 0) {
            result = f->result;
        }
    }
    if (is_fault_of_the_device(result)) {
        control.knobs.sticky = result;
    }
    return result;
}

uint64_t control_count(unsigned function) {
    counts[function]++;
    return control.logged++;
}

static void write_line(const struct fake_cuda_call *c) {
    const uint64_t *a = c->arguments;
    char line[256];
    int n = snprintf(line, sizeof(line), "%ld %s(%#lx, %#lx, %#lx, %#lx) = %d %#lx %s\n", c->thread,
                     c->symbol, a[0], a[1], a[2], a[3], (int)c->result, c->value, c->text);
    if (write(log_file, line, (size_t)n) != n) {
        abort();
    }
}

void control_log(uint64_t place, const struct fake_cuda_call *call) {
    if (place < FAKE_CUDA_CALLS) {
        calls[place] = *call;
    }
    if (log_file >= 0) {
        write_line(call);
    }
}

/* ---- what the tests call ---- */

static unsigned number_of(const char *symbol) {
    for (unsigned i = 0; i < function_count; i++) {
        if (strcmp(functions[i].symbol, symbol) == 0) {
            return i;
        }
    }
    fprintf(stderr, "fake libcuda: there is no %s\n", symbol);
    abort();
}

static void control_fail(const char *symbol, unsigned nth, CUresult result) {
    unsigned function = number_of(symbol);
    pthread_mutex_lock(&driver_lock);
    struct failure *f = failures;
    while (f < failures + FAILURES && f->remaining > 0) {
        f++;
    }
    if (f == failures + FAILURES) {
        abort();
    }
    *f = (struct failure){function, nth, result};
    pthread_mutex_unlock(&driver_lock);
}

static bool control_work(CUstream stream, uint64_t microseconds) {
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&driver_lock);
    bool done = stream_enqueue(stream, microseconds, &result);
    pthread_mutex_unlock(&driver_lock);
    return done;
}

static void control_finish(CUcontext context) {
    pthread_mutex_lock(&driver_lock);
    streams_finish_of(context);
    pthread_mutex_unlock(&driver_lock);
}

static bool control_is_busy(CUcontext context) {
    pthread_mutex_lock(&driver_lock);
    bool busy = context->busy_until_ns > now_ns();
    pthread_mutex_unlock(&driver_lock);
    return busy;
}

static uint64_t control_used(CUdevice device) {
    pthread_mutex_lock(&driver_lock);
    uint64_t used = device_used(device);
    pthread_mutex_unlock(&driver_lock);
    return used;
}

static uint64_t control_calls(const char *symbol) {
    return counts[number_of(symbol)];
}

static void control_forget(void) {
    pthread_mutex_lock(&driver_lock);
    for (size_t i = 0; i < function_count; i++) {
        counts[i] = 0;
    }
    control.logged = 0;
    pthread_mutex_unlock(&driver_lock);
}

EXPORT struct fake_cuda *fake_cuda(void) {
    return &control;
}

/* ---- the environment ---- */

static uint64_t knob(const char *variable, uint64_t otherwise) {
    const char *text = getenv(variable);
    if (text == NULL || *text == '\0') {
        return otherwise;
    }
    char *unit;
    uint64_t value = strtoull(text, &unit, 0);
    const char *units = "kmgt";
    const char *found = *unit != '\0' ? strchr(units, *unit) : NULL;
    return found != NULL ? value << (10 * (found - units + 1)) : value;
}

static void read_failures(char *text) {
    for (char *item = strtok(text, ","); item != NULL; item = strtok(NULL, ",")) {
        char symbol[64];
        unsigned nth;
        unsigned result;
        if (sscanf(item, "%63[^:]:%u:%u", symbol, &nth, &result) != 3) {
            fprintf(stderr, "fake libcuda: FAKE_CUDA_FAIL: %s is not symbol:nth:result\n", item);
            abort();
        }
        control_fail(symbol, nth, (CUresult)result);
    }
}

__attribute__((constructor)) static void start(void) {
#define KNOB(name, variable, otherwise, what) control.knobs.name = knob(variable, otherwise);
#include "tests/fake/knobs.def"
#undef KNOB
    control.fail = control_fail;
    control.work = control_work;
    control.finish = control_finish;
    control.is_busy = control_is_busy;
    control.used = control_used;
    control.calls = control_calls;
    control.forget = control_forget;
    control.log = calls;
    char failing[512];
    snprintf(failing, sizeof(failing), "%s",
             getenv("FAKE_CUDA_FAIL") ? getenv("FAKE_CUDA_FAIL") : "");
    read_failures(failing);
    const char *path = getenv("FAKE_CUDA_LOG");
    if (path != NULL) {
        log_file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    }
}

__attribute__((destructor)) static void stop(void) {
    control.knobs.exited = 1;
}
