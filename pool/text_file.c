#include "pool/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "pool/number.h"

bool text_file_read(const char *path, char *text, size_t size) {
    int saved_errno = errno;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    if (fd >= 0) {
        n = read(fd, text, size - 1);
        (void)close(fd);
    }
    errno = saved_errno;
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static void walk(int fd, struct text_room room, text_file_visit *visit, void *context) {
    char *text = room.bytes;
    size_t length = 0;
    ssize_t n = 0;
    while ((n = read(fd, text + length, room.size - 1 - length)) > 0) {
        length += (size_t)n;
        text[length] = '\0';
        char *line = text;
        for (char *end = NULL; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            visit(context, line);
        }
        length -= (size_t)(line - text);
        memmove(text, line, length);
        length = length == room.size - 1 ? 0 : length;
    }
}

bool text_file_walk(const char *path, struct text_room room, text_file_visit *visit,
                    void *context) {
    int saved_errno = errno;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        walk(fd, room, visit, context);
        (void)close(fd);
    }
    errno = saved_errno;
    return fd >= 0;
}

size_t text_file_number(const char *path, size_t otherwise) {
    char text[32];
    return text_file_read(path, text, sizeof text) ? number_or(text, otherwise) : otherwise;
}
