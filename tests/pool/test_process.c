#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "pool/process.h"
#include "tests/pool/files.h"
#include "tests/pool/inject.h"

static void start(void) {
    inject_nothing();
    files_make();
    inject.root = files_root;
}

TestSuite(process, .init = start, .fini = files_remove);

Test(process, memory_is_read_of_its_status) {
    struct process_memory m;
    files_put("/proc/self/status",
              "Name:\tVmRSS:  1 kB\nVmHWM:\t    1696 kB\nVmRSS:\t     690 kB\n");
    process_memory(&m);
    cr_expect(eq(sz, m.resident, 690 * KIB));
    cr_expect(eq(sz, m.resident_peak, 1696 * KIB));
}

Test(process, memory_that_cannot_be_read_is_zero) {
    struct process_memory m = {.resident = 1, .resident_peak = 1};
    process_memory(&m);
    cr_expect(eq(sz, m.resident, 0));
    cr_expect(eq(sz, m.resident_peak, 0));
}
