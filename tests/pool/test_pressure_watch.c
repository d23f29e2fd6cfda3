#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pool/pressure_watch.h"
#include "tests/pool/files.h"
#include "tests/pool/inject.h"

/* ---- base64 ---- */

static unsigned char bytes[32];
static size_t length;

static bool decodes(const char *text) {
    memset(bytes, '#', sizeof bytes);
    return pressure_watch_decode(text, bytes, 24, &length);
}

static void expect_decoded(const char *text, const char *wanted) {
    cr_expect(decodes(text), "%s", text);
    cr_expect(eq(sz, length, strlen(wanted)), "%s", text);
    cr_expect(eq(int, memcmp(bytes, wanted, length), 0), "%s", text);
}

Test(base64, of_the_standard_is_decoded) {
    expect_decoded("", "");
    expect_decoded("Zg==", "f");
    expect_decoded("Zm8=", "fo");
    expect_decoded("Zm9v", "foo");
    expect_decoded("Zm9vYg==", "foob");
    expect_decoded("Zm9vYmE=", "fooba");
    expect_decoded("Zm9vYmFy", "foobar");
    expect_decoded("+/+/", "\xfb\xff\xbf");
}

Test(base64, of_systemd_is_a_trigger_with_its_nul) {
    cr_assert(decodes("c29tZSAyMDAwMDAgMjAwMDAwMAA="));
    cr_expect(eq(sz, length, sizeof "some 200000 2000000"));
    cr_expect(eq(str, (char *)bytes, "some 200000 2000000"));
}

Test(base64, that_is_torn_or_none_is_refused) {
    static const char *const texts[] = {"Z",     "Zg",    "Zg=",    "Zm8",    "Zm9vY",    "Zg===",
                                        "Zm8==", "Zm9v=", "=",      "====",   "Zg==Zg==", "Zm 9",
                                        "Zm9-",  "Zm9_",  "Zm9v\n", "Zm\xff="};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cr_expect(not(decodes(texts[i])), "%s", texts[i]);
    }
}

Test(base64, fills_the_room_to_the_last_byte_and_not_further) {
    cr_expect(decodes("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    cr_expect(eq(sz, length, 24));
    cr_expect(eq(chr, (char)bytes[24], '#'));
    cr_expect(not(decodes("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==")));
    cr_expect(eq(chr, (char)bytes[24], '#'));
}

/* ---- the environment ---- */

static struct pressure_watch_config config;

static void load(const char *first, const char *second) {
    char *environment[] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second, NULL};
    memset(&config, 0xee, sizeof config);
    pressure_watch_load(&config, environment);
}

Test(watch_config, is_path_and_trigger) {
    load("MEMORY_PRESSURE_WATCH=/a/b", "MEMORY_PRESSURE_WRITE=Zm9v");
    cr_expect(eq(str, config.path, "/a/b"));
    cr_expect(eq(sz, config.trigger_length, 3));
    cr_expect(eq(int, memcmp(config.trigger, "foo", 3), 0));
}

Test(watch_config, needs_no_trigger) {
    load("MEMORY_PRESSURE_WATCH=/a/b", NULL);
    cr_expect(eq(str, config.path, "/a/b"));
    cr_expect(eq(sz, config.trigger_length, 0));
}

Test(watch_config, is_empty_without_an_absolute_path) {
    load(NULL, NULL);
    cr_expect(eq(str, config.path, ""));
    load("MEMORY_PRESSURE_WATCH=", NULL);
    cr_expect(eq(str, config.path, ""));
    load("MEMORY_PRESSURE_WATCH=a/b", NULL);
    cr_expect(eq(str, config.path, ""));
    load("MEMORY_PRESSURE_WRITE=Zm9v", NULL);
    cr_expect(eq(str, config.path, ""));
    pressure_watch_load(&config, NULL);
    cr_expect(eq(str, config.path, ""));
}

Test(watch_config, is_empty_where_the_trigger_is_no_base64) {
    load("MEMORY_PRESSURE_WATCH=/a/b", "MEMORY_PRESSURE_WRITE=some 1 2");
    cr_expect(eq(str, config.path, ""));
}

Test(watch_config, is_empty_where_the_path_does_not_fit) {
    char variable[2048] = "MEMORY_PRESSURE_WATCH=/";
    size_t name = strlen(variable) - 1;
    memset(variable + name + 1, 'x', WATCH_PATH - 1);
    load(variable, NULL);
    cr_expect(eq(str, config.path, ""));
    variable[name + WATCH_PATH - 1] = '\0';
    load(variable, NULL);
    cr_expect(eq(sz, strlen(config.path), WATCH_PATH - 1));
}

/* ---- watching ---- */

static struct pressure_watch w;
static size_t open_before;

static void start(void) {
    inject_nothing();
    files_make();
    config = (struct pressure_watch_config){0};
    open_before = files_open();
    errno = EXFULL;
}

static void stop(void) {
    inject_nothing();
    files_remove();
}

TestSuite(watch, .init = start, .fini = stop);

static void set_trigger(const char *text) {
    config.trigger_length = strlen(text);
    memcpy(config.trigger, text, config.trigger_length);
}

static void watch_path(const char *path) {
    (void)strcpy(config.path, path);
    pressure_watch_open(&w, &config);
    cr_expect(eq(int, errno, EXFULL));
}

static bool fired(void) {
    bool result = pressure_watch_fired(&w);
    cr_expect(eq(int, errno, EXFULL));
    return result;
}

static int watch_fifo(void) {
    cr_assert(eq(int, mkfifo(files_path("/fifo"), 0600), 0));
    watch_path(files_path("/fifo"));
    cr_assert(ge(int, w.fd, 0));
    return open(files_path("/fifo"), O_WRONLY | O_CLOEXEC);
}

/* A server that listens; the watch is connected to it. */
static int watch_socket(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)strcpy(address.sun_path, files_path("/socket"));
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(eq(int, bind(server, (struct sockaddr *)&address, sizeof address), 0));
    cr_assert(eq(int, listen(server, 1), 0));
    watch_path(address.sun_path);
    return server;
}

Test(watch, of_nothing_never_fires) {
    static const char *const paths[] = {"", "/dev/null", "/dev/zero", "/missing", "/tmp"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        watch_path(paths[i]);
        cr_expect(eq(int, w.fd, -1), "%s", paths[i]);
        cr_expect(not(fired()), "%s", paths[i]);
    }
    cr_expect(eq(sz, files_open(), open_before));
}

Test(watch, of_a_fifo_fires_once_for_all_that_came) {
    int writer = watch_fifo();
    cr_expect(not(fired()));
    cr_expect(eq(sz, (size_t)write(writer, "ab", 2), 2));
    cr_expect(fired());
    cr_expect(not(fired()), "it was read away");
    char many[5000] = "";
    cr_expect(eq(sz, (size_t)write(writer, many, sizeof many), sizeof many));
    cr_expect(fired());
    cr_expect(not(fired()));
    (void)close(writer);
    cr_expect(not(fired()), "a writer that goes says nothing");
    writer = open(files_path("/fifo"), O_WRONLY | O_CLOEXEC);
    cr_expect(eq(sz, (size_t)write(writer, "c", 1), 1));
    cr_expect(fired());
}

Test(watch, is_closed_on_exec_and_at_its_end) {
    (void)close(watch_fifo());
    cr_expect(eq(int, fcntl(w.fd, F_GETFD), FD_CLOEXEC));
    cr_expect(eq(sz, files_open(), open_before + 1));
    pressure_watch_close(&w);
    cr_expect(eq(int, w.fd, -1));
    cr_expect(eq(sz, files_open(), open_before));
    pressure_watch_close(&w);
    cr_expect(not(fired()));
}

Test(watch, of_a_socket_writes_its_trigger_and_fires_for_what_comes) {
    set_trigger("hello");
    int server = watch_socket();
    int peer = accept(server, NULL, NULL);
    char room[16] = "";
    cr_expect(eq(int, (int)recv(peer, room, sizeof room - 1, 0), 5));
    cr_expect(eq(str, room, "hello"));
    cr_expect(not(fired()));
    cr_expect(eq(int, (int)send(peer, "x", 1, 0), 1));
    cr_expect(fired());
    cr_expect(not(fired()));
}

Test(watch, of_a_socket_ends_with_its_peer) {
    int server = watch_socket();
    int peer = accept(server, NULL, NULL);
    cr_expect(eq(int, (int)send(peer, "x", 1, 0), 1));
    (void)close(peer);
    cr_expect(fired(), "the last word counts");
    cr_expect(not(fired()));
    cr_expect(eq(int, w.fd, -1));
    (void)close(server);
    cr_expect(eq(sz, files_open(), open_before));
}

Test(watch, of_a_socket_that_nobody_listens_on_is_none) {
    (void)close(watch_socket());
    pressure_watch_close(&w);
    set_trigger("hello");
    watch_path(files_path("/socket"));
    cr_expect(eq(int, w.fd, -1));
    cr_expect(eq(sz, files_open(), open_before));
}

Test(watch, of_a_regular_file_writes_its_trigger_and_fires_on_priority) {
    files_put("/psi", "......");
    set_trigger("some 1 2");
    watch_path(files_path("/psi"));
    char text[16] = "";
    FILE *file = fopen(files_path("/psi"), "re");
    cr_expect(eq(sz, fread(text, 1, sizeof text - 1, file), 8));
    (void)fclose(file);
    cr_expect(eq(str, text, "some 1 2"));
    cr_expect(not(fired()), "a file on a disk has no priority data");
    inject.poll_reports = POLLIN | POLLOUT;
    cr_expect(not(fired()));
    inject.poll_reports = POLLPRI;
    cr_expect(fired());
    cr_expect(fired(), "nothing is read away");
    cr_expect(ge(int, w.fd, 0));
}

Test(watch, of_a_psi_file_without_trigger_or_group_ends) {
    files_put("/psi", "");
    watch_path(files_path("/psi"));
    inject.poll_reports = POLLPRI | POLLERR;
    cr_expect(not(fired()));
    cr_expect(eq(int, w.fd, -1));
    cr_expect(eq(sz, files_open(), open_before));
}

Test(watch, is_none_where_anything_is_refused) {
    files_put("/psi", "");
    set_trigger("some 1 2");
    inject_failures(CALL_WRITE, 1, 1);
    watch_path(files_path("/psi"));
    cr_expect(eq(int, w.fd, -1));
    inject_nothing();
    inject.write_most = 3;
    watch_path(files_path("/psi"));
    cr_expect(eq(int, w.fd, -1), "half a trigger");
    inject_failures(CALL_OPEN, 1, 1);
    watch_path(files_path("/psi"));
    cr_expect(eq(int, w.fd, -1));
    cr_expect(eq(sz, files_open(), open_before));
}

Test(watch, that_the_program_closed_is_forgotten) {
    (void)close(watch_fifo());
    (void)close(w.fd);
    cr_expect(not(fired()));
    cr_expect(eq(int, w.fd, -1));
}

Test(watch, whose_number_became_another_file_leaves_that_alone) {
    int writer = watch_fifo();
    int ends[2];
    char c = '\0';
    cr_assert(eq(int, pipe(ends), 0));
    int number = w.fd;
    cr_assert(eq(int, dup2(ends[0], number), number));
    cr_expect(eq(sz, (size_t)write(ends[1], "x", 1), 1));
    cr_expect(not(fired()));
    cr_expect(eq(int, w.fd, -1));
    w.fd = number;
    pressure_watch_close(&w);
    cr_expect(eq(sz, (size_t)read(number, &c, 1), 1), "neither read nor closed");
    cr_expect(eq(chr, c, 'x'));
    (void)close(writer);
}

Test(watch, that_cannot_be_read_ends) {
    int writer = watch_fifo();
    cr_expect(eq(sz, (size_t)write(writer, "x", 1), 1));
    inject_failures(CALL_READ, 1, 1);
    cr_expect(not(fired()));
    cr_expect(eq(int, w.fd, -1));
}

/* On a real file, where the kernel has it and lets us. proc_pressure(5). */
Test(watch, of_the_machine_does_not_fire_while_memory_is_plenty) {
    set_trigger("full 1900000 2000000");
    (void)strcpy(config.path, "/proc/pressure/memory");
    pressure_watch_open(&w, &config);
    cr_expect(not(fired()));
    pressure_watch_close(&w);
    cr_expect(eq(sz, files_open(), open_before));
}
