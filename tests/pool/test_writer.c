#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "pool/writer.h"
#include "tests/pool/inject.h"

static char room[256];
static struct writer w;

/* What was written since, as a string. */
static const char *written(void) {
    room[w.length] = '\0';
    w.length = 0;
    return room;
}

static void start(void) {
    w = (struct writer){.fd = -1, .text = room, .size = sizeof room - 1};
}

TestSuite(writer, .init = start);

Test(writer, texts_and_characters_follow_each_other) {
    write_text(&w, "two words");
    write_text(&w, "");
    write_char(&w, '!');
    cr_expect(eq(str, (char *)written(), "two words!"));
}

static const char *padded(const char *text, size_t width) {
    write_padded(&w, text, width);
    return written();
}

Test(writer, padded_text_is_filled_up_or_cut_to_its_columns) {
    cr_expect(eq(str, (char *)padded("ab", 5), "ab   "));
    cr_expect(eq(str, (char *)padded("abcde", 5), "abcde"));
    cr_expect(eq(str, (char *)padded("abcdefg", 5), "abcde"));
    cr_expect(eq(str, (char *)padded("", 2), "  "));
    cr_expect(eq(str, (char *)padded("ab", 0), ""));
}

static const char *number(size_t n, size_t width) {
    write_number(&w, n, width);
    return written();
}

Test(writer, numbers_are_decimal_and_stand_on_the_right) {
    cr_expect(eq(str, (char *)number(0, 0), "0"));
    cr_expect(eq(str, (char *)number(1234567890, 0), "1234567890"));
    cr_expect(eq(str, (char *)number(SIZE_MAX, 0), "18446744073709551615"));
    cr_expect(eq(str, (char *)number(42, 5), "   42"));
    cr_expect(eq(str, (char *)number(123456, 5), "123456"));
    cr_expect(eq(str, (char *)number(7, 30), "                             7"));
}

static const char *pointer(uintptr_t p) {
    write_pointer(&w, (const void *)p);
    return written();
}

Test(writer, pointers_are_hexadecimal) {
    cr_expect(eq(str, (char *)pointer(0), "0x0"));
    cr_expect(eq(str, (char *)pointer(0x7f00deadbeef), "0x7f00deadbeef"));
    cr_expect(eq(str, (char *)pointer(UINTPTR_MAX), "0xffffffffffffffff"));
}

static const char *bytes(size_t n) {
    write_bytes(&w, n);
    return written();
}

Test(writer, bytes_are_told_in_the_largest_unit_that_fits) {
    cr_expect(eq(str, (char *)bytes(0), "0 B"));
    cr_expect(eq(str, (char *)bytes(1023), "1023 B"));
    cr_expect(eq(str, (char *)bytes(1024), "1 KiB"));
    cr_expect(eq(str, (char *)bytes(64 * KIB), "64 KiB"));
    cr_expect(eq(str, (char *)bytes(1 * MIB), "1 MiB"));
    cr_expect(eq(str, (char *)bytes(1 * MIB - 1), "1023 KiB"));
    cr_expect(eq(str, (char *)bytes(1 * GIB), "1 GiB"));
    cr_expect(eq(str, (char *)bytes(128 * TIB), "128 TiB"));
    cr_expect(eq(str, (char *)bytes(SIZE_MAX), "16383 PiB"));
}

Test(writer, bytes_have_one_decimal_below_a_hundred_and_only_where_it_is_not_zero) {
    cr_expect(eq(str, (char *)bytes(1536), "1.5 KiB"));
    cr_expect(eq(str, (char *)bytes(7 * GIB + 103 * MIB), "7.1 GiB"));
    cr_expect(eq(str, (char *)bytes(99 * MIB + 999 * KIB), "99.9 MiB"));
    cr_expect(eq(str, (char *)bytes(100 * MIB + 512 * KIB), "100 MiB"));
    cr_expect(eq(str, (char *)bytes(5 * MIB + 1), "5 MiB"));
}

static const char *ratio(size_t part, size_t whole) {
    write_ratio(&w, part, whole);
    return written();
}

Test(writer, ratios_have_four_decimals_rounded_down) {
    cr_expect(eq(str, (char *)ratio(0, 0), "0.0000"));
    cr_expect(eq(str, (char *)ratio(5, 0), "0.0000"));
    cr_expect(eq(str, (char *)ratio(0, 7), "0.0000"));
    cr_expect(eq(str, (char *)ratio(9876, 10000), "0.9876"));
    cr_expect(eq(str, (char *)ratio(2, 3), "0.6666"));
    cr_expect(eq(str, (char *)ratio(1, 1000), "0.0010"));
    cr_expect(eq(str, (char *)ratio(7, 7), "1.0000"));
    cr_expect(eq(str, (char *)ratio(25, 20), "1.2500"));
    cr_expect(eq(str, (char *)ratio((size_t)1 << 62, (size_t)1 << 63), "0.5000"));
}

static const char *percent(size_t part, size_t whole) {
    write_percent(&w, part, whole);
    return written();
}

Test(writer, percents_have_one_decimal_rounded_down) {
    cr_expect(eq(str, (char *)percent(0, 0), "0.0 %"));
    cr_expect(eq(str, (char *)percent(987, 1000), "98.7 %"));
    cr_expect(eq(str, (char *)percent(9999, 10000), "99.9 %"));
    cr_expect(eq(str, (char *)percent(1, 1), "100.0 %"));
    cr_expect(eq(str, (char *)percent(1, 2000), "0.0 %"));
}

Test(writer, without_a_file_what_does_not_fit_is_cut_off) {
    w.size = 4;
    write_text(&w, "abcdef");
    write_number(&w, 12345, 0);
    writer_flush(&w);
    cr_expect(eq(sz, w.length, 4), "a flush to nowhere keeps the text");
    cr_expect(eq(str, (char *)written(), "abcd"));
}

Test(writer, with_no_room_at_all_writes_nothing) {
    w.size = 0;
    write_text(&w, "abc");
    cr_expect(eq(sz, w.length, 0));
}

/* ---- with a file behind it ---- */

/* Everything that stands in the pipe. */
static const char *drained(int fd) {
    static char text[512];
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static int open_pipe(void) {
    int ends[2];
    cr_assert(eq(int, pipe2(ends, O_NONBLOCK), 0));
    w = (struct writer){.fd = ends[1], .text = room, .size = 4};
    return ends[0];
}

Test(writer, a_full_buffer_goes_to_the_file_and_the_rest_with_the_flush) {
    int fd = open_pipe();
    write_text(&w, "abcdefghij");
    cr_expect(eq(str, (char *)drained(fd), "abcdefgh"));
    writer_flush(&w);
    cr_expect(eq(str, (char *)drained(fd), "ij"));
    cr_expect(eq(sz, w.length, 0));
}

Test(writer, an_exactly_full_buffer_waits_for_the_next_character) {
    int fd = open_pipe();
    write_text(&w, "abcd");
    cr_expect(eq(str, (char *)drained(fd), ""));
    write_char(&w, 'e');
    cr_expect(eq(str, (char *)drained(fd), "abcd"));
}

Test(writer, an_empty_flush_makes_no_call) {
    (void)open_pipe();
    inject_nothing();
    writer_flush(&w);
    cr_expect(eq(sz, inject.calls[CALL_WRITE], 0));
}

Test(writer, goes_on_after_writes_that_took_only_a_part) {
    int fd = open_pipe();
    inject.write_most = 3;
    write_text(&w, "abcdefghij");
    writer_flush(&w);
    inject_nothing();
    cr_expect(eq(str, (char *)drained(fd), "abcdefghij"));
}

Test(writer, tries_again_after_a_signal_came_between) {
    int fd = open_pipe();
    inject_failures(CALL_WRITE, 1, 2);
    inject.error = EINTR;
    write_text(&w, "abc");
    writer_flush(&w);
    cr_expect(eq(sz, inject.calls[CALL_WRITE], 3));
    inject_nothing();
    cr_expect(eq(str, (char *)drained(fd), "abc"));
}

Test(writer, drops_what_a_closed_file_does_not_take_and_preserves_errno) {
    (void)open_pipe();
    cr_assert(eq(int, close(w.fd), 0));
    errno = 99;
    write_text(&w, "abcdefghij");
    writer_flush(&w);
    cr_expect(eq(int, errno, 99));
    cr_expect(eq(sz, w.length, 0));
}

Test(writer, preserves_errno_when_it_succeeds) {
    (void)open_pipe();
    errno = 98;
    write_text(&w, "abcdefghij");
    write_number(&w, 1, 0);
    writer_flush(&w);
    cr_expect(eq(int, errno, 98));
}
