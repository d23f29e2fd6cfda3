/* probe.h - the questions that have a file of their own; each prints its answers, "name value" a line. */
#ifndef TESTS_CUDA_PROBE_H
#define TESTS_CUDA_PROBE_H

#include "tests/cuda/gpu.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))

void latency(void);
void pinned_latency(void);
void waiting(void);
void device(void);
void facts(void);

#endif
