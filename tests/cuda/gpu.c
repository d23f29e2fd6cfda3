#include "tests/cuda/gpu.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct gpu gpu;

void must_succeed(CUresult result, const char *call) {
    if (result != CUDA_SUCCESS) {
        (void)fprintf(stderr, "%s: %d\n", call, (int)result);
        exit(1);
    }
}

static void no_gpu(const char *why) {
    (void)printf("no GPU: %s\n", why);
    exit(NO_GPU);
}

void *gpu_find(const char *symbol) {
    return dlsym(gpu.library, symbol);
}

static void open_driver(void) {
    gpu.library = dlopen("libcuda.so.1", RTLD_NOW);
    if (gpu.library == NULL) {
        no_gpu(dlerror());
    }
    void *found = NULL;
#define GPU(symbol, parameters) \
    found = gpu_find(#symbol); \
    if (found == NULL) { \
        no_gpu("the driver has no " #symbol); \
    } \
    memcpy(&gpu.symbol, &found, sizeof found);
#include "tests/cuda/gpu.def"
#undef GPU
    struct fake_cuda *(*stand_in)(void) = NULL;
    found = gpu_find("fake_cuda");
    memcpy(&stand_in, &found, sizeof found);
    gpu.stand_in = stand_in != NULL ? stand_in() : NULL;
}

CUcontext gpu_begin(void) {
    open_driver();
    CUresult result = gpu.cuInit(0);
    if (result != CUDA_SUCCESS || gpu.cuDeviceGetCount(&gpu.devices) != CUDA_SUCCESS ||
        gpu.devices == 0) {
        no_gpu("the driver has no device");
    }
    OK(gpu.cuDevicePrimaryCtxRetain(&gpu.context, 0));
    OK(gpu.cuCtxSetCurrent(gpu.context));
    return gpu.context;
}

CUcontext gpu_context_on(CUdevice device) {
    CUcontext context = NULL;
    OK(gpu.cuCtxCreate_v2(&context, 0, device));
    return context;
}

/* ---- kernels ---- */

/* PTX for the oldest architecture that the driver still compiles from, into any later one. */
static const char ptx[] =
    ".version 6.4\n.target %s\n.address_size 64\n"
    ".visible .entry spin(.param .u64 duration) {\n"
    "  .reg .u64 %%t<4>; .reg .pred %%again;\n"
    "  ld.param.u64 %%t1, [duration];\n"
    "  mov.u64 %%t2, %%globaltimer;\n"
    "LOOP:\n"
    "  mov.u64 %%t3, %%globaltimer;\n"
    "  sub.u64 %%t3, %%t3, %%t2;\n"
    "  setp.lt.u64 %%again, %%t3, %%t1;\n"
    "  @%%again bra LOOP;\n"
    "  ret;\n}\n"
    ".visible .entry add(.param .u64 words, .param .u64 count, .param .u32 n) {\n"
    "  .reg .u64 %%a<6>; .reg .u32 %%w<6>; .reg .pred %%end;\n"
    "  ld.param.u64 %%a1, [words]; ld.param.u64 %%a2, [count]; ld.param.u32 %%w1, [n];\n"
    "  mov.u32 %%w2, %%ctaid.x; mov.u32 %%w3, %%ntid.x; mov.u32 %%w4, %%tid.x;\n"
    "  mul.wide.u32 %%a3, %%w2, %%w3; cvt.u64.u32 %%a4, %%w4; add.u64 %%a3, %%a3, %%a4;\n"
    "  setp.ge.u64 %%end, %%a3, %%a2;\n"
    "  @%%end bra DONE;\n"
    "  shl.b64 %%a3, %%a3, 2; add.u64 %%a1, %%a1, %%a3;\n"
    "  ld.global.u32 %%w5, [%%a1]; add.u32 %%w5, %%w5, %%w1; st.global.u32 [%%a1], %%w5;\n"
    "DONE:\n"
    "  ret;\n}\n";

/* A module is its context's own. NULL: it cannot be had, and stderr says why. */
static void *load(const char *name) {
    static const char *const targets[] = {"sm_50", "sm_70", "sm_75"};
    char text[sizeof ptx + 16];
    void *module = NULL;
    void *function = NULL;
    bool loaded = false;
    for (size_t i = 0; i < sizeof targets / sizeof *targets && !loaded; i++) {
        (void)snprintf(text, sizeof text, ptx, targets[i]);
        CUresult result = gpu.cuModuleLoadData(&module, text);
        loaded = result == CUDA_SUCCESS;
        if (!loaded) {
            (void)fprintf(stderr, "no kernels for %s: %d\n", targets[i], (int)result);
        }
    }
    return loaded && gpu.cuModuleGetFunction(&function, module, name) == CUDA_SUCCESS ? function
                                                                                      : NULL;
}

/* Loading takes much longer than starting: each is loaded once, until the table is full. */
static struct loaded {
    CUcontext context;
    const char *name; /* NULL: this place is free */
    void *function;
} all_loaded[8];

static bool is_for(const struct loaded *l, CUcontext context, const char *name) {
    return l->name == NULL || (l->context == context && strcmp(l->name, name) == 0);
}

static void *kernel(const char *name) {
    CUcontext context = NULL;
    struct loaded *l = all_loaded;
    OK(gpu.cuCtxGetCurrent(&context));
    while (l < all_loaded + 7 && !is_for(l, context, name)) {
        l++;
    }
    if (l->name == NULL || !is_for(l, context, name)) {
        *l = (struct loaded){context, name, load(name)};
    }
    return l->function;
}

typedef CUresult launch(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                        unsigned by, unsigned bz, unsigned shared, CUstream stream,
                        void **arguments, void **more);

static bool run(void *function, size_t threads, CUstream stream, void **arguments) {
    enum {
        BLOCK = 256
    };
    launch *start = NULL;
    void *found = gpu_find("cuLaunchKernel");
    memcpy(&start, &found, sizeof found);
    if (function == NULL || start == NULL) {
        return false;
    }
    unsigned blocks = (unsigned)((threads + BLOCK - 1) / BLOCK);
    OK(start(function, blocks, 1, 1, threads > 1 ? BLOCK : 1, 1, 1, 0, stream, arguments, NULL));
    return true;
}

bool gpu_work(CUstream stream, unsigned milliseconds) {
    uint64_t duration_ns = milliseconds * 1000000ULL;
    if (gpu.stand_in != NULL) {
        return gpu.stand_in->work(stream, milliseconds * 1000ULL);
    }
    return run(kernel("spin"), 1, stream, (void *[]){&duration_ns});
}

bool gpu_add(CUdeviceptr words, size_t count, uint32_t n) {
    return gpu.stand_in == NULL && run(kernel("add"), count, NULL, (void *[]){&words, &count, &n});
}

CUdeviceptr gpu_take(size_t bytes) {
    CUdeviceptr address = 0;
    OK(gpu.cuMemAlloc_v2(&address, bytes));
    return address;
}

void gpu_give(CUdeviceptr address) {
    OK(gpu.cuMemFree_v2(address));
}

/* ---- figures ---- */

double now_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}
