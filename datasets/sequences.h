#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace attune {

/// Sequences of token numbers of different lengths in one block of memory.
class Sequences {
 public:
  int64_t size() const { return static_cast<int64_t>(begins_.size()) - 1; }
  int64_t length(int64_t i) const { return begins_[at(i) + 1] - begins_[at(i)]; }
  std::span<const int64_t> tokens(int64_t i) const {
    return std::span(tokens_).subspan(static_cast<size_t>(begins_[at(i)]), static_cast<size_t>(length(i)));
  }

  std::vector<int64_t> lengths() const;
  int64_t token_count() const { return static_cast<int64_t>(tokens_.size()); }

  void add(std::span<const int64_t> tokens);
  void clear();

  /// Equal for equal sequences in equal order, on every machine. `seed` chains calls.
  uint64_t fingerprint(uint64_t seed = 0) const;

 private:
  static size_t at(int64_t i) { return static_cast<size_t>(i); }

  std::vector<int64_t> tokens_;
  std::vector<int64_t> begins_ = {0};
};

/// Sequences with a label each.
class LabelledSequences {
 public:
  int64_t size() const { return sequences_.size(); }
  int64_t length(int64_t i) const { return sequences_.length(i); }
  std::span<const int64_t> tokens(int64_t i) const { return sequences_.tokens(i); }
  int64_t label(int64_t i) const { return labels_[static_cast<size_t>(i)]; }

  std::vector<int64_t> lengths() const { return sequences_.lengths(); }
  int64_t token_count() const { return sequences_.token_count(); }

  void add(std::span<const int64_t> tokens, int64_t label);

  /// Equal for equal sequences and labels in equal order, on every machine.
  uint64_t fingerprint() const;

 private:
  Sequences sequences_;
  std::vector<int64_t> labels_;
};

/// Sequences that belong together two by two, such as a sentence and its translation.
struct SequencePairs {
  Sequences source;
  Sequences target;

  int64_t size() const { return source.size(); }
  void add(std::span<const int64_t> source_tokens, std::span<const int64_t> target_tokens) {
    source.add(source_tokens);
    target.add(target_tokens);
  }
  void clear() {
    source.clear();
    target.clear();
  }
  uint64_t fingerprint() const { return target.fingerprint(source.fingerprint()); }
};

}  // namespace attune
