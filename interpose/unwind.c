#include "interpose/unwind.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>
#include <unwind.h>

/* ---- the unwinder ---- */

static struct {
    _Unwind_Reason_Code (*backtrace)(_Unwind_Trace_Fn step, void *argument);
    _Unwind_Ptr (*address)(struct _Unwind_Context *context); /* _Unwind_GetIP */
    _Unwind_Word (*frame)(struct _Unwind_Context *context);  /* _Unwind_GetCFA */
} gcc;

static bool find(void *library, const char *name, void *function) {
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

bool unwind_load(void) {
    void *library = dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL);
    bool found = library != NULL && find(library, "_Unwind_GetIP", &gcc.address) &&
                 find(library, "_Unwind_GetCFA", &gcc.frame) &&
                 find(library, "_Unwind_Backtrace", &gcc.backtrace);
    if (!found) {
        gcc.backtrace = NULL;
        (void)dlerror();
    }
    return found;
}

/* Where this library begins and where its code ends, from the linker. ld(1) */
#define FROM_LINKER(name) __asm__(name) __attribute__((visibility("hidden")))
extern const char library_start[] FROM_LINKER("__ehdr_start");
extern const char code_end[] FROM_LINKER("etext");

static bool is_ours(uint64_t address) {
    return address - (uintptr_t)library_start < (uintptr_t)code_end - (uintptr_t)library_start;
}

/* ---- stacks that come again ---- */

/*
 * Unwinding takes 0.2 us for each call, and programs ask for memory from few places. So it is remembered where the
 * return addresses lay: as long as each of them is still there, from the innermost call outwards, the stack is the
 * same. Which calls lie behind one follows from its return address and where its frame is.
 */
enum {
    CALLS_MOST = TRACE_FRAMES + 16, /* with those of this library */
    REMEMBERED = 256
};

struct call {
    uint64_t address;
    const uint64_t *place; /* where it lies on the stack */
};

struct remembered {
    atomic_flag is_in_use;
    uint64_t frame; /* of the function that unwinds */
    uint32_t thread;
    unsigned calls_count;
    struct call calls[CALLS_MOST];
    struct trace_stack stack;
};

static struct remembered all[REMEMBERED];

/* It may be that of another stack by now. */
static struct remembered *place_for(uint64_t frame, uint32_t thread) {
    uint64_t hash = (frame ^ (uint64_t)thread << 32) * 0x9e3779b97f4a7c15;
    struct remembered *r = &all[hash >> 56];
    static_assert(REMEMBERED == 1 << 8, "the number of a place has the bits that are left");
    return atomic_flag_test_and_set_explicit(&r->is_in_use, memory_order_acquire) ? NULL : r;
}

static bool is_the_same(const struct remembered *r, uint64_t frame, uint32_t thread) {
    bool same = r->frame == frame && r->thread == thread && r->calls_count != 0;
    for (unsigned i = 0; same && i < r->calls_count; i++) {
        same = *r->calls[i].place == r->calls[i].address;
    }
    return same;
}

/* ---- unwinding ---- */

/* A stack in the making. */
struct walk {
    struct trace_stack *stack;
    struct remembered *r; /* NULL: it is not to be remembered */
    bool has_begun;       /* behind the frame of the function that unwinds */
};

static void remember(struct walk *w, uint64_t frame, uint32_t thread) {
    if (w->r != NULL) {
        w->r->frame = frame;
        w->r->thread = thread;
        w->r->calls_count = 0;
    }
}

static void forget(struct walk *w) {
    if (w->r != NULL) {
        w->r->calls_count = 0;
        atomic_flag_clear_explicit(&w->r->is_in_use, memory_order_release);
        w->r = NULL;
    }
}

/* On x86_64 a return address lies below the frame that it leads to. Elsewhere, and behind a signal, it does not, or
 * not always: such a stack is unwound each time. */
static void note_call(struct walk *w, struct call c) {
    if (w->r == NULL) {
        return;
    }
    if (w->r->calls_count == CALLS_MOST || *c.place != c.address) {
        forget(w);
        return;
    }
    w->r->calls[w->r->calls_count++] = c;
}

static const uint64_t *place_below(uint64_t frame) {
    return (const uint64_t *)frame - 1; /* NOLINT(performance-no-int-to-ptr) */
}

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *argument) {
    struct walk *w = argument;
    uint64_t address = gcc.address(context);
    if (address == 0) {
        return _URC_END_OF_STACK;
    }
    if (w->has_begun) {
        note_call(w, (struct call){.address = address, .place = place_below(gcc.frame(context))});
    }
    w->has_begun = true;
    if (!is_ours(address)) {
        w->stack->frames[w->stack->depth++] = address;
    }
    return w->stack->depth < TRACE_FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* Its own frame is where the search begins: not to become a part of another's. */
ASIDE void unwind(struct trace_stack *s, uint32_t thread) {
    uint64_t frame = (uintptr_t)__builtin_frame_address(0);
    struct walk w = {.stack = s, .r = place_for(frame, thread)};
    s->depth = 0;
    if (w.r != NULL && is_the_same(w.r, frame, thread)) {
        *s = w.r->stack;
    } else if (gcc.backtrace != NULL) {
        remember(&w, frame, thread);
        (void)gcc.backtrace(step, &w);
        if (w.r != NULL) {
            w.r->stack = *s;
        }
    }
    if (w.r != NULL) {
        atomic_flag_clear_explicit(&w.r->is_in_use, memory_order_release);
    }
}
