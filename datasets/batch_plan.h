#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace attune {

struct BatchOptions {
  /// Most examples in a batch; 0: no limit.
  int64_t max_examples = 64;
  /// Most tokens in a batch, padding included: examples times the longest of them, of pairs the longer side of all; 0:
  /// no limit.
  int64_t max_tokens = 0;
  /// false: always the same batches, from the longest examples to the shortest.
  bool shuffle = true;
  uint64_t seed = 0;
};

/// Which examples make which batch of an epoch. Examples of similar length share a batch, so that little is padded:
/// they are sorted by length and cut into batches once; every epoch shuffles examples of equal length among each other
/// and the order of the batches. So all epochs have the same number of batches, and an epoch is a function of seed and
/// number alone.
class BatchPlan {
 public:
  /// lengths[i]: tokens of example i. Throws ValueError for no examples, a negative length or limit, both limits 0, and
  /// an example that exceeds max_tokens alone, by its number.
  BatchPlan(std::span<const int64_t> lengths, const BatchOptions& options);
  /// For pairs, as of a sentence and its translation: those in a batch are similar in both lengths, sorted by the
  /// target's and where that is equal by the source's. Besides, throws ValueError for another number of targets.
  BatchPlan(std::span<const int64_t> source_lengths, std::span<const int64_t> target_lengths,
            const BatchOptions& options);

  int64_t batches() const { return static_cast<int64_t>(batch_order_.size()); }
  /// Extents of the largest batch: examples, longest example (or side of a pair), and examples times longest.
  int64_t most_examples() const { return most_examples_; }
  int64_t longest_example() const { return longest_example_; }
  int64_t most_tokens() const { return most_tokens_; }

  /// Arranges epoch 0, 1, ...; the constructor arranges epoch 0. Allocates nothing.
  void arrange(int64_t epoch);
  /// Numbers of the examples of batch 0 ... batches() - 1 of the epoch arranged last.
  std::span<const int64_t> batch(int64_t index) const;

 private:
  struct Lengths;

  void sort(const Lengths& lengths);
  void cut(const Lengths& lengths);

  BatchOptions options_;
  std::vector<int64_t> by_length_;  // examples, longest first
  std::vector<int64_t> groups_;     // where examples of another length begin in by_length_, and the end
  std::vector<int64_t> cuts_;       // where batches begin in order_, and the end
  std::vector<int64_t> order_;      // by_length_, shuffled within groups
  std::vector<int64_t> batch_order_;
  int64_t most_examples_ = 0;
  int64_t longest_example_ = 0;
  int64_t most_tokens_ = 0;
};

}  // namespace attune
