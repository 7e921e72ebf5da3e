#include "datasets/batch_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "framework/fail.h"
#include "framework/random.h"

namespace attune {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
// Random numbers of an epoch begin at this many counters times its number: no epoch draws as many.
constexpr int kEpochShift = 40;

size_t at(int64_t i) { return static_cast<size_t>(i); }

}  // namespace

/// Lengths of the examples, of single sequences (no sources) or of pairs.
struct BatchPlan::Lengths {
  std::span<const int64_t> source;
  std::span<const int64_t> target;

  int64_t of_source(int64_t example) const { return source.empty() ? 0 : source[at(example)]; }
  int64_t of_target(int64_t example) const { return target[at(example)]; }
  int64_t longer(int64_t example) const { return std::max(of_source(example), of_target(example)); }
  bool equal(int64_t a, int64_t b) const { return of_source(a) == of_source(b) && of_target(a) == of_target(b); }
};

BatchPlan::BatchPlan(std::span<const int64_t> lengths, const BatchOptions& options)
    : BatchPlan(std::span<const int64_t>(), lengths, options) {}

BatchPlan::BatchPlan(std::span<const int64_t> source_lengths, std::span<const int64_t> target_lengths,
                     const BatchOptions& options)
    : options_(options) {
  require<ValueError>(options.max_examples >= 0 && options.max_tokens >= 0,
                      "batches: max_examples is {} and max_tokens {}, expected positive numbers or 0 for no limit",
                      options.max_examples, options.max_tokens);
  require<ValueError>(options.max_examples > 0 || options.max_tokens > 0,
                      "batches: max_examples and max_tokens are both 0, expected a limit");
  require<ValueError>(!target_lengths.empty(), "batches: no examples to make batches of, expected at least 1");
  require<ValueError>(source_lengths.empty() || source_lengths.size() == target_lengths.size(),
                      "batches: {} sources and {} targets, expected as many", source_lengths.size(),
                      target_lengths.size());
  if (options_.max_examples == 0) options_.max_examples = kNoLimit;
  if (options_.max_tokens == 0) options_.max_tokens = kNoLimit;
  for (std::span<const int64_t> lengths : {source_lengths, target_lengths}) {
    for (size_t i = 0; i < lengths.size(); ++i) {
      require<ValueError>(lengths[i] >= 0 && lengths[i] <= options_.max_tokens,
                          "batches: example {} has {} tokens, expected 0 to {} (max_tokens)", i, lengths[i],
                          options_.max_tokens);
    }
  }
  const Lengths lengths{source_lengths, target_lengths};
  sort(lengths);
  cut(lengths);
  order_ = by_length_;
  batch_order_.resize(cuts_.size() - 1);
  arrange(0);
}

void BatchPlan::sort(const Lengths& lengths) {
  by_length_.resize(lengths.target.size());
  std::iota(by_length_.begin(), by_length_.end(), 0);
  std::stable_sort(by_length_.begin(), by_length_.end(), [&](int64_t a, int64_t b) {
    const int64_t target_a = lengths.of_target(a);
    const int64_t target_b = lengths.of_target(b);
    if (target_a != target_b) return target_a > target_b;
    // Sources rise where the targets' length is odd and fall where it is even, so that no batch spans a jump.
    const int64_t source_a = lengths.of_source(a);
    const int64_t source_b = lengths.of_source(b);
    return target_a % 2 == 0 ? source_a > source_b : source_a < source_b;
  });
  for (size_t i = 0; i < by_length_.size(); ++i) {
    if (i == 0 || !lengths.equal(by_length_[i], by_length_[i - 1])) groups_.push_back(static_cast<int64_t>(i));
  }
  groups_.push_back(static_cast<int64_t>(by_length_.size()));
}

void BatchPlan::cut(const Lengths& lengths) {
  const auto n = static_cast<int64_t>(by_length_.size());
  const auto longest = [&](int64_t begin, int64_t end) {
    int64_t most = 0;
    for (int64_t i = begin; i < end; ++i) most = std::max(most, lengths.longer(by_length_[at(i)]));
    return most;
  };
  for (int64_t begin = 0; begin < n;) {
    cuts_.push_back(begin);
    int64_t end = begin;
    for (int64_t most = 1; end < n && end - begin < options_.max_examples; ++end) {
      most = std::max(most, longest(end, end + 1));
      if (most > options_.max_tokens / (end - begin + 1)) break;
    }
    begin = end;
  }
  cuts_.push_back(n);
  // The last batch, of the shortest examples, is what was left over. When it is smaller than the one before it takes
  // half of both, where it may: the source of a pair that moves can be longer than those that it joins.
  if (const size_t cuts = cuts_.size(); cuts > 2) {
    const int64_t middle = std::min(cuts_[cuts - 2], (cuts_[cuts - 3] + n + 1) / 2);
    if (std::max<int64_t>(longest(middle, n), 1) <= options_.max_tokens / (n - middle)) cuts_[cuts - 2] = middle;
  }
  for (size_t b = 0; b + 1 < cuts_.size(); ++b) {
    const int64_t examples = cuts_[b + 1] - cuts_[b];
    const int64_t length = longest(cuts_[b], cuts_[b + 1]);
    most_examples_ = std::max(most_examples_, examples);
    longest_example_ = std::max(longest_example_, length);
    most_tokens_ = std::max(most_tokens_, examples * length);
  }
}

void BatchPlan::arrange(int64_t epoch) {
  std::iota(batch_order_.begin(), batch_order_.end(), 0);
  if (!options_.shuffle) return;
  std::copy(by_length_.begin(), by_length_.end(), order_.begin());
  RandomStream random(RandomState{options_.seed, static_cast<uint64_t>(epoch) << kEpochShift});
  for (size_t g = 0; g + 1 < groups_.size(); ++g) {
    random.shuffle(std::span(order_).subspan(at(groups_[g]), at(groups_[g + 1] - groups_[g])));
  }
  random.shuffle(std::span(batch_order_));
}

std::span<const int64_t> BatchPlan::batch(int64_t index) const {
  const size_t b = at(batch_order_[at(index)]);
  return std::span(order_).subspan(at(cuts_[b]), at(cuts_[b + 1] - cuts_[b]));
}

}  // namespace attune
