#include "tests/pool/files.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/pool/inject.h"

char files_root[64];

void files_make(void) {
    (void)strcpy(files_root, "/tmp/bigmalloc-test-XXXXXX");
    cr_assert(not(eq(ptr, mkdtemp(files_root), NULL)));
}

void files_remove(void) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", files_root);
    cr_expect(eq(int, system(command), 0));
}

const char *files_path(const char *name) {
    static char path[4096];
    (void)snprintf(path, sizeof path, "%s%s", files_root, name);
    return path;
}

static void make_folders(char *path) {
    for (char *p = path + strlen(files_root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(path, 0700);
        *p = '/';
    }
}

void files_put_bytes(const char *name, const void *bytes, size_t count) {
    char path[4096];
    (void)strcpy(path, files_path(name));
    make_folders(path);
    FILE *file = fopen(path, "we");
    cr_assert(not(eq(ptr, file, NULL)));
    cr_expect(eq(sz, fwrite(bytes, 1, count, file), count));
    (void)fclose(file);
}

void files_put(const char *name, const char *text) {
    files_put_bytes(name, text, strlen(text));
}

size_t files_open(void) {
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    cr_assert(not(eq(ptr, folder, NULL)));
    while (readdir(folder) != NULL) {
        count++;
    }
    (void)closedir(folder);
    return count;
}

void files_start(void) {
    files_make();
    inject_nothing();
    inject.root = files_root;
}

void files_stop(void) {
    inject_nothing();
    files_remove();
}
