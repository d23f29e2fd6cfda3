#include "pool/process.h"

#include <string.h>

#include "pool/number.h"
#include "pool/text_file.h"

enum {
    STATUS_BYTES = 2048,
    STATM_BYTES = 160
};

/* The n of "label:   n kB". */
static size_t kib_of(const char *text, const char *label) {
    const char *p = strstr(text, label);
    p = p != NULL ? p + strlen(label) : "";
    return number_or(p + strspn(p, "\t "), 0) * KIB;
}

/* The lines are in its first 600 bytes; what follows them may be long. */
void process_memory(struct process_memory *m) {
    char text[STATUS_BYTES];
    bool is_there = text_file_read("/proc/self/status", text, sizeof text);
    m->resident = is_there ? kib_of(text, "\nVmRSS:") : 0;
    m->resident_peak = is_there ? kib_of(text, "\nVmHWM:") : 0;
}

/* The second of its numbers, in pages. */
size_t process_resident(void) {
    char text[STATM_BYTES];
    const char *end = text;
    size_t all = 0;
    bool is_there =
        text_file_read("/proc/self/statm", text, sizeof text) && number_parse(text, &end, &all);
    return is_there && *end == ' ' ? number_or(end + 1, 0) * PAGE : 0;
}
