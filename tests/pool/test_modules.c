#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "pool/modules.h"
#include "tests/pool/files.h"
#include "tests/pool/inject.h"

static void start(void) {
    inject_nothing();
    files_make();
    inject.root = files_root;
}

TestSuite(modules, .init = start, .fini = files_remove);

static struct module seen[8];
static char paths[8][256];
static size_t seen_count;

static void see(const struct module *m) {
    cr_assert(lt(sz, seen_count, 8));
    (void)snprintf(paths[seen_count], sizeof paths[0], "%s", m->path);
    seen[seen_count++] = *m;
}

static const char one_file[] =
    "10000-11000 r--p 00000000 fe:01 1234                 /usr/lib/x y.so\n"
    "11000-14000 r-xp 00001000 fe:01 1234                 /usr/lib/x y.so\n"
    "14000-15000 rw-p 00004000 fe:01 1234                 /usr/lib/x y.so\n"
    "7f0000000000-7f0000001000 r-xp 00000000 00:00 0 \n"
    "7fff00000000-7fff00001000 r-xp 00000000 00:00 0      [vdso]\n";

Test(modules, are_the_executable_mappings_of_files) {
    files_put("/proc/self/maps", one_file);
    modules_visit(see);
    cr_assert(eq(sz, seen_count, 1));
    cr_expect(eq(u64, seen[0].start, 0x11000));
    cr_expect(eq(u64, seen[0].end, 0x14000));
    cr_expect(eq(u64, seen[0].offset, 0x1000));
    cr_expect(eq(str, paths[0], "/usr/lib/x y.so"));
    cr_expect(eq(str, seen[0].build_id, ""));
}

/* Memory with a file's headers at 0x10000. */
static void put_memory(const char *name, uint64_t note_offset, uint32_t id_bytes) {
    static unsigned char memory[0x20000];
    Elf64_Ehdr *file = (Elf64_Ehdr *)(memory + 0x10000);
    Elf64_Phdr *segments = (Elf64_Phdr *)(memory + 0x10000 + 64);
    memcpy(file->e_ident, ELFMAG, SELFMAG);
    *file = (Elf64_Ehdr){.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3},
                         .e_phoff = 64,
                         .e_phnum = 2,
                         .e_phentsize = sizeof *segments};
    segments[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_filesz = 0x800};
    segments[1] = (Elf64_Phdr){
        .p_type = PT_NOTE, .p_offset = note_offset, .p_filesz = 16 + 20 + 16 + id_bytes};
    unsigned char *notes = memory + 0x10000 + note_offset;
    Elf64_Nhdr other = {.n_namesz = 4, .n_descsz = 17, .n_type = NT_GNU_ABI_TAG};
    memcpy(notes, &other, sizeof other);
    Elf64_Nhdr note = {.n_namesz = 4, .n_descsz = id_bytes, .n_type = NT_GNU_BUILD_ID};
    memcpy(notes + 16 + 20, &note, sizeof note);
    memcpy(notes + 16 + 20 + 12, name, 4);
    for (uint32_t i = 0; i < id_bytes; i++) {
        notes[16 + 20 + 16 + i] = (unsigned char)(0xa0 + i);
    }
    files_put_bytes("/proc/self/mem", memory, sizeof memory);
}

Test(modules, have_the_build_id_of_their_file) {
    files_put("/proc/self/maps", one_file);
    put_memory("GNU", 0x200, 20);
    modules_visit(see);
    cr_assert(eq(str, seen[0].build_id, "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3"));
}

Test(modules, of_another_vendor_have_none) {
    files_put("/proc/self/maps", one_file);
    put_memory("ACM", 0x200, 20);
    modules_visit(see);
    cr_assert(eq(str, seen[0].build_id, ""));
}

Test(modules, with_notes_beyond_what_is_mapped_of_their_beginning_have_none) {
    files_put("/proc/self/maps", one_file);
    put_memory("GNU", 0xff0, 20);
    modules_visit(see);
    cr_assert(eq(str, seen[0].build_id, ""));
}

Test(modules, of_a_long_build_id_have_its_beginning) {
    files_put("/proc/self/maps", one_file);
    put_memory("GNU", 0x200, 40);
    modules_visit(see);
    cr_assert(eq(sz, strlen(seen[0].build_id), 64));
}

/* The build id of another file, whose first mapping came before, is not theirs. */
Test(modules, without_a_mapping_of_their_beginning_have_none) {
    files_put("/proc/self/maps", "10000-11000 r--p 00000000 fe:01 1234 /usr/lib/x.so\n"
                                 "12000-14000 r-xp 00001000 fe:01 1235 /usr/lib/y.so\n");
    put_memory("GNU", 0x200, 20);
    modules_visit(see);
    cr_expect(eq(str, paths[0], "/usr/lib/y.so"));
    cr_expect(eq(str, seen[0].build_id, ""));
}

Test(modules, are_none_where_nothing_can_be_read) {
    modules_visit(see);
    cr_assert(eq(sz, seen_count, 0));
}

Test(modules, are_none_in_lines_of_another_kind) {
    files_put("/proc/self/maps",
              "\n-\n10000-\n10000-11000\n10000-11000 r-xp\n10000-11000 r-xp 0 0\n"
              "10000-11000 r-xp 0 fe:01 \n10000-11000 r-xpp 0 fe:01 1 /a\nx");
    modules_visit(see);
    cr_assert(eq(sz, seen_count, 0));
}

static bool holds_this;

static void look_for_this(const struct module *m) {
    uint64_t here = (uintptr_t)look_for_this;
    holds_this = holds_this || (m->start <= here && here < m->end && strlen(m->build_id) == 40);
}

/* This program as the system maps it, with the build id that the linker has given it. */
Test(modules, of_this_process_hold_its_code) {
    inject.root = NULL;
    modules_visit(look_for_this);
    cr_assert(holds_this);
}
