/*
 * Reports are written without a lock while the figures change: no race, and no count goes back.
 */
#include <fcntl.h>

#include "pool/report.h"
#include "tests/stress/stress.h"

enum {
    ROUNDS = 200000
};

static struct host host;
static atomic_int writers = THREADS / 2;

static void change_figures(unsigned seed) {
    for (int i = 0; i < ROUNDS; i++) {
        struct block *b = must_acquire(&host, any_size(&seed));
        expect(host_release(&host, b, (uint64_t)i), "a live block can be released");
    }
    atomic_fetch_sub(&writers, 1);
}

static const struct pool *first_pool(size_t *cursor) {
    return (*cursor)++ == 0 ? &host.pools[0] : NULL;
}

static struct report report(void) {
    static const struct identity who = {.pid = 1, .rank = IDENTITY_NO_RANK, .command = "stress"};
    static const struct residence nowhere = {.measured_by = "nothing"};
    return (struct report){
        .next = first_pool, .identity = &who, .placement = &host.placement, .residence = &nowhere};
}

static void write_reports(int fd, const struct report *r) {
    char room[WRITER_LINE];
    struct writer w = {.fd = fd, .text = room, .size = sizeof room};
    report_json(&w, r);
    report_text(&w, r);
    report_brief(&w, r);
    writer_flush(&w);
}

static void read_figures(void) {
    struct report r = report();
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    size_t last_requests = 0;
    while (atomic_load(&writers) > 0) {
        write_reports(fd, &r);
        struct totals t = report_totals(&r);
        expect(t.requests >= last_requests, "requests only grow");
        last_requests = t.requests;
    }
}

static void *work(void *number) {
    if ((uintptr_t)number % 2 == 0) {
        change_figures((unsigned)(uintptr_t)number);
    } else {
        read_figures();
    }
    return NULL;
}

int main(void) {
    start_host(&host, SIZE_MAX);
    run_threads(work);
    struct report r = report();
    expect(report_totals(&r).requests == (size_t)THREADS / 2 * ROUNDS, "every request is counted");
    expect(pool_is_valid(&host.pools[0]), "the pool is valid");
    return verdict("reports_beside_writers");
}
