/*
 * How a library finds its companion. In TEST_LIBRARIES are lib_loader.so and asker, which have
 * companion_load, and lib_other.so, a companion of another version.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "interpose/companion.h"
#include "tests/companion/machine.h"

static char folder[128];
static char why[COMPANION_WORD];

/* Of a file in the folder, until the next call. */
static const char *inside(const char *name) {
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *built(const char *name) {
    static char path[512];
    const char *libraries = getenv("TEST_LIBRARIES");
    cr_assert(libraries != NULL, "TEST_LIBRARIES is not set");
    (void)snprintf(path, sizeof path, "%s/%s", libraries, name);
    return path;
}

static void copy(const char *from, const char *to) {
    char bytes[4096];
    size_t n = 0;
    FILE *in = fopen(from, "r");
    FILE *out = fopen(to, "w");
    cr_assert(in != NULL && out != NULL, "%s to %s", from, to);
    while ((n = fread(bytes, 1, sizeof bytes, in)) != 0) {
        (void)fwrite(bytes, 1, n, out);
    }
    (void)fclose(in);
    cr_assert(fclose(out) == 0);
}

static void put_companion(const char *file) {
    copy(file, inside("libbigmalloc-topology.so"));
}

static void start_in(const char *pattern) {
    strcpy(folder, pattern);
    cr_assert(mkdtemp(folder) != NULL);
    copy(built("lib_loader.so"), inside("ours.so"));
    copy(built("asker"), inside("asker"));
    strcpy(why, "untouched");
}

static void start(void) {
    start_in("/tmp/companion.XXXXXX");
}

static void start_far_away(void) {
    start_in(
        "/tmp/companion-in-a-folder-whose-name-alone-is-longer-than-any-word-of-the-statistics-"
        "ever-was.XXXXXX");
}

static void start_in_two_lines(void) {
    start_in("/tmp/companion\nXXXXXX");
}

static void stop(void) {
    (void)unlink(inside("ours.so"));
    (void)unlink(inside("asker"));
    (void)unlink(inside("libbigmalloc-topology.so"));
    (void)rmdir(folder);
}

TestSuite(load, .init = start, .fini = stop);

/* What companion_load says in our library, opened by this path. */
static const struct topology_companion *loaded_as(const char *path) {
    const struct topology_companion *(*load)(char why[COMPANION_WORD]) = NULL;
    void *library = dlopen(path, RTLD_NOW);
    cr_assert(library != NULL, "%s", dlerror());
    void *symbol = dlsym(library, "load");
    memcpy(&load, &symbol, sizeof load);
    return load(why);
}

static const struct topology_companion *loaded(void) {
    return loaded_as(inside("ours.so"));
}

Test(load, finds_the_companion_in_the_folder_of_the_library) {
    put_companion(getenv("TEST_COMPANION"));
    const struct topology_companion *c = loaded();
    cr_assert(c != NULL, "%s", why);
    static struct topology t;
    cr_expect(c->discover(&t));
    cr_expect(eq(str, why, ""));
}

Test(load, finds_it_beside_a_library_that_has_a_relative_path) {
    put_companion(getenv("TEST_COMPANION"));
    cr_assert(chdir(folder) == 0);
    cr_expect(loaded_as("./ours.so") != NULL, "%s", why);
}

Test(load, finds_it_beside_a_library_of_the_library_path) {
    put_companion(getenv("TEST_COMPANION"));
    char command[1024];
    (void)snprintf(command, sizeof command,
                   "LD_PRELOAD=ours.so LD_LIBRARY_PATH=%s LD_DEBUG=libs /bin/true 2>&1 |"
                   " grep -q 'calling init: %s/ours.so'",
                   folder, folder);
    cr_expect(eq(i32, system(command), 0), "the loader knows it by its folder");
}

Test(load, makes_no_name_of_the_companions_the_programs) {
    put_companion(getenv("TEST_COMPANION"));
    cr_assert(loaded() != NULL);
    cr_expect(dlsym(RTLD_DEFAULT, TOPOLOGY_COMPANION) == NULL);
    cr_expect(dlsym(RTLD_DEFAULT, "hwloc_topology_init") == NULL);
}

Test(load, without_a_companion_says_that_it_is_not_installed_and_no_more) {
    cr_assert(dlopen("/nowhere", RTLD_NOW) == NULL);
    errno = EXFULL;
    cr_expect(loaded() == NULL);
    cr_expect(eq(str, why, "not installed"));
    cr_expect(eq(i32, errno, EXFULL));
}

Test(load, leaves_an_error_of_the_programs_for_dlerror_where_none_is_installed) {
    const struct topology_companion *(*load)(char why[COMPANION_WORD]) = NULL;
    void *library = dlopen(inside("ours.so"), RTLD_NOW);
    void *symbol = dlsym(library, "load");
    memcpy(&load, &symbol, sizeof load);
    cr_assert(dlopen("/nowhere", RTLD_NOW) == NULL);
    cr_expect(load(why) == NULL);
    const char *error = dlerror();
    cr_expect(error != NULL && strstr(error, "/nowhere") != NULL);
}

Test(load, takes_none_of_another_version) {
    put_companion(built("lib_other.so"));
    cr_expect(loaded() == NULL);
    cr_expect(eq(str, why, "of another version"));
}

Test(load, takes_no_library_that_is_no_companion) {
    put_companion(built("lib_loader.so"));
    cr_expect(loaded() == NULL);
    cr_expect(eq(str, why, "of another version"));
    cr_expect(dlerror() == NULL);
}

Test(load, says_what_is_wrong_with_a_file) {
    put_companion("/proc/self/status");
    cr_expect(loaded() == NULL);
    cr_expect(strstr(why, folder) == why, "%s", why);
    cr_expect(dlerror() == NULL);
}

Test(load, says_no_more_than_fits, .init = start_far_away) {
    put_companion("/proc/self/status");
    cr_expect(loaded() == NULL);
    cr_expect(eq(sz, strlen(why), COMPANION_WORD - 1));
}

Test(load, says_no_more_than_a_line, .init = start_in_two_lines) {
    put_companion("/proc/self/status");
    cr_expect(loaded() == NULL);
    cr_expect(eq(str, why, "/tmp/companion"));
}

/* ---- programs that have it in themselves ---- */

/* What asker says when `command`, which begins in the folder, runs it. */
static const char *said(const char *command) {
    static char line[256];
    char all[1024];
    (void)snprintf(all, sizeof all, "cd %s && %s", folder, command);
    FILE *out = popen(all, "r");
    cr_assert(out != NULL);
    line[fread(line, 1, sizeof line - 1, out)] = '\0';
    cr_assert(eq(i32, pclose(out), 0));
    return line;
}

static void make_runnable(mode_t mode) {
    put_companion(getenv("TEST_COMPANION"));
    cr_assert(chmod(folder, 0755) == 0 && chmod(inside("asker"), mode) == 0);
}

Test(load, looks_nowhere_without_a_folder_of_its_own) {
    make_runnable(0755);
    cr_expect(eq(str, (char *)said("./asker"), "loaded\n"));
    cr_expect(eq(str, (char *)said("PATH=. asker"), "not installed\n"));
}

Test(load, is_not_for_a_program_with_more_rights_than_its_caller) {
    struct statvfs fs;
    make_runnable(04755);
    if (geteuid() != 0 || statvfs(folder, &fs) != 0 || (fs.f_flag & ST_NOSUID) != 0 ||
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0) {
        cr_skip_test("needs root, and a /tmp where set-user-ID programs get their rights");
    }
    cr_expect(eq(str, (char *)said("./asker"), "loaded\n"));
    cr_expect(eq(str, (char *)said("setpriv --reuid 65534 --clear-groups ./asker"),
                 "not for a program with more rights than its caller\n"));
}
