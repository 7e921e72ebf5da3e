#include "framework/random.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "framework/error.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using Catch::Matchers::WithinAbs;

TEST_CASE("Philox gives the published words", "[random]") {
  // Random123 1.14, kat_vectors: philox4x32 10; the upper half of the counter is always 0 here.
  const PhiloxBlock zero = philox(0, 0);
  CHECK(zero.word[0] == 0x6627e8d5u);
  CHECK(zero.word[1] == 0xe169c58du);
  CHECK(zero.word[2] == 0xbc57ac4cu);
  CHECK(zero.word[3] == 0x9b00dbd8u);
}

TEST_CASE("Philox depends on every bit of seed and counter", "[random]") {
  const PhiloxBlock base = philox(1, 2);
  for (int bit = 0; bit < 64; ++bit) {
    CHECK_FALSE(std::equal(base.word, base.word + 4, philox(1 ^ uint64_t{1} << bit, 2).word));
    CHECK_FALSE(std::equal(base.word, base.word + 4, philox(1, 2 ^ uint64_t{1} << bit).word));
  }
}

TEST_CASE("a stream goes on from its saved state", "[random]") {
  RandomStream stream(42);
  for (int i = 0; i < 10; ++i) stream.next_uint32();
  const RandomState saved = stream.state();
  const double normal = stream.normal();
  const uint64_t below = stream.below(1000);
  const Tensor draw = stream.uniform({5}, 0, 1);
  RandomStream other(saved);
  CHECK(other.normal() == normal);
  CHECK(other.below(1000) == below);
  CHECK(other.uniform({5}, 0, 1).to_vector<float>() == draw.to_vector<float>());
  CHECK(other.state() == stream.state());
  other.set_state(saved);
  CHECK(other.normal() == normal);
}

TEST_CASE("reserved draws do not overlap", "[random]") {
  RandomStream stream(1);
  const RandomState first = stream.reserve(1);
  CHECK(stream.state().offset == first.offset + 16);
  const RandomState second = stream.reserve(64);
  CHECK(second.offset == first.offset + 16);
  const RandomState third = stream.reserve(65);
  CHECK(third.offset == second.offset + 16);
  CHECK(stream.state().offset == third.offset + 32);
  stream.reserve(0);
  CHECK(stream.state().offset == third.offset + 32);
}

TEST_CASE("whole numbers below a bound are uniform and within it", "[random]") {
  RandomStream stream(7);
  std::map<uint64_t, int> counts;
  for (int i = 0; i < 7000; ++i) ++counts[stream.below(7)];
  CHECK(counts.size() == 7);
  for (const auto& [value, count] : counts) {
    CHECK(value < 7);
    CHECK(std::abs(count - 1000) < 150);  // 5 standard deviations
  }
  CHECK(stream.below(1) == 0);
  const uint64_t large = (uint64_t{1} << 63) + 1;
  for (int i = 0; i < 100; ++i) CHECK(stream.below(large) < large);
  CHECK(testing::error_text<ValueError>([&] { stream.below(0); }).find("below") != std::string::npos);
}

TEST_CASE("uniform and normal numbers have their moments", "[random]") {
  RandomStream stream(3);
  constexpr int64_t kCount = 40000;
  const auto moments = [](const Tensor& x) {
    const std::vector<double> values = x.to(DType::kFloat64).to_vector<double>();
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
    double squares = 0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    return std::pair{mean, squares / static_cast<double>(values.size())};
  };
  const Tensor uniform = stream.uniform({kCount}, -1, 3);
  const auto [mean, variance] = moments(uniform);
  CHECK_THAT(mean, WithinAbs(1, 0.03));
  CHECK_THAT(variance, WithinAbs(16.0 / 12, 0.03));
  const std::vector<float> values = uniform.to_vector<float>();
  CHECK(*std::min_element(values.begin(), values.end()) >= -1);
  CHECK(*std::max_element(values.begin(), values.end()) <= 3);
  const auto [normal_mean, normal_variance] = moments(stream.normal({kCount}, 2, 0.5, DType::kFloat64));
  CHECK_THAT(normal_mean, WithinAbs(2, 0.015));
  CHECK_THAT(normal_variance, WithinAbs(0.25, 0.01));
  CHECK_THROWS_AS(stream.uniform({2}, 0, 1, DType::kInt64), DTypeError);
}

TEST_CASE("a shuffle permutes, depends on the seed and reaches every order", "[random]") {
  std::map<std::vector<int>, int> orders;
  RandomStream stream(9);
  for (int i = 0; i < 2400; ++i) {
    std::vector<int> items{0, 1, 2, 3};
    stream.shuffle(std::span(items));
    ++orders[items];
  }
  CHECK(orders.size() == 24);
  for (const auto& [order, count] : orders) CHECK(std::abs(count - 100) < 55);
  std::vector<int> empty;
  stream.shuffle(std::span(empty));
}

TEST_CASE("the default stream belongs to its thread and restarts with manual_seed", "[random]") {
  const RandomState before = default_stream().state();
  manual_seed(5);
  const uint32_t first = default_stream().next_uint32();
  manual_seed(5);
  CHECK(default_stream().next_uint32() == first);
  uint32_t elsewhere = 0;
  std::thread([&] {
    manual_seed(5);
    elsewhere = default_stream().next_uint32();
  }).join();
  CHECK(elsewhere == first);
  CHECK(default_stream().state().offset == 1);
  default_stream().set_state(before);
}

TEST_CASE("threads that were not seeded draw different numbers", "[random]") {
  const RandomState before = default_stream().state();
  const auto first_words = [](int threads) {
    std::set<uint64_t> words{default_stream().next_uint32()};
    for (int i = 0; i < threads; ++i) {
      std::thread([&] { words.insert(default_stream().next_uint32()); }).join();
    }
    return words;
  };
  CHECK(first_words(8).size() == 9);
  manual_seed(77);
  CHECK(default_stream().state() == RandomState{77, 0});
  CHECK(first_words(8).size() == 9);
  manual_seed(before.seed);
  default_stream().set_state(before);
}

}  // namespace
}  // namespace attune
