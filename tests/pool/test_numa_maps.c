#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "pool/numa_maps.h"

static struct numa_mapping m;

static bool parses(const char *line) {
    memset(&m, 0x55, sizeof m);
    return numa_maps_parse(&m, line);
}

Test(numa_maps, a_line_tells_bytes_by_node) {
    cr_assert(parses("7f5400000000 prefer:1 anon=1024 dirty=1024 active=0 N0=512 N3=256 "
                     "kernelpagesize_kB=4"));
    cr_expect(eq(sz, m.start, 0x7f5400000000));
    cr_assert(eq(uint, m.count, 2));
    cr_expect(eq(uint, m.ids[0], 0));
    cr_expect(eq(sz, m.bytes[0], 2 * MIB));
    cr_expect(eq(uint, m.ids[1], 3));
    cr_expect(eq(sz, m.bytes[1], 1 * MIB));
}

Test(numa_maps, pages_are_of_the_size_that_is_told) {
    cr_assert(parses("7f5400000000 default file=/dev/hugepages/x huge anon=2 N1=2 "
                     "kernelpagesize_kB=2048\n"));
    cr_expect(eq(sz, m.bytes[0], 4 * MIB));
}

Test(numa_maps, a_mapping_without_pages_has_no_nodes) {
    cr_assert(parses("7ffd00000000 default stack"));
    cr_expect(eq(uint, m.count, 0));
    cr_assert(parses("7ffd00000000 default"));
    cr_expect(eq(uint, m.count, 0));
}

Test(numa_maps, words_that_only_look_like_nodes_are_none) {
    cr_assert(parses("55d5e5800000 default file=/tmp/N0=9 N=5 N0 N1= Nx=4 N1024=7 N2=1 mapped=2 "
                     "kernelpagesize_kB=4"));
    cr_assert(eq(uint, m.count, 1));
    cr_expect(eq(uint, m.ids[0], 2));
}

Test(numa_maps, pages_of_no_told_size_are_no_bytes) {
    cr_assert(parses("7f5400000000 default anon=1 N0=1"));
    cr_expect(eq(sz, m.bytes[0], 0));
}

Test(numa_maps, other_lines_are_none) {
    cr_expect(not(parses("")));
    cr_expect(not(parses("\n")));
    cr_expect(not(parses(" 7f5400000000 default")));
    cr_expect(not(parses("default N0=1 kernelpagesize_kB=4")), "a hexadecimal digit is no address");
    cr_expect(not(parses("7f5400000000")));
    cr_expect(not(parses("7f5400000000123456789 default")), "no address is that long");
}

Test(numa_maps, numbers_too_large_stay_large) {
    cr_assert(parses("7f5400000000 default N0=99999999999999999999 "
                     "kernelpagesize_kB=99999999999999999999"));
    cr_expect(eq(sz, m.bytes[0], SIZE_MAX));
}

Test(numa_maps, more_nodes_than_can_be_told_are_left_out) {
    char line[2048] = "7f5400000000 default";
    for (int i = 0; i < 100; i++) {
        char word[16];
        (void)snprintf(word, sizeof word, " N%d=1", i);
        strcat(line, word);
    }
    cr_assert(parses(strcat(line, " kernelpagesize_kB=4")));
    cr_expect(eq(uint, m.count, TOPOLOGY_NODES));
    cr_expect(eq(sz, m.bytes[TOPOLOGY_NODES - 1], 4 * KIB));
}
