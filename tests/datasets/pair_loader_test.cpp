#include "datasets/pair_loader.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <numeric>
#include <vector>

#include "framework/error.h"
#include "framework/random.h"
#include "framework/storage.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using testing::error_text;
using Ids = std::vector<int64_t>;

constexpr int64_t kBegin = 2;
constexpr int64_t kEnd = 3;

/// Targets about as long as their sources.
SequencePairs some_pairs(int64_t count, uint64_t seed = 3) {
  RandomStream random(seed);
  SequencePairs pairs;
  for (int64_t i = 0; i < count; ++i) {
    const auto length = static_cast<int64_t>(4 + random.below(20));
    Ids source;
    for (int64_t n = length; n > 0; --n) source.push_back(static_cast<int64_t>(4 + random.below(100)));
    Ids target = {kBegin};
    for (int64_t n = length + static_cast<int64_t>(random.below(5)) - 2; n > 0; --n) {
      target.push_back(static_cast<int64_t>(4 + random.below(100)));
    }
    target.push_back(kEnd);
    pairs.add(source, target);
  }
  return pairs;
}

TEST_CASE("pair loader: rows hold their pairs, the target one step apart", "[datasets][loader][translation]") {
  const SequencePairs data = some_pairs(300);
  PairLoader loader(data, {.batches = {.max_examples = 0, .max_tokens = 200}, .pad = -7});
  Ids seen;
  int64_t batches = 0;
  while (const PairBatch* batch = loader.next()) {
    ++batches;
    const auto rows = static_cast<int64_t>(batch->examples.size());
    const int64_t source_length = batch->source.dim(1);
    const int64_t target_length = batch->target_in.dim(1);
    CHECK(rows * std::max(source_length, target_length) <= 200);
    REQUIRE(batch->source.shape() == Shape{rows, source_length});
    REQUIRE(batch->target_in.shape() == Shape{rows, target_length});
    REQUIRE(batch->target_out.shape() == batch->target_in.shape());
    int64_t source_tokens = 0;
    int64_t target_tokens = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t example = batch->examples[static_cast<size_t>(row)];
      const auto source = data.source.tokens(example);
      const auto target = data.target.tokens(example);
      const auto padded = [](auto begin, auto end, int64_t length) {
        Ids ids(begin, end);
        ids.resize(static_cast<size_t>(length), -7);
        return ids;
      };
      CHECK(batch->source.select(0, row).to_vector<int64_t>() == padded(source.begin(), source.end(), source_length));
      CHECK(batch->target_in.select(0, row).to_vector<int64_t>() ==
            padded(target.begin(), target.end() - 1, target_length));
      CHECK(batch->target_out.select(0, row).to_vector<int64_t>() ==
            padded(target.begin() + 1, target.end(), target_length));
      CHECK(batch->source_lengths.select(0, row).item() == static_cast<double>(source.size()));
      CHECK(batch->target_lengths.select(0, row).item() == static_cast<double>(target.size() - 1));
      source_tokens += static_cast<int64_t>(source.size());
      target_tokens += static_cast<int64_t>(target.size()) - 1;
      seen.push_back(example);
    }
    CHECK(batch->source_tokens == source_tokens);
    CHECK(batch->target_tokens == target_tokens);
  }
  CHECK(batches == loader.batches_per_epoch());
  std::sort(seen.begin(), seen.end());
  Ids all(300);
  std::iota(all.begin(), all.end(), 0);
  CHECK(seen == all);
}

TEST_CASE("pair loader: little padding, similar lengths on both sides", "[datasets][loader][translation]") {
  PairLoader loader(some_pairs(20000), {.batches = {.max_examples = 0, .max_tokens = 2000}});
  double real = 0;
  double padded = 0;
  while (const PairBatch* batch = loader.next()) {
    real += static_cast<double>(batch->source_tokens + batch->target_tokens);
    padded += static_cast<double>(batch->source.numel() + batch->target_out.numel());
  }
  CHECK(real / padded > 0.975);
}

TEST_CASE("pair loader: readings are drawn anew in every epoch, and again where another loader stood",
          "[datasets][loader][translation]") {
  const int prefetch = GENERATE(0, 2);
  const SequencePairs data = some_pairs(60);
  // Every token once, some of the sources' twice.
  const PairReadings readings{.source =
                                  [](std::span<const int64_t> tokens, RandomStream& random, Ids& read) {
                                    for (const int64_t token : tokens)
                                      read.insert(read.end(), 1 + random.below(2), token);
                                  },
                              .target = {}};
  const LoaderOptions options{.batches = {.max_examples = 0, .max_tokens = 100, .seed = 4}, .prefetch = prefetch};
  const auto epoch = [&](PairLoader& loader) {
    std::vector<Ids> rows(static_cast<size_t>(data.size()));
    while (const PairBatch* batch = loader.next()) {
      int64_t tokens = 0;
      for (size_t row = 0; row < batch->examples.size(); ++row) {
        const int64_t example = batch->examples[row], at = static_cast<int64_t>(row);
        const auto length = static_cast<int64_t>(batch->source_lengths.select(0, at).item());
        Ids& drawn = rows[static_cast<size_t>(example)];
        drawn = batch->source.select(0, at).slice(0, 0, length).to_vector<int64_t>();
        tokens += length;
        Ids once = drawn;
        once.erase(std::unique(once.begin(), once.end()), once.end());
        Ids plain(data.source.tokens(example).begin(), data.source.tokens(example).end());
        plain.erase(std::unique(plain.begin(), plain.end()), plain.end());
        CHECK(once == plain);
        const auto target = data.target.tokens(example);
        CHECK(batch->target_out.select(0, at).slice(0, 0, std::ssize(target) - 1).to_vector<int64_t>() ==
              Ids(target.begin() + 1, target.end()));
      }
      CHECK(batch->source_tokens == tokens);
    }
    return rows;
  };
  PairLoader loader(data, options, readings);
  const std::vector<Ids> first = epoch(loader);
  const DataPosition position = loader.position();
  const std::vector<Ids> second = epoch(loader);
  CHECK(first != second);
  PairLoader other(data, options, readings);
  other.seek(position);
  CHECK(epoch(other) == second);
}

TEST_CASE("pair loader: a batch repeats its pairs as they were read the first time",
          "[datasets][loader][translation]") {
  const SequencePairs data = some_pairs(40);
  const LoaderOptions options{.batches = {.max_examples = 0, .max_tokens = 100, .seed = 4}, .prefetch = 0};
  const Reading drawn = GENERATE(Reading(), Reading([](auto tokens, RandomStream& random, Ids& read) {
                                   for (const int64_t token : tokens)
                                     read.insert(read.end(), 1 + random.below(2), token);
                                 }));
  PairLoader once(data, options, {.source = drawn, .target = {}});
  PairLoader loader(data, options, {.source = drawn, .target = {}, .repeats = 3});
  CHECK(loader.batches_per_epoch() == once.batches_per_epoch());
  while (const PairBatch* batch = loader.next()) {
    const PairBatch* wanted = once.next();
    REQUIRE(wanted != nullptr);
    const auto rows = std::ssize(wanted->examples);
    REQUIRE(std::ssize(batch->examples) == 3 * rows);
    CHECK(batch->source_tokens == 3 * wanted->source_tokens);
    CHECK(batch->target_tokens == 3 * wanted->target_tokens);
    for (int64_t time = 0; time < 3; ++time) {
      const auto same = [&](const Tensor& all, const Tensor& part) {
        return all.slice(0, time * rows, (time + 1) * rows).to_vector<int64_t>() == part.to_vector<int64_t>();
      };
      CHECK(std::equal(wanted->examples.begin(), wanted->examples.end(), batch->examples.begin() + time * rows));
      CHECK(same(batch->source, wanted->source));
      CHECK(same(batch->source_lengths, wanted->source_lengths));
      CHECK(same(batch->target_in, wanted->target_in));
      CHECK(same(batch->target_out, wanted->target_out));
      CHECK(same(batch->target_lengths, wanted->target_lengths));
    }
  }
  CHECK(once.next() == nullptr);
  CHECK(error_text<ValueError>([&] { PairLoader(data, options, {.source = {}, .target = {}, .repeats = 0}); }) ==
        "loader: pairs are repeated 0 times, expected 1 or more");
}

TEST_CASE("pair loader: goes on where another stood, and steady batches allocate nothing",
          "[datasets][loader][translation]") {
  const int prefetch = GENERATE(0, 2);
  const SequencePairs data = some_pairs(400);
  const LoaderOptions options{.batches = {.max_examples = 16, .seed = 4}, .prefetch = prefetch};
  PairLoader straight(data, options);
  while (straight.next() != nullptr) {
  }
  for (int i = 0; i < 5; ++i) straight.next();
  PairLoader other(data, options);
  other.seek(straight.position());
  for (int i = 0; i < 10; ++i) CHECK(straight.next()->examples == other.next()->examples);
  CHECK(straight.position() == other.position());
  CHECK(error_text<ValueError>([&] {
          PairLoader(some_pairs(399), options).seek(straight.position());
        }).starts_with("loader: the position was saved with other data"));
  const void* memory[2] = {};
  PairLoader steady(data, {.batches = {.max_examples = 16}, .prefetch = 0});
  for (const void*& place : memory) place = steady.next()->source.data<int64_t>();
  CHECK(memory[0] == memory[1]);
}

TEST_CASE("pair batches: plan and errors", "[datasets][loader][translation]") {
  const auto batches_of = [](const Ids& source, const Ids& target, const BatchOptions& options) {
    BatchPlan plan(source, target, options);
    std::vector<Ids> batches;
    for (int64_t b = 0; b < plan.batches(); ++b) batches.emplace_back(plan.batch(b).begin(), plan.batch(b).end());
    return batches;
  };
  // Targets from long to short; sources fall where these are even and rise where they are odd.
  CHECK(batches_of({1, 5, 9, 5, 2}, {4, 4, 4, 3, 3}, {.max_examples = 2, .shuffle = false}) ==
        std::vector<Ids>{{2, 1}, {0, 4}, {3}});
  // The longer side counts, wherever in a batch it is.
  CHECK(batches_of({1, 1, 9, 1}, {3, 3, 3, 3}, {.max_examples = 0, .max_tokens = 9, .shuffle = false}) ==
        std::vector<Ids>{{0, 1, 3}, {2}});
  BatchPlan plan(Ids{1, 1, 9, 1}, Ids{3, 3, 3, 3}, {.max_examples = 0, .max_tokens = 9});
  CHECK(plan.longest_example() == 9);
  CHECK(plan.most_tokens() == 9);
  CHECK(plan.most_examples() == 3);
  CHECK(error_text<ValueError>([] {
          BatchPlan(Ids{1, 2}, Ids{1}, {});
        }) == "batches: 2 sources and 1 targets, expected as many");
  CHECK(error_text<ValueError>([] {
          BatchPlan(Ids{1, 20}, Ids{1, 2}, {.max_tokens = 10});
        }) == "batches: example 1 has 20 tokens, expected 0 to 10 (max_tokens)");
  SequencePairs empty_target;
  empty_target.add(Ids{4}, Ids{});
  CHECK(error_text<ValueError>([&] { PairLoader(empty_target, {}); }) ==
        "loader: the target of pair 0 has no tokens, expected <bos> ... <eos>");
  CHECK(error_text<ValueError>([] { PairLoader(SequencePairs(), {}); }) ==
        "batches: no examples to make batches of, expected at least 1");
}

}  // namespace
}  // namespace attune
