#include "tests/companion/machine.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct topology_companion *companion(void) {
    const char *path = getenv("TEST_COMPANION");
    void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    cr_assert(library != NULL, "TEST_COMPANION: %s", path != NULL ? dlerror() : "not set");
    const struct topology_companion *c = dlsym(library, TOPOLOGY_COMPANION);
    cr_assert(c != NULL && c->version == TOPOLOGY_VERSION);
    return c;
}

struct topology discovered(const char *variable, const char *value) {
    static struct topology t;
    cr_assert(setenv(variable, value, 1) == 0);
    cr_assert(companion()->discover(&t));
    return t;
}

/* ---- topologies as texts, in a buffer each ---- */

const char *nodes_with_cpus(const struct topology *t) {
    static char text[TOPOLOGY_NODES + 1];
    for (unsigned i = 0; i < t->count; i++) {
        text[i] = t->nodes[i].has_cpus ? '+' : '-';
    }
    return text;
}

const char *nodes_allowed(const struct topology *t) {
    static char text[TOPOLOGY_NODES + 1];
    for (unsigned i = 0; i < t->count; i++) {
        text[i] = t->nodes[i].is_allowed ? '+' : '-';
    }
    return text;
}

static void append_id(char *text, size_t size, unsigned id) {
    size_t length = strlen(text);
    (void)snprintf(text + length, size - length, length == 0 ? "%u" : " %u", id);
}

const char *ids_of(const struct topology *t) {
    static char text[TOPOLOGY_NODES * 5];
    text[0] = '\0';
    for (unsigned i = 0; i < t->count; i++) {
        append_id(text, sizeof text, t->nodes[i].id);
    }
    return text;
}

const char *ids_near(const struct topology *t, unsigned from) {
    static char text[TOPOLOGY_NODES * 5];
    text[0] = '\0';
    for (unsigned i = 0; i < t->count; i++) {
        append_id(text, sizeof text, t->nodes[t->nodes[from].nearest[i]].id);
    }
    return text;
}

const char *words_of(void (*action)(void)) {
    static char words[4096];
    FILE *file = tmpfile();
    int own = dup(STDERR_FILENO);
    cr_assert(file != NULL && own >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    action();
    (void)fflush(stderr);
    (void)dup2(own, STDERR_FILENO);
    rewind(file);
    words[fread(words, 1, sizeof words - 1, file)] = '\0';
    (void)fclose(file);
    return words;
}
