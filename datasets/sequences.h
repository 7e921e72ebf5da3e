#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace attune {

/// Sequences of token numbers of different lengths, each with a label, in one block of memory.
class LabelledSequences {
 public:
  int64_t size() const { return static_cast<int64_t>(labels_.size()); }
  int64_t length(int64_t i) const { return begins_[at(i) + 1] - begins_[at(i)]; }
  std::span<const int64_t> tokens(int64_t i) const {
    return std::span(tokens_).subspan(static_cast<size_t>(begins_[at(i)]), static_cast<size_t>(length(i)));
  }
  int64_t label(int64_t i) const { return labels_[at(i)]; }

  std::vector<int64_t> lengths() const;
  int64_t token_count() const { return static_cast<int64_t>(tokens_.size()); }

  void add(std::span<const int64_t> tokens, int64_t label);

  /// Equal for equal sequences and labels in equal order, on every machine.
  uint64_t fingerprint() const;

 private:
  static size_t at(int64_t i) { return static_cast<size_t>(i); }

  std::vector<int64_t> tokens_;
  std::vector<int64_t> begins_ = {0};
  std::vector<int64_t> labels_;
};

}  // namespace attune
