#include "datasets/loader.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "framework/error.h"
#include "framework/random.h"
#include "framework/storage.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using testing::error_text;
using Ids = std::vector<int64_t>;

LabelledSequences some_sequences(int64_t count = 300, uint64_t seed = 6) {
  RandomStream random(seed);
  LabelledSequences sequences;
  for (int64_t i = 0; i < count; ++i) {
    Ids tokens;
    for (uint64_t n = 1 + random.below(12); n > 0; --n) tokens.push_back(static_cast<int64_t>(2 + random.below(1000)));
    sequences.add(tokens, i % 3);
  }
  return sequences;
}

struct Copy {
  Ids tokens, lengths, labels, examples;
  Shape shape;

  bool operator==(const Copy&) const = default;
};

Copy copy_of(const Batch& batch) {
  return {batch.tokens.to_vector<int64_t>(), batch.lengths.to_vector<int64_t>(), batch.labels.to_vector<int64_t>(),
          batch.examples, batch.tokens.shape()};
}

std::vector<Copy> rest_of_epoch(Loader& loader) {
  std::vector<Copy> copies;
  while (const Batch* batch = loader.next()) copies.push_back(copy_of(*batch));
  return copies;
}

TEST_CASE("loader: batches hold their examples, padded", "[datasets][loader]") {
  const LabelledSequences data = some_sequences();
  Loader loader(data, {.batches = {.max_examples = 16, .max_tokens = 100}, .pad = -7});
  Ids seen;
  int64_t batches = 0;
  while (const Batch* batch = loader.next()) {
    ++batches;
    const auto rows = static_cast<int64_t>(batch->examples.size());
    const int64_t longest = batch->tokens.dim(1);
    REQUIRE(batch->tokens.shape() == Shape{rows, longest});
    REQUIRE(batch->tokens.is_contiguous());
    REQUIRE(batch->lengths.shape() == Shape{rows});
    REQUIRE(batch->labels.shape() == Shape{rows});
    const Ids lengths = batch->lengths.to_vector<int64_t>();
    CHECK(*std::max_element(lengths.begin(), lengths.end()) == longest);
    CHECK(batch->token_count == std::accumulate(lengths.begin(), lengths.end(), int64_t{0}));
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t example = batch->examples[static_cast<size_t>(row)];
      const auto tokens = data.tokens(example);
      Ids expected(tokens.begin(), tokens.end());
      CHECK(lengths[static_cast<size_t>(row)] == static_cast<int64_t>(expected.size()));
      expected.resize(static_cast<size_t>(longest), -7);
      CHECK(batch->tokens.select(0, row).to_vector<int64_t>() == expected);
      CHECK(batch->labels.select(0, row).item() == static_cast<double>(data.label(example)));
      seen.push_back(example);
    }
  }
  CHECK(batches == loader.batches_per_epoch());
  std::sort(seen.begin(), seen.end());
  Ids all(300);
  std::iota(all.begin(), all.end(), 0);
  CHECK(seen == all);
}

TEST_CASE("loader: the prefetch thread changes nothing", "[datasets][loader]") {
  std::vector<std::vector<Copy>> runs;
  for (int prefetch : {0, 1, 2, 7}) {
    Loader loader(some_sequences(), {.batches = {.max_examples = 16, .seed = 9}, .prefetch = prefetch});
    std::vector<Copy> run;
    for (int epoch = 0; epoch < 3; ++epoch) {
      for (Copy& copy : rest_of_epoch(loader)) run.push_back(std::move(copy));
    }
    runs.push_back(std::move(run));
  }
  for (const auto& run : runs) CHECK(run == runs[0]);
}

TEST_CASE("loader: goes on from any position as if never stopped", "[datasets][loader]") {
  const LoaderOptions options = {.batches = {.max_examples = 32, .max_tokens = 300, .seed = 11},
                                 .prefetch = GENERATE(0, 2)};
  Loader whole(some_sequences(), options);
  std::vector<DataPosition> positions = {whole.position()};
  std::vector<std::vector<Copy>> epochs;
  for (int epoch = 0; epoch < 3; ++epoch) {
    epochs.emplace_back();
    while (const Batch* batch = whole.next()) {
      epochs.back().push_back(copy_of(*batch));
      positions.push_back(whole.position());
    }
  }
  CHECK(epochs[0] != epochs[1]);
  Loader again(some_sequences(), options);
  for (const DataPosition& position : positions) {
    again.seek(position);
    CHECK(again.position() == position);
    if (position.epoch == 3) break;
    const auto& epoch = epochs[static_cast<size_t>(position.epoch)];
    CHECK(rest_of_epoch(again) == std::vector<Copy>(epoch.begin() + position.batch, epoch.end()));
    CHECK(again.position().epoch == position.epoch + 1);
    CHECK(again.position().batch == 0);
  }
  // The end of an epoch is a position too: null comes next.
  CHECK(positions.back().batch == again.batches_per_epoch());
}

TEST_CASE("loader: foreign positions are refused", "[datasets][loader]") {
  const LoaderOptions options = {.batches = {.max_examples = 32, .seed = 11}};
  Loader loader(some_sequences(), options);
  const DataPosition good = loader.position();
  const auto error_of = [&](DataPosition position) { return error_text<ValueError>([&] { loader.seek(position); }); };
  DataPosition bad = good;
  bad.seed = 12;
  CHECK(error_of(bad) == "loader: the position was saved with seed 12, this loader has seed 11");
  bad = good;
  bad.batch = 11;
  CHECK(error_of(bad) == "loader: position epoch 0, batch 11 asked for, expected epoch 0 or more, batch 0 to " +
                             std::to_string(loader.batches_per_epoch()));
  bad.batch = -1;
  CHECK_THROWS_AS(loader.seek(bad), ValueError);
  const std::string other = "loader: the position was saved with other data or batch options";
  LoaderOptions larger = options;
  larger.batches.max_examples = 33;
  CHECK(error_of(Loader(some_sequences(), larger).position()).starts_with(other));
  CHECK(error_of(Loader(some_sequences(300, 7), options).position()).starts_with(other));
  // Prefetching and padding do not decide which batches there are.
  LoaderOptions same = options;
  same.prefetch = 0;
  same.pad = 5;
  CHECK_NOTHROW(loader.seek(Loader(some_sequences(), same).position()));
  CHECK(error_text<ValueError>([&] { Loader(some_sequences(), {.prefetch = -1}); }) ==
        "loader: prefetch is -1, expected 0 or more");
}

TEST_CASE("loader: memory is used again unless somebody holds it", "[datasets][loader]") {
  Loader loader(some_sequences(1000), {.batches = {.max_examples = 16}, .prefetch = 2});
  rest_of_epoch(loader);
  const MemoryStats before = memory_stats();
  std::set<const int64_t*> places;
  for (int epoch = 0; epoch < 4; ++epoch) {
    while (const Batch* batch = loader.next()) places.insert(batch->tokens.data<int64_t>());
  }
  CHECK(places.size() <= 3);
  CHECK(memory_stats().bytes_in_use == before.bytes_in_use);
  CHECK(memory_stats().system_allocations == before.system_allocations);

  std::vector<std::pair<Batch, Copy>> held;
  while (const Batch* batch = loader.next()) held.emplace_back(*batch, copy_of(*batch));
  rest_of_epoch(loader);
  for (const auto& [batch, copy] : held) CHECK(copy_of(batch) == copy);
}

TEST_CASE("loader: can be dropped at any moment", "[datasets][loader]") {
  for (int batches : {0, 1, 5}) {
    Loader loader(some_sequences(), {.batches = {.max_examples = 16}, .prefetch = 3});
    for (int i = 0; i < batches; ++i) loader.next();
    Loader moved = std::move(loader);
    CHECK(moved.next() != nullptr);
    moved = Loader(some_sequences(), {});
    CHECK(moved.next() != nullptr);
  }
}

}  // namespace
}  // namespace attune
