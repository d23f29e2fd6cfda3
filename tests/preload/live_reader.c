#include "tests/preload/live_reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/preload/subject.h"

enum {
    FILE_MOST = 64 * 1024,
    VERSION_AT = 8,
    SCHEMA_AT = 24,
    SCHEMA_BYTES_AT = 32,
    POOLS_AT = 40
};

static char file[FILE_MOST];
static char before[FILE_MOST];
static size_t file_bytes;
static char path[512];

static const char *folder(void) {
    static char name[256];
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    CHECK(runtime != NULL);
    (void)snprintf(name, sizeof name, "%s/bigmalloc", runtime);
    return name;
}

const char *live_name(void) {
    static char name[64];
    char text[512] = "";
    int fd = open("/proc/self/stat", O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    (void)close(fd);
    const char *field = strrchr(text, ')');
    for (int i = 2; i < 22; i++) {
        field = strchr(field + 1, ' ');
    }
    (void)snprintf(name, sizeof name, "%d-%lu", (int)getpid(), strtoul(field, NULL, 10));
    return name;
}

const char *live_path(void) {
    (void)snprintf(path, sizeof path, "%s/%s", folder(), live_name());
    return access(path, F_OK) == 0 ? path : NULL;
}

size_t live_files(void) {
    DIR *d = opendir(folder());
    size_t n = 0;
    if (d == NULL) {
        return 0;
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        n += *e->d_name != '.';
    }
    (void)closedir(d);
    return n;
}

void live_read(void) {
    const char *name = live_path();
    CHECK(name != NULL);
    int fd = open(name, O_RDONLY);
    CHECK(fd >= 0);
    memcpy(before, file, sizeof file);
    ssize_t n = read(fd, file, sizeof file);
    (void)close(fd);
    CHECK(n > 256 && memcmp(file, "BIGMLIVE", 8) == 0 && live_half(VERSION_AT) == 1);
    file_bytes = (size_t)n;
}

uint32_t live_half(size_t offset) {
    uint32_t half = 0;
    memcpy(&half, file + offset, sizeof half);
    return half;
}

static uint64_t word_at(size_t offset) {
    uint64_t word = 0;
    CHECK(offset + sizeof word <= file_bytes || file_bytes == 0);
    memcpy(&word, file + offset, sizeof word);
    return word;
}

/* But for the sequence, which moves on when the lock is taken to look. */
bool live_is_unchanged(void) {
    size_t sequence = word_at(POOLS_AT);
    memcpy(before + sequence, file + sequence, sizeof(uint64_t));
    return memcmp(before, file, sizeof file) == 0;
}

/* The line of the schema with these words; the first number behind them. */
static size_t place_behind(const char *line, const char *words) {
    char room[128];
    (void)snprintf(room, sizeof room, "%s", words);
    const char *found = strstr(line, room);
    CHECK(found != NULL && found < file + word_at(SCHEMA_AT) + word_at(SCHEMA_BYTES_AT));
    return strtoul(found + strlen(room), NULL, 10);
}

uint64_t live_figure(const char *name, size_t word) {
    char words[64];
    (void)snprintf(words, sizeof words, " %s ", name);
    size_t place = place_behind(file + word_at(SCHEMA_AT), words);
    return word_at(word_at(POOLS_AT) + place + word * sizeof(uint64_t));
}

/* The place in a line of the schema that is a class of so many bytes; 0: it is none. */
static size_t class_place(const char *line, size_t bytes) {
    unsigned number = 0;
    size_t place = 0;
    size_t of = 0;
    int n = sscanf(line, "class %u %zu %zu", &number, &place, &of);
    return n == 3 && (bytes == 0 || of == bytes) ? place : 0;
}

static uint64_t sum_of_classes(size_t bytes, size_t word) {
    const char *line = file + word_at(SCHEMA_AT);
    const char *end = line + word_at(SCHEMA_BYTES_AT);
    uint64_t sum = 0;
    for (; line < end; line = strchr(line, '\n') + 1) {
        size_t place = class_place(line, bytes);
        sum += place != 0 ? word_at(word_at(POOLS_AT) + place + word * sizeof(uint64_t)) : 0;
    }
    return sum;
}

uint64_t live_class(size_t bytes, size_t word) {
    return sum_of_classes(bytes, word);
}

uint64_t live_requests(void) {
    return sum_of_classes(0, 0) + sum_of_classes(0, 1) + live_figure("failures", 0) +
           live_figure("passed", 0);
}
