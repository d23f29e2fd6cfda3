#include "pool/topology.h"

#include "pool/number.h"

/* ---- lists of numbers ---- */

/* One number, or the first and last of several, "2" or "2-3"; *text goes on behind. */
static bool parse_span(const char **text, size_t *first, size_t *last) {
    if (!number_parse(*text, text, first)) {
        return false;
    }
    *last = *first;
    if (**text == '-' && !number_parse(*text + 1, text, last)) {
        return false;
    }
    return *first <= *last && *last < NODE_IDS;
}

/* The list up to what is no part of it, in *text. */
static bool parse_spans(struct node_set *s, const char **text) {
    for (;; ++*text) {
        size_t first = 0;
        size_t last = 0;
        if (!parse_span(text, &first, &last)) {
            return false;
        }
        for (size_t id = first; id <= last; id++) {
            node_set_add(s, (unsigned)id);
        }
        if (**text != ',') {
            return true;
        }
    }
}

bool node_set_parse(struct node_set *s, const char *text) {
    struct node_set set = {0};
    if (!parse_spans(&set, &text) || text[*text == '\n'] != '\0') {
        return false;
    }
    *s = set;
    return true;
}

/* ---- nodes ---- */

/* An insertion sort, as there are few, and equals must stay in their order. */
void topology_order(struct topology *t, unsigned from, const uint64_t distances[TOPOLOGY_NODES]) {
    uint8_t *order = t->nodes[from].nearest;
    for (unsigned n = 0; n < t->count; n++) {
        uint8_t node = (uint8_t)((from + n) % t->count);
        unsigned place = n;
        for (; place > 1 && distances[order[place - 1]] > distances[node]; place--) {
            order[place] = order[place - 1];
        }
        order[place] = node;
    }
}

static unsigned count_of(const struct node_set *s) {
    unsigned count = 0;
    for (unsigned i = 0; i < NODE_IDS / 64; i++) {
        count += (unsigned)__builtin_popcountll(s->words[i]);
    }
    return count;
}

bool topology_plain(struct topology *t, const char *online) {
    static const uint64_t equal[TOPOLOGY_NODES];
    struct node_set set;
    if (!node_set_parse(&set, online) || count_of(&set) < 2) {
        return false;
    }
    *t = (struct topology){0};
    for (unsigned id = 0; id < NODE_IDS && t->count < TOPOLOGY_NODES; id++) {
        if (node_set_has(&set, id)) {
            t->nodes[t->count++] = (struct node){.id = id, .has_cpus = true, .is_allowed = true};
        }
    }
    for (unsigned i = 0; i < t->count; i++) {
        topology_order(t, i, equal);
    }
    return true;
}
