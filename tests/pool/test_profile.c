#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "pool/profile.h"

static struct profile p;
static char text[PROFILE_TEXT];

static const char GOOD[] = "bigmalloc-profile 2 python3\n"
                           "host 0 738197504\n"
                           "8388608 12\n"
                           "16777216 1\n"
                           "device GPU-7374616e-642d-696e-0000-000000000000 4194304\n"
                           "4194304 1\n"
                           "end\n";

static const char *written(void) {
    struct writer w = writer_to(-1, text, sizeof text - 1);
    profile_write(&w, &p);
    cr_assert(lt(sz, w.length, w.size));
    text[w.length] = '\0';
    return text;
}

/* ---- the text ---- */

Test(profile, is_written_as_it_was_read) {
    cr_assert(profile_parse(&p, GOOD));
    cr_expect(eq(str, p.command, "python3"));
    cr_expect(eq(u32, p.pool_count, 2));
    cr_expect(eq(str, p.pools[0].place.kind, "host"));
    cr_expect(eq(str, p.pools[0].place.where, "0"));
    cr_expect(eq(sz, p.pools[0].peak, 704 * MIB));
    cr_expect(eq(u32, p.pools[0].end, 2));
    cr_expect(eq(sz, p.lines[0].bytes, 8 * MIB));
    cr_expect(eq(sz, p.lines[0].blocks, 12));
    cr_expect(eq(str, p.pools[1].place.kind, "device"));
    cr_expect(eq(str, p.pools[1].place.where, "GPU-7374616e-642d-696e-0000-000000000000"));
    cr_expect(eq(u32, p.pools[1].first, 2));
    cr_expect(eq(u32, p.pools[1].end, 3));
    cr_expect(eq(str, (char *)written(), (char *)GOOD));
}

Test(profile, that_is_cut_off_anywhere_is_none) {
    for (size_t i = 0; i < strlen(GOOD); i++) {
        memcpy(text, GOOD, i);
        text[i] = '\0';
        cr_expect(not(profile_parse(&p, text)), "%s", text);
    }
}

Test(profile, refuses_what_is_hostile_or_of_another_version) {
    static const char *const bad[] = {
        "",
        "\n",
        "host 0 1\nend\n",
        "bigmalloc-profile 1 x\npeak 1\nhost 0 8388608 1\nend\n",
        "bigmalloc-profile 3 x\nend\n",
        "bigmalloc-profile 2\nend\n",
        "bigmalloc-profile 2 sixteen characters\nend\n",
        "bigmalloc-profile 2 x\nhost 0 -1\nend\n",
        "bigmalloc-profile 2 x\nhost 0 140737488355329\nend\n",
        "bigmalloc-profile 2 x\nhost 0 1 \nend\n",
        "bigmalloc-profile 2 x\nhost 0 1\nend\nmore",
        "bigmalloc-profile 2 x\nhost 0\nend\n",
        "bigmalloc-profile 2 x\nhost  1\nend\n",
        "bigmalloc-profile 2 x\n 0 1\nend\n",
        "bigmalloc-profile 2 x\nkinds-of-8 0 1\nend\n",
        "bigmalloc-profile 2 x\n8388608 1\nend\n",
        "bigmalloc-profile 2 x\ndevice 123456789-123456789-123456789-123456789-12345678 1\nend\n",
        "bigmalloc-profile 2 x\nhost 0 1\n8388609 1\nend\n",
        "bigmalloc-profile 2 x\nhost 0 1\n0 1\nend\n",
        "bigmalloc-profile 2 x\nhost 0 1\n281474976710656 1\nend\n",
        "bigmalloc-profile 2 x\nhost 0 1\n8388608 4294967296\nend\n",
        "bigmalloc-profile 2 x\nhost 0 1\n8388608 99999999999999999999\nend\n",
        "bigmalloc-profile 2 x\nhost 0 1\n8388608\nend\n",
        "bigmalloc-profile 2 x\nhost 0 1\n8388608 1 1\nend\n",
        "bigmalloc-profile 2 x\r\nhost 0 1\r\nend\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect(not(profile_parse(&p, bad[i])), "%s", bad[i]);
    }
}

Test(profile, may_be_of_a_program_of_any_name_and_need_nothing) {
    cr_expect(profile_parse(&p, "bigmalloc-profile 2 a b\t\xff\nend\n"));
    cr_expect(eq(str, p.command, "a b\t\xff"));
    cr_expect(eq(u32, p.pool_count, 0));
    cr_expect(eq(sz, profile_peak(&p, NULL), 0));
}

static const struct profile_place longest = {
    .kind = "device.", .where = "MIG-74616e64-642d-696e-0000-000000000000/777777"};

Test(profile, has_so_many_pools_and_lines_and_no_more) {
    for (int i = 0; i < PROFILE_POOLS; i++) {
        cr_expect(profile_add_pool(&p, &longest, SIZE_CLASS_MAX));
    }
    cr_expect(not(profile_add_pool(&p, &longest, 1)));
    for (int i = 0; i < PROFILE_LINES + 1; i++) {
        profile_add(&p, (struct profile_line){.bytes = SIZE_CLASS_MAX, .blocks = UINT32_MAX});
    }
    cr_expect(eq(u32, p.line_count, PROFILE_LINES));
    cr_expect(eq(sz, profile_peak(&p, "device."), SIZE_CLASS_MAX), "no sum of peaks overflows");
    (void)snprintf(p.command, sizeof p.command, "fifteen letters");
    cr_assert(profile_parse(&p, written()), "the longest fits into the room");
    char *end = strstr(text, "end\n");
    (void)snprintf(end, 64, "8388608 1\nend\n");
    cr_expect(not(profile_parse(&p, text)));
    (void)snprintf(end, 64, "host 0 1\nend\n");
    cr_expect(not(profile_parse(&p, text)));
}

Test(profile, has_no_line_of_no_blocks_and_none_of_no_pool) {
    profile_add(&p, (struct profile_line){.bytes = 8 * MIB, .blocks = 1});
    cr_assert(profile_add_pool(&p, &longest, 1));
    profile_add(&p, (struct profile_line){.bytes = 8 * MIB, .blocks = 0});
    cr_expect(eq(u32, p.line_count, 0));
}

Test(profile, adds_the_peaks_of_one_kind) {
    cr_assert(profile_parse(&p, "bigmalloc-profile 2 x\nhost 0 3\nhost 1 4\ndevice 0 9\nend\n"));
    cr_expect(eq(sz, profile_peak(&p, "host"), 7));
    cr_expect(eq(sz, profile_peak(&p, NULL), 16));
}

Test(profile, finds_a_place_as_often_as_it_is_there) {
    static const struct profile_place second = {.kind = "host", .where = "1"};
    static const struct profile_place other = {.kind = "pinned", .where = "1"};
    cr_assert(profile_parse(&p, "bigmalloc-profile 2 x\nhost 0 1\nhost 1 2\nhost 1 3\nend\n"));
    struct profile_pool *found = profile_find(&p, &second);
    cr_assert(eq(sz, found->peak, 2));
    found->is_taken = true;
    found = profile_find(&p, &second);
    cr_assert(eq(sz, found->peak, 3));
    found->is_taken = true;
    cr_expect(eq(ptr, profile_find(&p, &second), NULL));
    cr_expect(eq(ptr, profile_find(&p, &other), NULL));
}

Test(profile, tells_a_file_of_another_version_from_another_file) {
    cr_expect(profile_is_one("bigmalloc-profile 7 whatever"));
    cr_expect(not(profile_is_one("my thesis")));
    cr_expect(not(profile_is_one("")));
}

/* ---- walking ---- */

/* Of the second of two pools, to see that it begins and ends with it. */
static struct profile_walk walk_of(const char *lines) {
    (void)snprintf(
        text, sizeof text,
        "bigmalloc-profile 2 x\nhost 0 1\n4194304 1\nhost 1 1\n%shost 2 1\n4194304 1\nend\n",
        lines);
    cr_assert(profile_parse(&p, text));
    return (struct profile_walk){.profile = &p, .pool = &p.pools[1]};
}

static void expect_piece(struct profile_walk *walk, size_t bytes) {
    cr_expect(eq(sz, profile_next_piece(walk, 64 * MIB), bytes));
}

Test(profile, is_walked_by_pieces_of_what_is_large) {
    struct profile_walk walk = walk_of("8388608 2\n150994944 2\n");
    expect_piece(&walk, 8 * MIB);
    expect_piece(&walk, 8 * MIB);
    for (int block = 0; block < 2; block++) {
        expect_piece(&walk, 64 * MIB);
        expect_piece(&walk, 64 * MIB);
        expect_piece(&walk, 16 * MIB);
    }
    expect_piece(&walk, 0);
    expect_piece(&walk, 0);
}

Test(profile, is_walked_block_by_block) {
    struct profile_walk walk = walk_of("8388608 2\n150994944 1\n");
    cr_expect(eq(sz, profile_next_block(&walk, UNLIMITED), 8 * MIB));
    cr_expect(eq(sz, profile_next_block(&walk, UNLIMITED), 8 * MIB));
    cr_expect(eq(sz, profile_next_block(&walk, UNLIMITED), 144 * MIB));
    cr_expect(eq(sz, profile_next_block(&walk, UNLIMITED), 0));
    cr_expect(eq(sz, profile_next_block(&walk, UNLIMITED), 0));
}

Test(profile, leaves_blocks_out_that_are_too_large) {
    struct profile_walk walk = walk_of("4194304 1\n8388608 4294967295\n6291456 1\n");
    cr_expect(eq(sz, profile_next_block(&walk, 7 * MIB), 4 * MIB));
    cr_expect(eq(sz, profile_next_block(&walk, 7 * MIB), 6 * MIB));
    cr_expect(eq(sz, profile_next_block(&walk, 7 * MIB), 0));
}

Test(profile, of_no_program_has_no_block) {
    struct profile_walk walk = {0};
    expect_piece(&walk, 0);
    cr_expect(eq(sz, profile_next_block(&walk, UNLIMITED), 0));
}
