/*
 * Threads ask whose a pointer is while another one opens the arena: a stranger's is never ours.
 */
#include "tests/stress/stress.h"

enum {
    HOSTS = 200
};

static struct host hosts[HOSTS];
static atomic_bool opened[HOSTS];

static void open_hosts(void) {
    for (int i = 0; i < HOSTS; i++) {
        struct host_config config = {.addresses = 64 * MIB};
        expect(host_start(&hosts[i], &config), "a small arena is to be had");
        atomic_store(&opened[i], true);
    }
}

static void *work(void *number) {
    if (number == NULL) {
        open_hosts();
        return NULL;
    }
    static const char stranger;
    for (int i = 0; i < HOSTS; i++) {
        while (!atomic_load(&opened[i])) {
            expect(!arena_owns(&hosts[i].arena, &stranger), "a stranger is none of ours");
            expect(!arena_owns(&hosts[i].arena, NULL), "nothing is none of ours");
        }
    }
    return NULL;
}

int main(void) {
    run_threads(work);
    return verdict("strangers_beside_start");
}
