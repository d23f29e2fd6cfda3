/*
 * subject_libc.c - functions of libc that allocate for the program, which then frees. Where a
 * result may be large, one is.
 */
#include <argz.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fts.h>
#include <glob.h>
#include <iconv.h>
#include <ifaddrs.h>
#include <locale.h>
#include <netdb.h>
#include <pthread.h>
#include <regex.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>
#include <wordexp.h>

#include "tests/preload/subject.h"

static const size_t LONG_TEXT = 3 * MIB;

static char *long_text(void) {
    char *text = get(LONG_TEXT + 1);
    memset(text, 'x', LONG_TEXT);
    text[LONG_TEXT] = '\0';
    return text;
}

void strdup_and_its_kin_give_blocks_to_free(void) {
    char *text = long_text();
    char *copies[] = {strdup("short"), strdup(text), strndup(text, 100), strndup(text, 2 * MIB)};
    CHECK(strlen(copies[1]) == LONG_TEXT && strlen(copies[3]) == 2 * MIB);
    wchar_t *wide = wcsdup(L"wide");
    CHECK(wcscmp(wide, L"wide") == 0);
    free(wide);
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        free(copies[i]);
    }
    free(text);
}

void asprintf_gives_a_block_to_free(void) {
    char *small = NULL;
    char *large = NULL;
    CHECK(asprintf(&small, "%d", 42) == 2);
    CHECK(asprintf(&large, "%*d", (int)LONG_TEXT, 42) == (int)LONG_TEXT);
    CHECK(strcmp(small, "42") == 0 && strcmp(large + LONG_TEXT - 2, "42") == 0);
    free(small);
    free(large);
}

void getline_grows_a_block_across_the_threshold(void) {
    char *text = long_text();
    FILE *stream = fmemopen(text, LONG_TEXT, "r");
    CHECK(stream != NULL);
    char *line = NULL;
    size_t size = 0;
    CHECK(getline(&line, &size, stream) == (ssize_t)LONG_TEXT);
    CHECK(size > LONG_TEXT && line[LONG_TEXT - 1] == 'x' && line[LONG_TEXT] == '\0');
    rewind(stream);
    text[5] = ',';
    CHECK(getdelim(&line, &size, ',', stream) == 6);
    free(line);
    (void)fclose(stream);
    free(text);
}

void open_memstream_grows_a_block_across_the_threshold(void) {
    char *out = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&out, &size);
    CHECK(stream != NULL);
    for (size_t i = 0; i < 5 * MIB; i += 8) {
        CHECK(fprintf(stream, "%07zu,", i) == 8);
    }
    CHECK(fclose(stream) == 0);
    CHECK(size == 5 * MIB && strcmp(out + size - 8, "5242872,") == 0);
    free(out);
}

void paths_are_blocks_to_free(void) {
    char *paths[] = {realpath(".", NULL), canonicalize_file_name("/"), getcwd(NULL, 0),
                     get_current_dir_name(), tempnam(NULL, "pre")};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        CHECK(paths[i] != NULL && paths[i][0] == '/');
        free(paths[i]);
    }
}

void scandir_gives_blocks_to_free(void) {
    struct dirent **entries = NULL;
    int n = scandir("/", &entries, NULL, alphasort);
    CHECK(n > 2);
    for (int i = 0; i < n; i++) {
        free(entries[i]);
    }
    free(entries);
}

void walking_a_folder_allocates_and_frees(void) {
    char *roots[] = {"/proc/self/fdinfo", NULL};
    FTS *tree = fts_open(roots, FTS_PHYSICAL, NULL);
    CHECK(tree != NULL);
    size_t n = 0;
    while (fts_read(tree) != NULL) {
        n++;
    }
    CHECK(n > 3 && fts_close(tree) == 0);
}

void addresses_are_looked_up_and_freed(void) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *info = NULL;
    CHECK(getaddrinfo("127.0.0.1", "80", &hints, &info) == 0 && info->ai_family == AF_INET);
    freeaddrinfo(info);
    struct ifaddrs *interfaces = NULL;
    if (getifaddrs(&interfaces) == 0) {
        freeifaddrs(interfaces);
    }
}

void glob_and_wordexp_results_can_be_freed(void) {
    glob_t found;
    CHECK(glob("/proc/self/m*", 0, NULL, &found) == 0 && found.gl_pathc >= 2);
    globfree(&found);
    wordexp_t words;
    CHECK(wordexp("one 'two three'", &words, WRDE_NOCMD) == 0 && words.we_wordc == 2);
    wordfree(&words);
}

void regular_expressions_compile_match_and_go(void) {
    regex_t pattern;
    CHECK(regcomp(&pattern, "^(a|b)*c{2,50}[[:alpha:]]+$", REG_EXTENDED) == 0);
    CHECK(regexec(&pattern, "ababccccd", 0, NULL, 0) == 0);
    CHECK(regexec(&pattern, "ababd", 0, NULL, 0) == REG_NOMATCH);
    regfree(&pattern);
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(a, b);
}

void trees_and_tables_allocate_and_free(void) {
    void *root = NULL;
    for (int i = 0; i < 1000; i++) {
        char *key = NULL;
        CHECK(asprintf(&key, "key %d", i * 7919 % 1000) > 0);
        CHECK(tsearch(key, &root, compare_texts) != NULL);
    }
    CHECK(tfind("key 500", &root, compare_texts) != NULL);
    tdestroy(root, free);
    struct hsearch_data table = {0};
    ENTRY entry = {.key = "one", .data = NULL};
    ENTRY *found = NULL;
    CHECK(hcreate_r(100 * 1000, &table) != 0);
    CHECK(hsearch_r(entry, ENTER, &found, &table) != 0 && found != NULL);
    hdestroy_r(&table);
}

static int compare_numbers(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void qsort_of_a_large_array_takes_and_frees_its_scratch(void) {
    size_t count = 4 * MIB / sizeof(uint64_t);
    uint64_t *numbers = get(count * sizeof *numbers);
    fill(numbers, count * sizeof *numbers, 1);
    qsort(numbers, count, sizeof *numbers, compare_numbers);
    for (size_t i = 1; i < count; i++) {
        CHECK(numbers[i - 1] <= numbers[i]);
    }
    free(numbers);
}

void locales_and_conversions_load_and_go(void) {
    CHECK(setlocale(LC_ALL, "C.UTF-8") != NULL);
    locale_t locale = newlocale(LC_ALL_MASK, "C", NULL);
    CHECK(locale != NULL);
    freelocale(locale);
    iconv_t conversion = iconv_open("UTF-16", "ISO-8859-1");
    CHECK(conversion != (iconv_t)-1);
    CHECK(iconv_close(conversion) == 0);
    CHECK(setlocale(LC_ALL, "C") != NULL);
}

void libraries_load_and_unload(void) {
    for (int i = 0; i < 20; i++) {
        void *library = dlopen("libm.so.6", RTLD_NOW);
        CHECK(library != NULL && dlsym(library, "cos") != NULL);
        CHECK(dlclose(library) == 0);
        CHECK(dlopen("libthat-is-not-there.so", RTLD_NOW) == NULL && dlerror() != NULL);
    }
}

static void *give_back_argument(void *argument) {
    free(get(100));
    return argument;
}

void threads_begin_and_end(void) {
    pthread_t threads[50];
    char marks[50];
    for (int i = 0; i < 50; i++) {
        CHECK(pthread_create(&threads[i], NULL, give_back_argument, &marks[i]) == 0);
    }
    for (int i = 0; i < 50; i++) {
        void *result = NULL;
        CHECK(pthread_join(threads[i], &result) == 0 && result == &marks[i]);
    }
}

void streams_have_buffers_of_any_size(void) {
    for (int i = 0; i < 100; i++) {
        FILE *file = fopen("/proc/self/maps", "r");
        CHECK(file != NULL && getc(file) != EOF && fclose(file) == 0);
    }
    char *buffer = get(2 * MIB);
    FILE *file = fopen("/dev/null", "w");
    CHECK(file != NULL && setvbuf(file, buffer, _IOFBF, 2 * MIB) == 0);
    for (int i = 0; i < 100000; i++) {
        CHECK(fputs("a line that ends up nowhere\n", file) >= 0);
    }
    CHECK(fclose(file) == 0);
    free(buffer);
}

void vectors_of_words_grow_and_shrink(void) {
    char *words = NULL;
    size_t length = 0;
    for (int i = 0; i < 1000; i++) {
        CHECK(argz_add(&words, &length, "word") == 0);
    }
    CHECK(argz_count(words, length) == 1000);
    char *first = words;
    argz_delete(&words, &length, first);
    CHECK(argz_count(words, length) == 999);
    free(words);
}

void the_environment_grows(void) {
    for (int i = 0; i < 200; i++) {
        char *name = NULL;
        CHECK(asprintf(&name, "SUBJECT_%d", i) > 0);
        CHECK(setenv(name, "a value", 1) == 0 && strcmp(getenv(name), "a value") == 0);
        CHECK(unsetenv(name) == 0);
        free(name);
    }
    CHECK(clearenv() == 0 && getenv("PATH") == NULL);
}
