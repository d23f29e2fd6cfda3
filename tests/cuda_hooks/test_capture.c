#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "cuda_hooks/capture.h"

static CUstream stream(uintptr_t n) {
    return (CUstream)(n * 64);
}

static CUcontext context(uintptr_t n) {
    return (CUcontext)(n * 4096);
}

Test(capture, is_under_way_from_its_begin_to_its_end) {
    cr_expect(not(capture_is_under_way()));
    capture_begin(stream(1), context(1));
    cr_expect(capture_is_under_way());
    capture_end(stream(1));
    cr_expect(not(capture_is_under_way()));
}

Test(capture, ends_one_by_one) {
    capture_begin(stream(1), context(1));
    capture_begin(stream(2), context(1));
    capture_begin(stream(2), context(1));
    capture_end(stream(1));
    capture_end(stream(2));
    cr_expect(capture_is_under_way(), "the stream of another thread has the same name");
    capture_end(stream(2));
    cr_expect(not(capture_is_under_way()));
}

Test(capture, of_a_stream_that_is_not_captured_does_not_end) {
    capture_begin(stream(1), context(1));
    capture_end(stream(3));
    cr_expect(capture_is_under_way());
}

Test(capture, ends_with_its_context) {
    capture_begin(stream(1), context(1));
    capture_begin(stream(2), context(2));
    capture_begin(stream(3), context(1));
    capture_end_context(context(1));
    cr_expect(capture_is_under_way());
    capture_end_context(context(2));
    cr_expect(not(capture_is_under_way()));
}

Test(capture, is_none_in_a_child) {
    capture_begin(stream(1), context(1));
    capture_reset_in_child();
    cr_expect(not(capture_is_under_way()));
}

Test(capture, of_too_many_streams_ends_all_the_same) {
    for (uintptr_t i = 0; i < 1000; i++) {
        capture_begin(stream(i), context(1));
    }
    for (uintptr_t i = 0; i < 1000; i++) {
        capture_end(stream(i));
    }
    cr_expect(not(capture_is_under_way()));
}
