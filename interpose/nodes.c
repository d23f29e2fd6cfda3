#include "interpose/nodes.h"

#include "interpose/companion.h"
#include "pool/text_file.h"

enum {
    ONLINE_BYTES = 512
};

/* Sets what is known of several nodes without help. False: there is one, or nobody asks. */
static bool look(struct topology *t, const struct numa_choice *choice) {
    char online[ONLINE_BYTES];
    return choice->mode != NUMA_OFF &&
           text_file_read("/sys/devices/system/node/online", online, sizeof online) &&
           topology_plain(t, online);
}

/*
 * The loader's lock is taken here, in the first large request. A constructor that waits, inside dlopen, for
 * another thread's first large request of the process would wait for ever: the price for not loading
 * anything into the many processes that make none.
 */
const struct topology_companion *nodes_plan(struct placement *p, const struct numa_choice *choice) {
    static struct topology topology;
    static char why_cannot[COMPANION_WORD];
    struct placement_facts facts = {.why_cannot = why_cannot};
    const struct topology_companion *companion = NULL;
    if (look(&topology, choice)) {
        facts.topology = &topology;
        companion = companion_load(why_cannot);
    }
    if (companion != NULL) {
        (void)companion->discover(&topology);
        facts.task = companion->task_policy();
        facts.can_bind = true;
    }
    placement_plan(p, choice, &facts);
    return companion;
}
