/*
 * text_file.h - the small texts of /proc and /sys.
 *
 * Thread-safe, async-signal-safe; errno is preserved, and no descriptor stays open.
 */
#ifndef POOL_TEXT_FILE_H
#define POOL_TEXT_FILE_H

#include "pool/util.h"

/* The beginning of the file, terminated, in text[size]. False, and text empty: it cannot be read. */
MUST_CHECK bool text_file_read(const char *path, char *text, size_t size);

/* Calls visit for each line of the file, without its end, in room[size]. What does not fit is of no line: those that
 * follow have their beginnings. False: it cannot be opened. */
typedef void text_file_visit(void *context, char *line);
struct text_room {
    char *bytes;
    size_t size;
};
MUST_CHECK bool text_file_walk(const char *path, struct text_room room, text_file_visit *visit,
                               void *context);

/* The number that the file begins with; `otherwise` where there is none. */
size_t text_file_number(const char *path, size_t otherwise);

#endif
