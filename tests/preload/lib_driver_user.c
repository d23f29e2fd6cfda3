/*
 * lib_driver_user.c - is bound to the driver's functions by the loader, with and without need.
 */
#include <stddef.h>
#include <stdint.h>

extern int cuInit(unsigned flags) __attribute__((weak));
extern int cuMemAlloc_v2(uint64_t *address, size_t bytes) __attribute__((weak));

void *bound_init(void);
void *bound_alloc(void);
int call_alloc(void);

void *bound_init(void) {
    return (void *)cuInit;
}

void *bound_alloc(void) {
    return (void *)cuMemAlloc_v2;
}

/* The driver's result, -1 where there is no function to call. */
int call_alloc(void) {
    uint64_t address;
    return cuMemAlloc_v2 != NULL ? cuMemAlloc_v2(&address, 1 << 20) : -1;
}
