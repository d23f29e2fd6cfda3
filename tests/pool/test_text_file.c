#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "pool/text_file.h"
#include "tests/pool/files.h"
#include "tests/pool/inject.h"

static char text[8];

static void start(void) {
    inject_nothing();
    files_make();
    memset(text, '#', sizeof text);
}

static void stop(void) {
    inject_nothing();
    files_remove();
}

TestSuite(text_file, .init = start, .fini = stop);

static bool reads(const char *name) {
    return text_file_read(files_path(name), text, sizeof text);
}

Test(text_file, is_read_to_its_end) {
    files_put("/f", "seven\n7");
    cr_expect(reads("/f"));
    cr_expect(eq(str, text, "seven\n7"));
}

Test(text_file, that_is_longer_than_the_room_is_cut) {
    files_put("/f", "0123456789");
    cr_expect(reads("/f"));
    cr_expect(eq(str, text, "0123456"));
}

Test(text_file, that_is_empty_or_missing_or_a_folder_is_not_read) {
    files_put("/empty", "");
    static const char *const names[] = {"/empty", "/missing", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)strcpy(text, "old");
        cr_expect(not(reads(names[i])), "%s", names[i]);
        cr_expect(eq(str, text, ""), "%s", names[i]);
    }
}

Test(text_file, keeps_errno_and_no_descriptor) {
    files_put("/f", "1");
    size_t before = files_open();
    errno = EXFULL;
    cr_expect(reads("/f"));
    cr_expect(not(reads("/missing")));
    cr_expect(not(reads("")));
    inject_failures(CALL_READ, 1, 1);
    cr_expect(not(reads("/f")));
    inject_failures(CALL_OPEN, 1, 1);
    cr_expect(not(reads("/f")));
    cr_expect(eq(int, errno, EXFULL));
    cr_expect(eq(sz, files_open(), before));
}

Test(text_file, of_a_number_is_that_number) {
    files_put("/f", "65530\n");
    files_put("/max", "max\n");
    cr_expect(eq(sz, text_file_number(files_path("/f"), 5), 65530));
    cr_expect(eq(sz, text_file_number(files_path("/max"), 5), 5));
    cr_expect(eq(sz, text_file_number(files_path("/missing"), 5), 5));
}
