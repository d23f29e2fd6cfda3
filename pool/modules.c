#include "pool/modules.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "pool/number.h"
#include "pool/text_file.h"

/* ---- a line of maps ---- */

/* "7f0000001000-7f0000002000 r-xp 00001000 fe:01 1234     /usr/lib/x.so" */
struct mapping {
    size_t start;
    size_t end;
    size_t offset;
    size_t major;
    size_t minor;
    size_t inode;
    bool is_code;
    const char *path; /* "" where there is none */
};

static bool parse_range(const char **p, struct mapping *m) {
    return number_parse_hex(*p, p, &m->start) && *(*p)++ == '-' &&
           number_parse_hex(*p, p, &m->end) && *(*p)++ == ' ';
}

static bool parse_rights(const char **p, struct mapping *m) {
    size_t length = strcspn(*p, " ");
    m->is_code = length == 4 && (*p)[2] == 'x';
    *p += length;
    return length == 4 && *(*p)++ == ' ';
}

static bool parse_file(const char **p, struct mapping *m) {
    return number_parse_hex(*p, p, &m->offset) && *(*p)++ == ' ' &&
           number_parse_hex(*p, p, &m->major) && *(*p)++ == ':' &&
           number_parse_hex(*p, p, &m->minor) && *(*p)++ == ' ' && number_parse(*p, p, &m->inode);
}

static bool parse(struct mapping *m, const char *line) {
    const char *p = line;
    if (!parse_range(&p, m) || !parse_rights(&p, m) || !parse_file(&p, m)) {
        return false;
    }
    m->path = p + strspn(p, " ");
    return true;
}

static bool is_of_same_file(const struct mapping *a, const struct mapping *b) {
    return a->inode == b->inode && a->major == b->major && a->minor == b->minor;
}

/* ---- build ids ---- */

enum {
    HEADERS_MOST = 32, /* of the segments that are looked at */
    NOTES_BYTES = 1024 /* of each segment of notes */
};

static bool read_at(int memory, uint64_t address, void *bytes, size_t count) {
    return pread(memory, bytes, count, (off_t)address) == (ssize_t)count;
}

static void write_hex(char text[MODULE_BUILD_ID], const unsigned char *bytes, size_t count) {
    static const char digits[] = "0123456789abcdef";
    count = size_min(count, (MODULE_BUILD_ID - 1) / 2);
    for (size_t i = 0; i < count; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * count] = '\0';
}

/* Names and contents of notes are filled up to 4 bytes. */
static bool find_in_notes(const unsigned char *notes, size_t bytes, char id[MODULE_BUILD_ID]) {
    size_t at = 0;
    Elf64_Nhdr note;
    while (bytes - at >= sizeof note) {
        memcpy(&note, notes + at, sizeof note);
        size_t name = at + sizeof note;
        size_t contents = name + round_up(note.n_namesz, 4);
        size_t next = contents + round_up(note.n_descsz, 4);
        if (next > bytes) {
            return false;
        }
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof ELF_NOTE_GNU &&
            memcmp(notes + name, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0) {
            write_hex(id, notes + contents, note.n_descsz);
            return true;
        }
        at = next;
    }
    return false;
}

/* `first` maps the beginning of the file: there its headers lie, and its notes if they are to be found. */
static bool find_in_segment(int memory, const struct mapping *first, const Elf64_Phdr *segment,
                            char id[MODULE_BUILD_ID]) {
    unsigned char notes[NOTES_BYTES];
    size_t bytes = size_min(segment->p_filesz, sizeof notes);
    bool is_there = segment->p_type == PT_NOTE && segment->p_offset < first->end - first->start &&
                    bytes <= first->end - first->start - segment->p_offset;
    return is_there && read_at(memory, first->start + segment->p_offset, notes, bytes) &&
           find_in_notes(notes, bytes, id);
}

static void find_build_id(int memory, const struct mapping *first, char id[MODULE_BUILD_ID]) {
    Elf64_Ehdr file;
    *id = '\0';
    if (!read_at(memory, first->start, &file, sizeof file) ||
        memcmp(file.e_ident, ELFMAG, SELFMAG) != 0 || file.e_phentsize != sizeof(Elf64_Phdr)) {
        return;
    }
    bool found = false;
    for (size_t i = 0; i < file.e_phnum && i < HEADERS_MOST && !found; i++) {
        Elf64_Phdr segment;
        uint64_t at = first->start + file.e_phoff + i * sizeof segment;
        found = read_at(memory, at, &segment, sizeof segment) &&
                find_in_segment(memory, first, &segment, id);
    }
}

/* ---- all of them ---- */

struct walk {
    void (*visit)(const struct module *m);
    int memory;
    struct mapping first; /* the last one of the beginning of a file */
};

static void walk_line(void *context, char *line) {
    struct walk *w = context;
    struct mapping m;
    if (!parse(&m, line) || *m.path != '/') {
        return;
    }
    if (m.offset == 0) {
        w->first = m;
    }
    if (!m.is_code) {
        return;
    }
    struct module module = {.start = m.start, .end = m.end, .offset = m.offset, .path = m.path};
    if (w->memory >= 0 && is_of_same_file(&m, &w->first)) {
        find_build_id(w->memory, &w->first, module.build_id);
    }
    w->visit(&module);
}

void modules_visit(void (*visit)(const struct module *m)) {
    char line[PATH_MAX + 128];
    int saved_errno = errno;
    struct walk w = {.visit = visit, .memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC)};
    (void)!text_file_walk("/proc/self/maps", (struct text_room){line, sizeof line}, walk_line, &w);
    if (w.memory >= 0) {
        (void)close(w.memory);
    }
    errno = saved_errno;
}
