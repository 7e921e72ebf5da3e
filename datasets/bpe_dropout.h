#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "datasets/text_codec.h"
#include "framework/random.h"

namespace attune {

/// Reads sentences in other pieces each time: byte-pair encoding in which every merge is left out with a probability,
/// so that a model sees what words are made of (Provilkov et al., "BPE-Dropout", 2020, algorithm 1). Takes and gives
/// tokens; without dropout they are as they were.
class BpeDropout {
 public:
  /// codec: of CodecKind::kBpe. Throws ValueError for a probability outside [0, 1].
  BpeDropout(const TextCodec& codec, double probability);

  /// Appends what `tokens` are read as. Those that no merge makes, special and unknown ones, stay.
  void operator()(std::span<const int64_t> tokens, RandomStream& random, std::vector<int64_t>& read) const;

 private:
  bool merge_one(std::vector<int64_t>& word, RandomStream& random) const;
  void read_word(std::vector<int64_t>& word, RandomStream& random, std::vector<int64_t>& read) const;

  double probability_;
  int64_t space_ = -1;                            // the token that begins a word, and that no merge reaches over
  std::vector<std::vector<int64_t>> characters_;  // of each token
  std::unordered_map<uint64_t, int64_t> merged_;  // what two tokens side by side become
};

}  // namespace attune
