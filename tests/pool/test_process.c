#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "pool/process.h"
#include "tests/pool/files.h"
#include "tests/pool/inject.h"

TestSuite(process, .init = files_start, .fini = files_stop);

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

Test(process, resident_memory_is_the_second_number_of_statm_in_pages) {
    files_put("/proc/self/statm", "5210 690 300 2 0 480 0\n");
    cr_expect(eq(sz, process_resident(), 690 * PAGE));
}

Test(process, resident_memory_is_unknown_where_statm_makes_no_sense) {
    cr_expect(eq(sz, process_resident(), 0), "there is none");
    static const char *const texts[] = {"", "5210", "5210 ", "x 690", "5210,690"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        files_put("/proc/self/statm", texts[i]);
        cr_expect(eq(sz, process_resident(), 0), "%s", texts[i]);
    }
}
