// containers.cpp - new and delete in every form, containers that grow large, exceptions, threads.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

struct alignas(256) Aligned {
    char bytes[3 << 20];
};

template <typename Number> Number sum_of_squares(std::size_t count) {
    std::vector<Number> numbers;
    for (std::size_t i = 0; i < count; ++i) {
        numbers.push_back(static_cast<Number>(i % 1000));
    }
    return std::inner_product(numbers.begin(), numbers.end(), numbers.begin(), Number{0});
}

void vectors() {
    std::cout << sum_of_squares<std::uint64_t>(5'000'000) << ' '
              << sum_of_squares<double>(3'000'000) << '\n';
    std::vector<std::string> words(200'000);
    for (std::size_t i = 0; i < words.size(); ++i) {
        words[i] = "word-" + std::to_string(i * 7919 % words.size()) + std::string(i % 64, '.');
    }
    std::sort(words.begin(), words.end());
    std::cout << words.front() << ' ' << words[words.size() / 2] << '\n';
}

void maps_and_streams() {
    std::map<int, std::string> ordered;
    std::unordered_map<std::string, int> hashed;
    for (int i = 0; i < 100'000; ++i) {
        ordered[i * 31 % 100'003] = std::to_string(i);
        hashed[std::to_string(i % 5000)] += i % 7;
    }
    std::ostringstream stream;
    for (const auto &[key, text] : ordered) {
        stream << key << '=' << text << ';';
    }
    std::cout << stream.str().size() << ' ' << hashed.size() << ' ' << hashed["4999"] << '\n';
}

void exceptions() {
    int caught = 0;
    for (int i = 0; i < 10'000; ++i) {
        try {
            std::vector<char> lost(1 << 21);
            throw std::runtime_error(std::to_string(i));
        } catch (const std::exception &error) {
            caught += static_cast<int>(std::string(error.what()).size());
        }
    }
    std::cout << "caught " << caught << '\n';
    volatile std::size_t impossible = SIZE_MAX / 4;
    try {
        delete[] new char[impossible];
        std::cout << "more memory than there is\n";
    } catch (const std::bad_alloc &) {
        std::cout << "bad_alloc\n";
    }
    std::cout << (new (std::nothrow) char[impossible] == nullptr ? "null" : "not null") << '\n';
}

void aligned_news() {
    auto aligned = std::make_unique<Aligned>();
    auto several = std::make_unique<Aligned[]>(3);
    std::cout << reinterpret_cast<std::uintptr_t>(aligned.get()) % 256 << ' '
              << reinterpret_cast<std::uintptr_t>(several.get()) % 256 << '\n';
}

void threads() {
    std::vector<std::vector<std::uint32_t>> results(16);
    std::vector<std::thread> workers;
    for (std::uint32_t t = 0; t < results.size(); ++t) {
        workers.emplace_back([t, &results] {
            for (int round = 0; round < 20; ++round) {
                std::vector<std::uint32_t> mine(1 << 19, t);
                results[t] = std::move(mine);
            }
        });
    }
    for (auto &worker : workers) {
        worker.join();
    }
    std::uint64_t sum = 0;
    for (const auto &result : results) {
        sum += std::accumulate(result.begin(), result.end(), std::uint64_t{0});
    }
    std::cout << sum << '\n';
}

} // namespace

int main() {
    vectors();
    maps_and_streams();
    exceptions();
    aligned_news();
    threads();
    return 0;
}
