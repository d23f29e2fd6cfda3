#include "interpose/companion.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "interpose/shield.h"

/* A name without a version: the two libraries belong to one build, and TOPOLOGY_VERSION says so. */
static const char FILE_NAME[] = "libbigmalloc-topology.so";

static void say(char why[COMPANION_WORD], const char *word) {
    size_t length = size_min(strcspn(word, "\n"), COMPANION_WORD - 1);
    memcpy(why, word, length);
    why[length] = '\0';
}

/*
 * The loader knows our file by the path it opened. A bare name in LD_PRELOAD was found in a folder of
 * the library path, and has that before it; a relative path is still one, and leads from wherever the
 * program has gone, as it does for the loader in the program's children. Without a folder there is no
 * beside: dlopen would search, and might find another's.
 */
static bool path_beside_us(char path[PATH_MAX]) {
    Dl_info us;
    if (dladdr(FILE_NAME, &us) == 0 || us.dli_fname == NULL) {
        return false;
    }
    const char *slash = strrchr(us.dli_fname, '/');
    size_t folder = slash != NULL ? (size_t)(slash + 1 - us.dli_fname) : 0;
    if (folder == 0 || folder + sizeof FILE_NAME > PATH_MAX) {
        return false;
    }
    memcpy(path, us.dli_fname, folder);
    memcpy(path + folder, FILE_NAME, sizeof FILE_NAME);
    return true;
}

/* RTLD_LOCAL: neither its names nor hwloc's become the program's. */
static const struct topology_companion *load(const char *path, char why[COMPANION_WORD]) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *error = dlerror();
        say(why, error != NULL ? error : "refused");
        return NULL;
    }
    const struct topology_companion *companion = dlsym(library, TOPOLOGY_COMPANION);
    if (companion == NULL || companion->version != TOPOLOGY_VERSION) {
        (void)dlerror();
        say(why, "of another version");
        return NULL;
    }
    say(why, "");
    return companion;
}

/*
 * A program that runs with more rights than its caller does without: the path itself could be trusted,
 * as the loader trusted it with us, but hwloc takes the caller's word for the folder of its plugins.
 * That a file is missing, which is common, is found out without disturbing dlerror.
 */
static const struct topology_companion *load_if_there(char why[COMPANION_WORD]) {
    char path[PATH_MAX];
    if (getauxval(AT_SECURE) != 0) {
        say(why, "not for a program with more rights than its caller");
        return NULL;
    }
    if (!path_beside_us(path) || access(path, F_OK) != 0) {
        say(why, "not installed");
        return NULL;
    }
    return load(path, why);
}

/* Constructors of the libraries that come along read files, where a thread could be cancelled. */
const struct topology_companion *companion_load(char why[COMPANION_WORD]) {
    struct shield shield;
    shield_raise(&shield);
    const struct topology_companion *companion = load_if_there(why);
    shield_lower(&shield);
    return companion;
}
