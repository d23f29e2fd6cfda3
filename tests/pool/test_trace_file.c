#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/text_file.h"
#include "pool/trace_file.h"
#include "tests/pool/files.h"

TestSuite(trace_file, .init = files_make, .fini = files_remove);

static struct trace_file file;

static bool write_text_at(const char *text, uint64_t offset) {
    struct trace_piece piece = {.bytes = text, .count = strlen(text), .offset = offset};
    return trace_file_write(&file, &piece, 1);
}

static const char *text_of(const char *name) {
    static char text[64];
    return text_file_read(files_path(name), text, sizeof text) ? text : "";
}

Test(trace_file, pieces_go_to_their_places_in_their_order) {
    cr_assert(trace_file_make(&file, files_path("/t")));
    const struct trace_piece pieces[] = {{.bytes = "abcd", .count = 4, .offset = 0},
                                         {.bytes = "XY", .count = 2, .offset = 1}};
    cr_assert(trace_file_write(&file, pieces, 2));
    cr_assert(eq(str, (char *)text_of("/t"), "aXYd"));
}

Test(trace_file, no_descriptor_stays_open) {
    size_t before = files_open();
    cr_assert(trace_file_make(&file, files_path("/t")));
    cr_assert(write_text_at("a", 0));
    cr_assert(eq(sz, files_open(), before));
}

Test(trace_file, an_old_file_is_replaced_and_stays_what_it_is_for_its_writer) {
    struct trace_file old;
    cr_assert(trace_file_make(&old, files_path("/t")));
    cr_assert(trace_file_make(&file, files_path("/t")));
    struct trace_piece piece = {.bytes = "old", .count = 3};
    cr_expect(not(trace_file_write(&old, &piece, 1)));
    cr_expect(eq(int, errno, ESTALE));
    cr_assert(write_text_at("new", 0));
    cr_assert(eq(str, (char *)text_of("/t"), "new"));
}

Test(trace_file, a_name_from_here_is_found_from_elsewhere) {
    cr_assert(eq(int, chdir(files_root), 0));
    cr_assert(trace_file_make(&file, "t"));
    cr_assert(eq(int, chdir("/"), 0));
    cr_assert(write_text_at("a", 0));
    cr_assert(eq(str, (char *)text_of("/t"), "a"));
}

Test(trace_file, a_file_that_is_gone_is_not_made_again) {
    cr_assert(trace_file_make(&file, files_path("/t")));
    cr_assert(eq(int, unlink(files_path("/t")), 0));
    cr_expect(not(write_text_at("a", 0)));
    cr_expect(eq(int, errno, ENOENT));
}

Test(trace_file, what_is_no_plain_file_stays) {
    cr_assert(eq(int, mkfifo(files_path("/t"), 0600), 0));
    cr_expect(not(trace_file_make(&file, files_path("/t"))));
    cr_expect(eq(int, errno, EEXIST));
    struct stat found;
    cr_assert(eq(int, lstat(files_path("/t"), &found), 0));
    cr_assert(eq(int, S_ISFIFO(found.st_mode), 1));
}

Test(trace_file, a_link_is_not_followed) {
    cr_assert(eq(int, symlink("elsewhere", files_path("/t")), 0));
    cr_expect(not(trace_file_make(&file, files_path("/t"))));
    cr_expect(eq(int, access(files_path("/elsewhere"), F_OK), -1));
}

Test(trace_file, a_folder_that_is_missing_is_refused) {
    cr_expect(not(trace_file_make(&file, files_path("/no/such/t"))));
    cr_expect(eq(int, errno, ENOENT));
}

/* The system would end the process with SIGXFSZ. */
Test(trace_file, a_limit_on_sizes_is_found_in_time) {
    cr_assert(trace_file_make(&file, files_path("/t")));
    struct rlimit limit = {.rlim_cur = 4, .rlim_max = RLIM_INFINITY};
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &limit), 0));
    bool beyond = write_text_at("abc", 2);
    int error = errno;
    bool within = write_text_at("abcd", 0);
    limit.rlim_cur = RLIM_INFINITY;
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &limit), 0));
    cr_expect(not(beyond));
    cr_expect(eq(int, error, EFBIG));
    cr_expect(within);
}
