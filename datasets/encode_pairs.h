#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "datasets/parallel_corpus.h"
#include "datasets/sequences.h"
#include "datasets/text_codec.h"

namespace attune {

/// What becomes of pairs with a side that is too long.
enum class Overlong : uint8_t { kLeaveOut, kTruncate, kError };

struct PairEncodeOptions {
  /// Most tokens of a side, <eos> included; 0: no limit.
  int64_t max_length = 0;
  Overlong overlong = Overlong::kLeaveOut;
};

/// Pairs as token numbers: the source ends with <eos>, the target is <bos> ... <eos>.
struct EncodedPairs {
  SequencePairs pairs;
  std::vector<size_t> numbers;  ///< of each pair in the corpus
  int64_t overlong = 0;         ///< pairs left out or cut
  int64_t source_unknown = 0;   ///< tokens that the codec does not know
  int64_t target_unknown = 0;

  /// "28990 pairs with 377534 source and 368011 target tokens (12 and 0 unknown), 10 overlong"
  std::string to_string() const;
};

/// Throws FormatError, naming the line, for a pair that is too long when that is an error, and for no pairs left;
/// ValueError for a limit below 2.
EncodedPairs encode_pairs(const ParallelCorpus& corpus, const TextCodec& source, const TextCodec& target,
                          const PairEncodeOptions& options = {});

}  // namespace attune
