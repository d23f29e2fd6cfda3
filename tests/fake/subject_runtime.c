/*
 * subject_runtime.c - the real CUDA runtime, dynamic or static, binds to the stand-in driver; prints
 * what it was given.
 *
 * The runtime asks the driver for every function, and then refuses to go on with one that is not
 * genuine: cudaMalloc fails. By then its tables are filled. The stand-in's log has what was asked
 * for and what was answered; here each answer is looked for in the runtime's own writable memory.
 *
 *     cuMemAlloc 3020 0 cuMemAlloc_v2 held       the runtime calls the driver's function
 *     cuMemAlloc 3020 0 cuMemAlloc_v2 replaced   it has none of the driver: somebody gave another
 */
#include "tests/fake/fake_cuda.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

int cudaMalloc(void **address, size_t size);

/* Whether an object of the process is the runtime, and holds a value. */
struct search {
    uintptr_t inside; /* an address in the runtime's code */
    uint64_t value;
    bool found;
};

static bool holds(const char *from, size_t size, uint64_t value) {
    for (size_t i = 0; i + sizeof(value) <= size; i += sizeof(value)) {
        if (memcmp(from + i, &value, sizeof(value)) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_in(const struct dl_phdr_info *object, const ElfW(Phdr) * segment,
                  uintptr_t address) {
    return segment->p_type == PT_LOAD &&
           address - (object->dlpi_addr + segment->p_vaddr) < segment->p_memsz;
}

static int search_object(struct dl_phdr_info *object, size_t size, void *context) {
    (void)size;
    struct search *search = context;
    bool is_runtime = false;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        is_runtime |= is_in(object, &object->dlpi_phdr[i], search->inside);
    }
    for (int i = 0; is_runtime && i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W)) {
            const char *start = (const char *)(object->dlpi_addr + segment->p_vaddr);
            search->found |= holds(start, segment->p_memsz, search->value);
        }
    }
    return is_runtime;
}

int main(void) {
    /* The runtime closes the driver that it does not like: it must stay for its log. */
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (driver == NULL) {
        puts(dlerror());
        return 1;
    }
    void *address = NULL;
    int result = cudaMalloc(&address, 1 << 20);
    struct fake_cuda *(*find)(void) = (struct fake_cuda * (*)(void)) dlsym(driver, "fake_cuda");
    const struct fake_cuda *fake = find();
    /* dlsym finds the function itself, not a jump to it in this program. */
    struct search search = {.inside = (uintptr_t)dlsym(RTLD_DEFAULT, "cudaMalloc")};
    search.inside = search.inside != 0 ? search.inside : (uintptr_t)main;
    for (uint64_t i = 0; i < fake->logged; i++) {
        search.value = fake->log[i].value;
        search.found = false;
        if (fake->log[i].text[0] != '\0' && search.value != 0) {
            dl_iterate_phdr(search_object, &search);
            printf("%s %s\n", fake->log[i].text, search.found ? "held" : "replaced");
        }
    }
    printf("cudaMalloc = %d\n", result);
    return 0;
}
