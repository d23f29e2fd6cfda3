/*
 * loader.c - how a program finds the driver's functions, its version, and the names of results.
 *
 * cuGetProcAddress answers from the same table that makes the exports: of the symbols with that
 * base name the newest one that the asked version allows, its per-thread twin when flags ask for
 * it. Its own two forms, 11.3's and 12.0's, are rows like all others.
 */
#include "tests/fake/driver.h"

#include <stdio.h>
#include <string.h>

CUresult driver_version(int *version) {
    if (version == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *version = (int)control.knobs.version;
    return CUDA_SUCCESS;
}

/* Whether row is a better answer than best, which may be NULL. */
static bool is_better(const struct function *row, const struct function *best) {
    return best == NULL || row->stream > best->stream ||
           (row->stream == best->stream && row->version > best->version);
}

static const struct function *search(const char *base, int version, uint64_t flags, bool *known) {
    enum stream_kind widest =
        (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) ? PER_THREAD : ANY;
    const struct function *best = NULL;
    *known = false;
    for (const struct function *f = functions; f < functions + function_count; f++) {
        if (strcmp(f->base, base) != 0 || f->version > (int)control.knobs.version) {
            continue;
        }
        *known = true;
        if (f->version <= version && f->stream <= widest && is_better(f, best)) {
            best = f;
        }
    }
    return best;
}

static void note(const char *base, int version, uint64_t flags, const struct function *found) {
    char text[96];
    snprintf(text, sizeof(text), "%s %d %lu %s", base, version, flags,
             found != NULL ? found->symbol : "-");
    call_text(text);
}

CUresult get_proc_5(const char *base, void **function, int version, uint64_t flags,
                    CUdriverProcAddressQueryResult *status) {
    if (control.knobs.getproc_stub) {
        return CUDA_ERROR_STUB_LIBRARY;
    }
    if (base == NULL || function == NULL || version > (int)control.knobs.version) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    bool known;
    const struct function *found = search(base, version, flags, &known);
    note(base, version, flags, found);
    *function = found != NULL ? found->address : NULL;
    call_value((uint64_t)(uintptr_t)*function);
    if (status != NULL) {
        *status = found != NULL ? CU_GET_PROC_ADDRESS_SUCCESS
                  : known       ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                                : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    }
    return CUDA_SUCCESS;
}

/* Before CUDA 12 there was no status, and what is not there was an error. */
CUresult get_proc_4(const char *base, void **function, int version, uint64_t flags) {
    CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SUCCESS;
    CUresult result = get_proc_5(base, function, version, flags, &status);
    return result == CUDA_SUCCESS && status != CU_GET_PROC_ADDRESS_SUCCESS ? CUDA_ERROR_NOT_FOUND
                                                                           : result;
}

/* The tables are not documented, and we imitate none. */
CUresult get_export_table(const void **table, const CUuuid *id) {
    (void)id;
    *table = NULL;
    return CUDA_ERROR_NOT_FOUND;
}

CUresult get_error_name(CUresult result, const char **name) {
    static const struct {
        int value;
        const char *name;
    } names[] = {
#define NAME(name, value) {value, #name},
        CUDA_RESULTS(NAME)
#undef NAME
    };
    *name = NULL;
    for (size_t i = 0; i < LENGTH(names); i++) {
        if (names[i].value == (int)result) {
            *name = names[i].name;
        }
    }
    return *name != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult get_error_string(CUresult result, const char **text) {
    return get_error_name(result, text);
}

CUresult loading_mode(int *mode) {
    enum {
        EAGER = 1
    };
    *mode = EAGER;
    return CUDA_SUCCESS;
}
