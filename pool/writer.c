#include "pool/writer.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void writer_flush(struct writer *w) {
    if (w->fd < 0) {
        return;
    }
    int saved_errno = errno;
    const char *p = w->text;
    while (w->length > 0) {
        ssize_t n = write(w->fd, p, w->length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            w->failed = true;
            break; /* nobody reads it: there is no one left to tell */
        }
        p += n;
        w->length -= (size_t)n;
    }
    w->length = 0;
    errno = saved_errno;
}

void write_char(struct writer *w, char c) {
    if (w->length == w->size) {
        writer_flush(w);
    }
    if (w->length < w->size) {
        w->text[w->length++] = c;
    }
}

void write_text(struct writer *w, const char *text) {
    while (*text != '\0') {
        write_char(w, *text++);
    }
}

static void write_blanks(struct writer *w, size_t n) {
    while (n-- > 0) {
        write_char(w, ' ');
    }
}

void write_padded(struct writer *w, const char *text, size_t width) {
    size_t n = strnlen(text, width);
    for (size_t i = 0; i < n; i++) {
        write_char(w, text[i]);
    }
    write_blanks(w, width - n);
}

/* Digits of n in `base`, the last one first written at the end of the buffer. */
static void write_digits(struct writer *w, size_t n, size_t base, size_t width) {
    char digits[24];
    size_t first = sizeof digits;
    do {
        digits[--first] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n != 0);
    size_t count = sizeof digits - first;
    write_blanks(w, size_minus(width, count));
    while (first < sizeof digits) {
        write_char(w, digits[first++]);
    }
}

void write_number(struct writer *w, size_t n, size_t width) {
    write_digits(w, n, 10, width);
}

void write_pointer(struct writer *w, const void *p) {
    write_text(w, "0x");
    write_digits(w, (uintptr_t)p, 16, 0);
}

void write_bytes(struct writer *w, size_t n) {
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
    size_t unit = 0;
    size_t tenths = 0;
    while (n >= KIB && unit + 1 < sizeof units / sizeof *units) {
        tenths = n % KIB * 10 / KIB;
        n /= KIB;
        unit++;
    }
    write_number(w, n, 0);
    if (n < 100 && tenths != 0) {
        write_char(w, '.');
        write_number(w, tenths, 0);
    }
    write_text(w, units[unit]);
}

/* part/whole in units of 1/scale, rounded down. Ratios are made of at most 2^63 bytes. */
static size_t scaled(size_t part, size_t whole, size_t scale) {
    return whole == 0 ? 0 : (size_t)((long double)part * (long double)scale / (long double)whole);
}

void write_ratio(struct writer *w, size_t part, size_t whole) {
    size_t n = scaled(part, whole, 10000);
    write_number(w, n / 10000, 0);
    write_char(w, '.');
    for (size_t digit = 1000; digit > 0; digit /= 10) {
        write_char(w, (char)('0' + n / digit % 10));
    }
}

void write_percent(struct writer *w, size_t part, size_t whole) {
    size_t n = scaled(part, whole, 1000);
    write_number(w, n / 10, 0);
    write_char(w, '.');
    write_number(w, n % 10, 0);
    write_text(w, " %");
}
