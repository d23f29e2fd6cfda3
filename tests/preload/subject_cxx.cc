/*
 * subject_cxx.cc - C++ on the same malloc: every operator new and delete, exceptions, containers
 * that grow across the threshold. Exits with 1 and says where when something is wrong.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t MIB = std::size_t{1} << 20;

void check(bool holds, const char *what, int line) {
    if (!holds) {
        std::fprintf(stderr, "subject_cxx.cc:%d: not so: %s\n", line, what);
        std::_Exit(1);
    }
}
#define CHECK(condition) check((condition), #condition, __LINE__)

struct alignas(256) aligned {
    char bytes[3 * MIB];
};

bool is_aligned(const void *p, std::size_t alignment) {
    return reinterpret_cast<std::uintptr_t>(p) % alignment == 0;
}

void every_form_of_new_and_delete() {
    for (std::size_t bytes : {std::size_t{1}, std::size_t{100}, MIB, 8 * MIB}) {
        ::operator delete(::operator new(bytes));
        ::operator delete(::operator new(bytes), bytes);
        ::operator delete[](::operator new[](bytes));
        ::operator delete[](::operator new[](bytes), bytes);
        ::operator delete(::operator new(bytes, std::nothrow), std::nothrow);
        ::operator delete[](::operator new[](bytes, std::nothrow), std::nothrow);
        for (std::size_t n = 16; n <= 4 * MIB; n *= 4) {
            std::align_val_t alignment{n};
            void *p = ::operator new(bytes, alignment);
            void *q = ::operator new[](bytes, alignment, std::nothrow);
            CHECK(is_aligned(p, n) && is_aligned(q, n));
            ::operator delete(p, bytes, alignment);
            ::operator delete[](q, alignment);
        }
    }
    auto *object = new aligned;
    CHECK(is_aligned(object, 256));
    delete object;
    delete[] new aligned[2];
    delete static_cast<int *>(nullptr);
}

void refused_requests_throw() {
    volatile std::size_t much = std::size_t{1} << 62;
    bool thrown = false;
    try {
        ::operator delete(::operator new(much));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown);
    CHECK(::operator new(much, std::nothrow) == nullptr);
    thrown = false;
    try {
        std::vector<char> v(much);
    } catch (const std::exception &) {
        thrown = true;
    }
    CHECK(thrown);
}

int handler_calls;

void the_new_handler_is_called() {
    std::set_new_handler([] {
        if (++handler_calls == 3) {
            std::set_new_handler(nullptr);
        }
    });
    volatile std::size_t much = std::size_t{1} << 62;
    CHECK(::operator new(much, std::nothrow) == nullptr);
    CHECK(handler_calls == 3);
}

void exceptions_carry_large_things() {
    for (int i = 0; i < 100; i++) {
        try {
            throw std::runtime_error(std::string(2 * MIB, 'x'));
        } catch (const std::exception &e) {
            CHECK(std::string(e.what()).size() == 2 * MIB);
        }
    }
}

void containers_grow_across_the_threshold() {
    std::vector<std::uint64_t> numbers;
    for (std::uint64_t i = 0; i < 4 * MIB; i++) {
        numbers.push_back(i * i);
    }
    for (std::uint64_t i = 0; i < 4 * MIB; i++) {
        CHECK(numbers[i] == i * i);
    }
    numbers.resize(10);
    numbers.shrink_to_fit();
    CHECK(numbers[9] == 81);
    std::string text;
    for (int i = 0; i < 3000000; i++) {
        text += 'a';
    }
    std::map<int, std::vector<char>> table;
    for (int i = 0; i < 30; i++) {
        table[i] = std::vector<char>(MIB + 1000 * i, static_cast<char>(i));
    }
    for (const auto &[key, value] : table) {
        CHECK(value.back() == key);
    }
    std::pmr::monotonic_buffer_resource pool(2 * MIB);
    std::pmr::vector<int> pooled(100000, 3, &pool);
    CHECK(pooled[99999] == 3);
}

thread_local std::vector<char> own(2 * MIB, 'x');

void threads_with_large_locals() {
    for (int i = 0; i < 50; i++) {
        std::thread([] { CHECK(own[2 * MIB - 1] == 'x'); }).join();
    }
    auto shared = std::make_shared<std::vector<int>>(MIB);
    std::function<std::size_t()> f = [shared] { return shared->size(); };
    CHECK(f() == MIB);
}

/* Destroyed after main. */
std::vector<char> global(4 * MIB, 'g');

} // namespace

int main() {
    every_form_of_new_and_delete();
    refused_requests_throw();
    the_new_handler_is_called();
    exceptions_carry_large_things();
    containers_grow_across_the_threshold();
    threads_with_large_locals();
    CHECK(global.back() == 'g');
    return 0;
}
