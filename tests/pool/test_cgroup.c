#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pool/cgroup.h"
#include "tests/pool/files.h"

/* ---- /proc/self/cgroup ---- */

static char path[64];
static bool v1;

static bool parses(const char *text) {
    memset(path, '#', sizeof path);
    return cgroup_parse(text, path, sizeof path, &v1);
}

Test(cgroup, a_machine_with_cgroup_v2_has_one_line) {
    cr_assert(parses("0::/user.slice/user-1000.slice/session-3.scope\n"));
    cr_expect(eq(str, path, "/user.slice/user-1000.slice/session-3.scope"));
    cr_expect(not(v1));
}

Test(cgroup, a_machine_with_cgroup_v1_names_the_controller) {
    cr_assert(parses("12:cpu,cpuacct:/c\n"
                     "11:memory:/docker/0123abcd\n"
                     "10:pids:/p\n"
                     "1:name=systemd:/s\n"));
    cr_expect(eq(str, path, "/docker/0123abcd"));
    cr_expect(v1);
}

Test(cgroup, a_hybrid_machine_keeps_memory_in_v1_wherever_the_lines_stand) {
    cr_assert(parses("4:memory:/old\n0::/new\n"));
    cr_expect(eq(str, path, "/old"));
    cr_expect(v1);
    cr_assert(parses("0::/new\n4:memory:/old\n"));
    cr_expect(eq(str, path, "/old"));
    cr_expect(v1);
}

Test(cgroup, a_hybrid_machine_without_memory_in_v1_has_it_in_v2) {
    cr_assert(parses("3:cpu:/c\n1:name=systemd:/s\n0::/new\n"));
    cr_expect(eq(str, path, "/new"));
    cr_expect(not(v1));
}

Test(cgroup, memory_may_be_one_of_several_controllers) {
    cr_assert(parses("5:cpuset,memory,pids:/x\n"));
    cr_expect(eq(str, path, "/x"));
    cr_expect(v1);
    cr_assert(parses("5:memory,pids:/y\n"));
    cr_expect(eq(str, path, "/y"));
    cr_assert(parses("5:cpu,memory:/z\n"));
    cr_expect(eq(str, path, "/z"));
}

Test(cgroup, controllers_that_only_resemble_memory_are_others) {
    cr_expect(not(parses("5:memory2:/x\n6:mymemory:/y\n7:name=memory:/z\n8:mem:/m\n9:,:/n\n")));
}

Test(cgroup, paths_may_contain_colons_and_blanks) {
    cr_assert(parses("0::/a:b c:d\n"));
    cr_expect(eq(str, path, "/a:b c:d"));
}

Test(cgroup, the_root_group_is_a_path_too) {
    cr_assert(parses("0::/\n"));
    cr_expect(eq(str, path, "/"));
}

Test(cgroup, a_last_line_without_its_end_counts) {
    cr_assert(parses("3:cpu:/c\n0::/new"));
    cr_expect(eq(str, path, "/new"));
}

Test(cgroup, no_text_and_torn_lines_say_nothing) {
    cr_expect(not(parses("")));
    cr_expect(not(parses("\n")));
    cr_expect(not(parses("\n\n\n")));
    cr_expect(not(parses("0")));
    cr_expect(not(parses("0:")));
    cr_expect(not(parses("4:memory")));
    cr_expect(not(parses("4:memory\n:/x\n")));
    cr_expect(not(parses("no colon at all\n")));
}

Test(cgroup, a_torn_line_does_not_hide_a_good_one) {
    cr_assert(parses("4:mem\n0::/new\n5:cp"));
    cr_expect(eq(str, path, "/new"));
    cr_expect(not(v1));
}

Test(cgroup, a_line_of_two_colons_has_an_empty_path) {
    cr_assert(parses("0::"));
    cr_expect(eq(str, path, ""));
}

Test(cgroup, a_path_that_does_not_fit_is_not_cut) {
    char text[128] = "0::/";
    memset(text + 4, 'x', 63);
    cr_expect(not(parses(text)), "64 bytes, and no room for the terminator");
    text[3 + 63] = '\0';
    cr_assert(parses(text));
    cr_expect(eq(sz, strlen(path), 63));
}

Test(cgroup, a_parser_never_reads_past_the_end_of_its_text) {
    static const char text[] = "3:cpu:/c\n4:memory:/old\n0::/new\n";
    for (size_t length = 0; length < sizeof text; length++) {
        char *copy = strndup(text, length); /* a byte too far is the address sanitizer's */
        (void)parses(copy);
        free(copy);
    }
}

Test(cgroup, any_bytes_are_survived) {
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[48];
        for (size_t i = 0; i + 1 < sizeof text; i++) {
            text[i] = "04::::,,/\n\nmemory\xff"[rand_r(&seed) % 18];
        }
        text[sizeof text - 1] = '\0';
        if (parses(text)) {
            cr_assert(lt(sz, strnlen(path, sizeof path), sizeof path));
        }
    }
}

/* ---- folders and files, in a tree of our own ---- */

static struct cgroup g;

TestSuite(cgroup_files, .init = files_make, .fini = files_remove);

static const char *folder(void) {
    return g.folder + strlen(files_root);
}

Test(cgroup_files, a_v2_group_lies_below_the_mount_and_leads_up_to_it) {
    files_put("/proc/self/cgroup", "0::/a/b\n");
    cr_assert(cgroup_find(&g, files_root));
    cr_expect(not(g.v1));
    cr_expect(eq(str, (char *)folder(), "/sys/fs/cgroup/a/b"));
    cr_expect(cgroup_up(&g));
    cr_expect(eq(str, (char *)folder(), "/sys/fs/cgroup/a"));
    cr_expect(cgroup_up(&g));
    cr_expect(eq(str, (char *)folder(), "/sys/fs/cgroup"));
    cr_expect(not(cgroup_up(&g)));
    cr_expect(eq(str, (char *)folder(), "/sys/fs/cgroup"));
}

Test(cgroup_files, a_v1_group_lies_below_the_memory_controller) {
    files_put("/proc/self/cgroup", "4:memory:/a\n0::/b\n");
    cr_assert(cgroup_find(&g, files_root));
    cr_expect(g.v1);
    cr_expect(eq(str, (char *)folder(), "/sys/fs/cgroup/memory/a"));
    cr_expect(cgroup_up(&g));
    cr_expect(eq(str, (char *)folder(), "/sys/fs/cgroup/memory"));
    cr_expect(not(cgroup_up(&g)));
}

Test(cgroup_files, the_uppermost_group_is_met_once_however_it_is_written) {
    static const char *const texts[] = {"0::/\n", "0::\n", "0:://\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        files_put("/proc/self/cgroup", texts[i]);
        cr_assert(cgroup_find(&g, files_root));
        cr_expect(eq(str, (char *)folder(), "/sys/fs/cgroup"));
        cr_expect(not(cgroup_up(&g)));
    }
}

Test(cgroup_files, doubled_slashes_make_no_groups) {
    files_put("/proc/self/cgroup", "0:://a//b/\n");
    cr_assert(cgroup_find(&g, files_root));
    cr_expect(eq(str, (char *)folder(), "/sys/fs/cgroup//a//b"));
    cr_expect(cgroup_up(&g));
    cr_expect(eq(str, (char *)folder(), "/sys/fs/cgroup//a"));
    cr_expect(cgroup_up(&g));
    cr_expect(eq(str, (char *)folder(), "/sys/fs/cgroup"));
    cr_expect(not(cgroup_up(&g)));
}

Test(cgroup_files, without_the_file_or_with_a_root_too_long_there_is_no_group) {
    errno = EXFULL;
    cr_expect(not(cgroup_find(&g, files_root)));
    cr_expect(eq(int, errno, EXFULL));
    char root[2 * CGROUP_FOLDER];
    memset(root, 'x', sizeof root);
    for (size_t length = CGROUP_FOLDER - 32; length < sizeof root; length += 8) {
        root[length] = '\0';
        cr_expect(not(cgroup_find(&g, root)));
        root[length] = 'x';
    }
}

Test(cgroup_files, a_folder_that_fits_to_the_last_byte_is_read_and_a_longer_one_refused) {
    files_put("/proc/self/cgroup", "0::/a");
    char root[CGROUP_FOLDER] = "";
    size_t slashes = CGROUP_FOLDER - 1 - strlen("/sys/fs/cgroup/a") - strlen(files_root);
    memset(root, '/', slashes);
    (void)strcpy(root + slashes, files_root);
    files_put("/sys/fs/cgroup/a/memory.max", "7\n");
    cr_assert(cgroup_find(&g, root));
    cr_expect(eq(sz, strlen(g.folder), CGROUP_FOLDER - 1));
    cr_expect(eq(sz, cgroup_limit(&g, "memory.max"), 7));
    files_put("/proc/self/cgroup", "0::/ab");
    cr_expect(not(cgroup_find(&g, root)));
}

Test(cgroup_files, limits_are_bytes_or_none) {
    files_put("/proc/self/cgroup", "0::/a\n");
    cr_assert(cgroup_find(&g, files_root));
    files_put("/sys/fs/cgroup/a/bytes", "104857600\n");
    files_put("/sys/fs/cgroup/a/max", "max\n");
    files_put("/sys/fs/cgroup/a/v1", "9223372036854771712\n");
    files_put("/sys/fs/cgroup/a/v1-64k", "9223372036854710272\n");
    cr_expect(eq(sz, cgroup_limit(&g, "bytes"), 100 * MIB));
    cr_expect(eq(sz, cgroup_limit(&g, "max"), UNLIMITED));
    cr_expect(eq(sz, cgroup_limit(&g, "v1"), UNLIMITED));
    cr_expect(eq(sz, cgroup_limit(&g, "v1-64k"), UNLIMITED));
    cr_expect(eq(sz, cgroup_limit(&g, "missing"), UNLIMITED));
    cr_expect(eq(sz, cgroup_number(&g, "max", 3), 3));
}
