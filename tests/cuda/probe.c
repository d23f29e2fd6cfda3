/*
 * probe.c - what the CUDA driver of this machine does, and how long it takes, as a program sees it;
 * with the library preloaded the same. It prints lines "name value", which tests/cuda/run compares.
 *
 *     probe QUESTION
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cuda/probe.h"

/* ---- contents ---- */

static uint32_t draw(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

struct held {
    CUdeviceptr address;
    size_t words;
    uint32_t seed;
};

static void fill(struct held *h, uint32_t *host, uint32_t *state) {
    h->words = (draw(state) % 8 + 1) * MIB / 4 + draw(state) % 1000;
    h->seed = draw(state);
    h->address = gpu_take(h->words * 4);
    for (size_t i = 0; i < h->words; i++) {
        host[i] = h->seed + (uint32_t)i;
    }
    OK(gpu.cuMemcpyHtoD_v2(h->address, host, h->words * 4));
    h->seed += gpu_add(h->address, h->words, 7) ? 7 : 0;
}

static uint32_t check_and_free(struct held *h, uint32_t *host) {
    OK(gpu.cuMemcpyDtoH_v2(host, h->address, h->words * 4));
    for (size_t i = 0; i < h->words; i++) {
        if (host[i] != h->seed + (uint32_t)i) {
            (void)fprintf(stderr, "word %zu of %zu is %u\n", i, h->words, host[i]);
            exit(1);
        }
    }
    gpu_give(h->address);
    h->address = 0;
    return h->seed;
}

/* Blocks of 1 to 8 MiB that come and go hold what was written, by copies and by a kernel. */
static void contents(void) {
    enum {
        HELD = 16,
        STEPS = 600
    };
    struct held held[HELD] = {{0}};
    uint32_t *host = malloc(9 * MIB);
    uint32_t state = 1;
    uint32_t sum = 0;
    (void)gpu_begin();
    for (int i = 0; i < STEPS; i++) {
        struct held *h = &held[draw(&state) % HELD];
        if (h->address == 0) {
            fill(h, host, &state);
        } else {
            sum = sum * 31 + check_and_free(h, host);
        }
    }
    free(host);
    (void)printf("checksum %u\n", sum);
}

/* ---- memory that goes back ---- */

/* Frees a GiB and stays; what the device has left is for another process to say. */
static void give_back(void) {
    enum {
        BLOCKS = 16
    };
    CUdeviceptr blocks[BLOCKS];
    char line[8];
    (void)gpu_begin();
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = gpu_take(64 * MIB);
    }
    (void)printf("taken\n");
    (void)fflush(stdout);
    (void)!read(STDIN_FILENO, line, sizeof line);
    for (int i = 0; i < BLOCKS; i++) {
        gpu_give(blocks[i]);
    }
    (void)printf("given\n");
    (void)fflush(stdout);
    (void)!read(STDIN_FILENO, line, sizeof line);
}

static void left(void) {
    size_t available = 0;
    size_t total = 0;
    (void)gpu_begin();
    OK(gpu.cuMemGetInfo_v2(&available, &total));
    (void)printf("free_mib %zu\ntotal_mib %zu\n", available / MIB, total / MIB);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*answer)(void);
    } questions[] = {{"device", device},   {"facts", facts},        {"contents", contents},
                     {"waiting", waiting}, {"latency", latency},    {"pinned", pinned_latency},
                     {"left", left},       {"give_back", give_back}};
    for (size_t i = 0; argc == 2 && i < LENGTH(questions); i++) {
        if (strcmp(argv[1], questions[i].name) == 0) {
            questions[i].answer();
            return 0;
        }
    }
    (void)fprintf(stderr, "usage: probe QUESTION\n");
    return 2;
}
