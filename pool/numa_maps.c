#include "pool/numa_maps.h"

#include <string.h>

#include "pool/number.h"

/* The address that the line begins with, and in *end the blank behind it. */
static bool parse_start(const char *line, const char **end, uintptr_t *start) {
    size_t address = 0;
    bool is_there = number_parse_hex(line, end, &address) && **end == ' ';
    *start = address;
    return is_there;
}

/* "N0=512" */
static void parse_node(struct numa_mapping *m, const char *word) {
    const char *end = NULL;
    size_t id = 0;
    size_t pages = 0;
    bool valid = number_parse(word + 1, &end, &id) && *end == '=' && id < NODE_IDS &&
                 number_parse(end + 1, &end, &pages);
    if (valid && m->count < TOPOLOGY_NODES) {
        m->ids[m->count] = (unsigned)id;
        m->bytes[m->count++] = pages;
    }
}

static size_t multiply(size_t a, size_t b) {
    size_t product = 0;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

bool numa_maps_parse(struct numa_mapping *m, const char *line) {
    static const char page_size[] = "kernelpagesize_kB=";
    size_t page_kib = 0;
    const char *p = NULL;
    m->count = 0;
    if (!parse_start(line, &p, &m->start)) {
        return false;
    }
    while (*(p += strspn(p, " ")) != '\0' && *p != '\n') {
        if (*p == 'N') {
            parse_node(m, p);
        } else if (strncmp(p, page_size, strlen(page_size)) == 0) {
            page_kib = number_or(p + strlen(page_size), 0);
        }
        p += strcspn(p, " \n");
    }
    for (unsigned i = 0; i < m->count; i++) {
        m->bytes[i] = multiply(m->bytes[i], multiply(page_kib, KIB));
    }
    return true;
}
