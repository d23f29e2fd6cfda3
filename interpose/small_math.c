/*
 * small_math.c - what jemalloc's heap profiler takes from libm and libgcc_s, so that neither has to
 * be linked. The profiler draws its sampling distance from log; stacks it does not get here.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "pool/util.h"

double jemalloc_log(double x);
double jemalloc_exp(double x);
double jemalloc_round(double x);
int jemalloc__Unwind_Backtrace(void *callback, void *argument);
uintptr_t jemalloc__Unwind_GetIP(void *context);

/* x = m * 2^e with 1 <= m < 2; log m = 2 artanh((m - 1) / (m + 1)), by its series. For x > 0. */
double jemalloc_log(double x) {
    static const double LN_2 = 0.69314718055994530942;
    uint64_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & ((UINT64_C(1) << 52) - 1)) | (UINT64_C(1023) << 52);
    double m = 0;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1) / (m + 1);
    double power = s;
    double sum = 0;
    for (int n = 1; n < 40; n += 2) {
        sum += power / n;
        power *= s * s;
    }
    return exponent * LN_2 + 2 * sum;
}

/* exp x = (exp(x / 2^10))^(2^10), where the inner one takes few terms of its series. */
double jemalloc_exp(double x) {
    if (x < -700) {
        return 0; /* less than any double */
    }
    double small = x / 1024;
    double result = 1 + small * (1 + small / 2 * (1 + small / 3 * (1 + small / 4)));
    for (int i = 0; i < 10; i++) {
        result *= result;
    }
    return result;
}

double jemalloc_round(double x) {
    return x < 0 ? -(double)(int64_t)(0.5 - x) : (double)(int64_t)(x + 0.5);
}

int jemalloc__Unwind_Backtrace(void *callback, void *argument) {
    (void)callback;
    (void)argument;
    return 0;
}

uintptr_t jemalloc__Unwind_GetIP(void *context) {
    (void)context;
    return 0;
}
