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

BatchPlan::BatchPlan(std::span<const int64_t> lengths, const BatchOptions& options) : options_(options) {
  require<ValueError>(options.max_examples >= 0 && options.max_tokens >= 0,
                      "batches: max_examples is {} and max_tokens {}, expected positive numbers or 0 for no limit",
                      options.max_examples, options.max_tokens);
  require<ValueError>(options.max_examples > 0 || options.max_tokens > 0,
                      "batches: max_examples and max_tokens are both 0, expected a limit");
  require<ValueError>(!lengths.empty(), "batches: no examples to make batches of, expected at least 1");
  if (options_.max_examples == 0) options_.max_examples = kNoLimit;
  if (options_.max_tokens == 0) options_.max_tokens = kNoLimit;
  for (size_t i = 0; i < lengths.size(); ++i) {
    require<ValueError>(lengths[i] >= 0 && lengths[i] <= options_.max_tokens,
                        "batches: example {} has {} tokens, expected 0 to {} (max_tokens)", i, lengths[i],
                        options_.max_tokens);
  }

  by_length_.resize(lengths.size());
  std::iota(by_length_.begin(), by_length_.end(), 0);
  std::stable_sort(by_length_.begin(), by_length_.end(),
                   [&](int64_t a, int64_t b) { return lengths[at(a)] > lengths[at(b)]; });
  for (size_t i = 0; i < by_length_.size(); ++i) {
    if (i == 0 || lengths[at(by_length_[i])] != lengths[at(by_length_[i - 1])]) {
      groups_.push_back(static_cast<int64_t>(i));
    }
  }
  groups_.push_back(static_cast<int64_t>(by_length_.size()));
  cut(lengths);
  order_ = by_length_;
  batch_order_.resize(cuts_.size() - 1);
  arrange(0);
}

void BatchPlan::cut(std::span<const int64_t> lengths) {
  const auto n = static_cast<int64_t>(by_length_.size());
  const auto length_at = [&](int64_t i) { return lengths[at(by_length_[at(i)])]; };
  for (int64_t begin = 0; begin < n;) {
    cuts_.push_back(begin);
    const int64_t fitting = options_.max_tokens / std::max<int64_t>(length_at(begin), 1);
    begin += std::min({fitting, options_.max_examples, n - begin});
  }
  cuts_.push_back(n);
  // The last batch, of the shortest examples, is what was left over. When it is smaller than the one before it takes
  // half of both: what moves is no longer than what it leaves behind, so the limits still hold.
  if (const size_t cuts = cuts_.size(); cuts > 2) {
    cuts_[cuts - 2] = std::min(cuts_[cuts - 2], (cuts_[cuts - 3] + n + 1) / 2);
  }
  for (size_t b = 0; b + 1 < cuts_.size(); ++b) {
    const int64_t examples = cuts_[b + 1] - cuts_[b];
    most_examples_ = std::max(most_examples_, examples);
    most_tokens_ = std::max(most_tokens_, examples * length_at(cuts_[b]));
  }
  longest_example_ = length_at(0);
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
