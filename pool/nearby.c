#include "pool/nearby.h"

#include <errno.h>
#include <string.h>

#include "pool/number.h"
#include "pool/text_file.h"
#include "pool/writer.h"

/* ---- which node ---- */

/* Longer domains than sysfs writes have zeros in front. */
enum {
    DOMAIN_DIGITS = 4
};

static char lower(char c) {
    static const char upper[] = "ABCDEF";
    static const char lowered[] = "abcdef";
    const char *digit = c != '\0' ? strchr(upper, c) : NULL;
    if (digit == NULL) {
        return c;
    }
    return lowered[digit - upper];
}

/* As the kernel writes it. False: it is none. */
static bool write_address(struct writer *w, const char *address) {
    size_t domain = strcspn(address, ":");
    for (; domain > DOMAIN_DIGITS && *address == '0'; domain--) {
        address++;
    }
    const char *c = address;
    for (; number_hex_digit(lower(*c)) >= 0 || *c == ':' || *c == '.'; c++) {
        write_char(w, lower(*c));
    }
    return c != address && *c == '\0';
}

int nearby_node(const char *sysfs, const char *pci_address) {
    char path[256] = "";
    char text[16];
    const char *end = NULL;
    size_t node = 0;
    struct writer w = writer_to(-1, path, sizeof path - 1);
    write_text(&w, sysfs);
    write_text(&w, "/bus/pci/devices/");
    bool is_address = write_address(&w, pci_address);
    write_text(&w, "/numa_node");
    bool is_known = is_address && text_file_read(path, text, sizeof text) &&
                    number_parse(text, &end, &node) && node < NODE_IDS;
    return is_known ? (int)node : -1;
}

/* ---- around a call ---- */

/* The program's policy may be another one the next time; a sandbox stays one. */
static bool is_hopeless(int error) {
    return error != 0 && error != EEXIST;
}

static int prefer(const struct binding *b, const struct topology_companion *companion, int *was) {
    int saved_errno = errno;
    int error = companion != NULL ? companion->prefer(b, was) : ENOSYS;
    errno = saved_errno;
    return error;
}

bool nearby_begin(struct nearby *n, const struct placement *p,
                  const struct topology_companion *companion, int *was) {
    if (n->node < 0 || is_hopeless(atomic_load_explicit(&n->error, memory_order_relaxed))) {
        return false;
    }
    struct binding b = placement_near(p, (unsigned)n->node);
    if (b.kind == BINDING_NONE) {
        return false;
    }
    int error = prefer(&b, companion, was);
    atomic_store_explicit(&n->error, error, memory_order_relaxed);
    return error == 0;
}

void nearby_end(const struct topology_companion *companion, int was) {
    int saved_errno = errno;
    companion->prefer_as_before(was);
    errno = saved_errno;
}

const char *nearby_word(const struct nearby *n, const struct placement *p) {
    int error = atomic_load_explicit(&n->error, memory_order_relaxed);
    if (error == EEXIST) {
        return "task policy";
    }
    const char *name = error != 0 ? strerrorname_np(error) : NULL;
    enum binding_kind kind = placement_near(p, (unsigned)n->node).kind;
    return name != NULL ? name : placement_binding_word(p, kind);
}
