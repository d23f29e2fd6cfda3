/*
 * writer.h - text into a buffer, and on to a file descriptor when the buffer is full. No stdio.
 *
 * Everything here is async-signal-safe, allocates nothing and preserves errno.
 */
#ifndef POOL_WRITER_H
#define POOL_WRITER_H

#include "pool/util.h"

struct writer {
    int fd;        /* where a full buffer goes; negative: nowhere, what does not fit is cut off */
    char *text;    /* the buffer, of the owner's */
    size_t size;   /* its bytes */
    size_t length; /* of them in use */
    bool failed;   /* fd did not take all of it */
};

/* An empty writer to fd, with room[size] as its buffer. */
static inline struct writer writer_to(int fd, char *room, size_t size) {
    return (struct writer){.fd = fd, .text = room, .size = size};
}

/* Enough for a line, and little enough for a signal stack. */
enum {
    WRITER_LINE = 1024
};

void write_char(struct writer *w, char c);
void write_text(struct writer *w, const char *text);

/* text, cut or filled up with blanks on the right to `width` columns. */
void write_padded(struct writer *w, const char *text, size_t width);

/* n in decimal, filled up on the left to `width` columns (0: none). */
void write_number(struct writer *w, size_t n, size_t width);

/* A pointer as 0x and hexadecimal digits. */
void write_pointer(struct writer *w, const void *p);

/* n bytes for a human: "512 KiB", "7.1 GiB". */
void write_bytes(struct writer *w, size_t n);

/* part/whole with four decimals, "0.9876"; 0.0000 of nothing. */
void write_ratio(struct writer *w, size_t part, size_t whole);

/* part/whole in per cent with one decimal, "98.7 %". */
void write_percent(struct writer *w, size_t part, size_t whole);

/* Sends what is in the buffer on to fd. */
void writer_flush(struct writer *w);

#endif
