#include "datasets/batch_plan.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "framework/error.h"
#include "framework/random.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using Ids = std::vector<int64_t>;

std::vector<Ids> batches_of(const BatchPlan& plan) {
  std::vector<Ids> batches;
  for (int64_t b = 0; b < plan.batches(); ++b) {
    const auto batch = plan.batch(b);
    batches.emplace_back(batch.begin(), batch.end());
  }
  return batches;
}

Ids random_lengths(int64_t count, uint64_t longest) {
  RandomStream random(5);
  Ids lengths;
  for (int64_t i = 0; i < count; ++i) lengths.push_back(static_cast<int64_t>(1 + random.below(longest)));
  return lengths;
}

TEST_CASE("batch plan: every example once an epoch, within the limits, hardly padded", "[datasets][loader]") {
  const Ids lengths = random_lengths(5000, 50);
  const auto options =
      GENERATE_COPY(BatchOptions{.max_examples = 64}, BatchOptions{.max_examples = 0, .max_tokens = 500},
                    BatchOptions{.max_examples = 32, .max_tokens = 700},
                    BatchOptions{.max_examples = 7, .max_tokens = 50, .shuffle = false});
  BatchPlan plan(lengths, options);
  const int64_t batches = plan.batches();
  for (int64_t epoch : {0, 1, 7}) {
    plan.arrange(epoch);
    CHECK(plan.batches() == batches);
    Ids seen;
    int64_t padded = 0;
    int64_t most_examples = 0;
    int64_t most_tokens = 0;
    for (const Ids& batch : batches_of(plan)) {
      REQUIRE(!batch.empty());
      int64_t longest = 0;
      for (int64_t example : batch) longest = std::max(longest, lengths[static_cast<size_t>(example)]);
      const auto examples = static_cast<int64_t>(batch.size());
      if (options.max_examples > 0) CHECK(examples <= options.max_examples);
      if (options.max_tokens > 0) CHECK(examples * longest <= options.max_tokens);
      padded += examples * longest;
      most_examples = std::max(most_examples, examples);
      most_tokens = std::max(most_tokens, examples * longest);
      seen.insert(seen.end(), batch.begin(), batch.end());
    }
    CHECK(most_examples == plan.most_examples());
    CHECK(most_tokens == plan.most_tokens());
    CHECK(plan.longest_example() == 50);
    std::sort(seen.begin(), seen.end());
    Ids all(lengths.size());
    std::iota(all.begin(), all.end(), 0);
    CHECK(seen == all);
    const int64_t real = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
    CHECK(static_cast<double>(real) / static_cast<double>(padded) > 0.97);
  }
}

TEST_CASE("batch plan: an epoch follows from seed and number alone", "[datasets][loader]") {
  const Ids lengths = random_lengths(1000, 20);
  BatchPlan straight(lengths, {.max_examples = 16, .seed = 3});
  const auto epoch0 = batches_of(straight);
  straight.arrange(1);
  const auto epoch1 = batches_of(straight);
  straight.arrange(2);
  CHECK(epoch0 != epoch1);
  BatchPlan jumping(lengths, {.max_examples = 16, .seed = 3});
  jumping.arrange(2);
  CHECK(batches_of(jumping) == batches_of(straight));
  jumping.arrange(0);
  CHECK(batches_of(jumping) == epoch0);
  CHECK(batches_of(BatchPlan(lengths, {.max_examples = 16, .seed = 4})) != epoch0);
  // Long and short batches come in mixed order, another one in every epoch.
  const auto longest = [&](const std::vector<Ids>& batches) {
    Ids longest_each;
    for (const Ids& batch : batches) longest_each.push_back(lengths[static_cast<size_t>(batch[0])]);
    return longest_each;
  };
  const Ids order = longest(epoch0);
  CHECK_FALSE(std::is_sorted(order.rbegin(), order.rend()));
  CHECK(order != longest(epoch1));
  // The company an example is in changes too, not only the order of the batches.
  const std::set<Ids> sets0(epoch0.begin(), epoch0.end());
  CHECK(std::none_of(epoch1.begin(), epoch1.end(), [&](const Ids& batch) { return sets0.contains(batch); }));
}

TEST_CASE("batch plan: without shuffling from long to short, and the rest is shared out", "[datasets][loader]") {
  const Ids lengths = {3, 9, 3, 1, 9, 2, 5};
  CHECK(batches_of(BatchPlan(lengths, {.max_examples = 3, .shuffle = false})) ==
        std::vector<Ids>{{1, 4, 6}, {0, 2}, {5, 3}});
  // Many short examples fit behind few long ones: nothing to share.
  CHECK(batches_of(BatchPlan(lengths, {.max_examples = 0, .max_tokens = 18, .shuffle = false})) ==
        std::vector<Ids>{{1, 4}, {6, 0, 2}, {5, 3}});
  CHECK(batches_of(BatchPlan(Ids{0, 0, 4}, {.max_examples = 0, .max_tokens = 4, .shuffle = false})) ==
        std::vector<Ids>{{2}, {0, 1}});
  CHECK(batches_of(BatchPlan(Ids{6}, {.max_examples = 8})) == std::vector<Ids>{{0}});
}

TEST_CASE("batch plan: errors", "[datasets][loader]") {
  const auto error_of = [](const Ids& lengths, const BatchOptions& options) {
    return testing::error_text<ValueError>([&] { BatchPlan plan(lengths, options); });
  };
  CHECK(error_of({}, {}) == "batches: no examples to make batches of, expected at least 1");
  CHECK(error_of({1}, {.max_examples = 0}) == "batches: max_examples and max_tokens are both 0, expected a limit");
  CHECK(error_of({1}, {.max_examples = -1}) ==
        "batches: max_examples is -1 and max_tokens 0, expected positive numbers or 0 for no limit");
  CHECK(error_of({1}, {.max_tokens = -5}).starts_with("batches: max_examples is 64 and max_tokens -5, expected"));
  CHECK(error_of({3, 9}, {.max_tokens = 8}) == "batches: example 1 has 9 tokens, expected 0 to 8 (max_tokens)");
  CHECK(error_of({-1}, {.max_tokens = 8}) == "batches: example 0 has -1 tokens, expected 0 to 8 (max_tokens)");
}

}  // namespace
}  // namespace attune
