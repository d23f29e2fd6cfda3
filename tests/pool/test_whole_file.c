#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/whole_file.h"

static char folder[] = "/tmp/whole-file-XXXXXX";
static char path[64];

static void start(void) {
    cr_assert(mkdtemp(folder) != NULL);
    (void)snprintf(path, sizeof path, "%s/out", folder);
}

/* Names in the folder. */
static int files(void) {
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        n += e->d_name[0] != '.';
    }
    (void)closedir(d);
    return n;
}

static void stop(void) {
    (void)unlink(path);
    (void)rmdir(folder);
}

TestSuite(whole_file, .init = start, .fini = stop);

static void put(const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert(eq(sz, (size_t)write(fd, text, strlen(text)), strlen(text)));
    (void)close(fd);
}

static const char *contents(void) {
    static char text[64];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n < 0 ? "(none)" : text;
}

static bool replace(const char *text, bool written) {
    struct whole_file f;
    cr_assert(whole_file_open(&f, path, 1));
    cr_assert(eq(sz, (size_t)write(f.fd, text, strlen(text)), strlen(text)));
    return whole_file_close(&f, written);
}

Test(whole_file, is_not_there_before_it_is_whole) {
    struct whole_file f;
    cr_assert(whole_file_open(&f, path, 1));
    cr_expect(eq(int, (int)write(f.fd, "ab", 2), 2));
    cr_expect(eq(str, (char *)contents(), "(none)"));
    cr_expect(whole_file_close(&f, true));
    cr_expect(eq(str, (char *)contents(), "ab"));
    cr_expect(eq(int, files(), 1));
}

Test(whole_file, takes_the_place_of_another_at_once) {
    put("old");
    struct whole_file f;
    cr_assert(whole_file_open(&f, path, 1));
    cr_expect(eq(int, (int)write(f.fd, "n", 1), 1));
    cr_expect(eq(str, (char *)contents(), "old"));
    cr_expect(whole_file_close(&f, true));
    cr_expect(eq(str, (char *)contents(), "n"));
}

Test(whole_file, that_was_not_written_leaves_the_old_one_and_nothing_else) {
    put("old");
    cr_expect(not(replace("half", false)));
    cr_expect(eq(str, (char *)contents(), "old"));
    cr_expect(eq(int, files(), 1));
}

Test(whole_file, of_two_writers_at_once_are_both_whole) {
    struct whole_file first;
    struct whole_file second;
    cr_assert(whole_file_open(&first, path, 1) && whole_file_open(&second, path, 2));
    cr_expect(eq(int, (int)write(first.fd, "1st", 3), 3));
    cr_expect(eq(int, (int)write(second.fd, "2nd", 3), 3));
    cr_expect(whole_file_close(&first, true));
    cr_expect(eq(str, (char *)contents(), "1st"));
    cr_expect(whole_file_close(&second, true));
    cr_expect(eq(str, (char *)contents(), "2nd"));
    cr_expect(eq(int, files(), 1));
}

Test(whole_file, writes_through_a_link_and_leaves_it) {
    char target[80];
    (void)snprintf(target, sizeof target, "%s.target", folder);
    cr_assert(eq(int, symlink(target, path), 0));
    cr_expect(replace("text", true));
    struct stat link;
    cr_expect(lstat(path, &link) == 0 && S_ISLNK(link.st_mode));
    cr_expect(eq(str, (char *)contents(), "text"));
    (void)unlink(target);
}

/* A FIFO stands for all that is no file: what happens to a device would happen to everybody's. */
Test(whole_file, leaves_a_fifo_what_it_is) {
    cr_assert(eq(int, mkfifo(path, 0600), 0));
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    struct whole_file f;
    cr_assert(whole_file_open(&f, path, 1));
    cr_expect(eq(str, f.beside, ""));
    cr_expect(whole_file_close(&f, true));
    struct stat found;
    cr_expect(lstat(path, &found) == 0 && S_ISFIFO(found.st_mode));
    (void)close(reader);
}

Test(whole_file, that_cannot_be_written_says_so_and_leaves_errno) {
    struct whole_file f;
    errno = 44;
    cr_expect(not(whole_file_open(&f, "/proc/no/such/folder", 1)));
    cr_expect(eq(int, errno, 44));
}

/* The name beside it does not fit: in place. */
Test(whole_file, with_a_name_too_long_for_one_beside_it_is_written_in_place) {
    char name[NAME_MAX + 1];
    memset(name, 'x', NAME_MAX);
    name[NAME_MAX] = '\0';
    char longest[sizeof folder + sizeof name];
    (void)snprintf(longest, sizeof longest, "%s/%s", folder, name);
    struct whole_file f;
    cr_assert(whole_file_open(&f, longest, 1));
    cr_expect(whole_file_close(&f, true));
    cr_expect(eq(int, access(longest, R_OK), 0));
    (void)unlink(longest);
}
