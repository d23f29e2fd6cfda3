#include "pool/text_file.h"

#include <errno.h>
#include <fcntl.h>
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

size_t text_file_number(const char *path, size_t otherwise) {
    char text[32];
    return text_file_read(path, text, sizeof text) ? number_or(text, otherwise) : otherwise;
}
