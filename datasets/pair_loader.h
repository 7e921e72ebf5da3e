#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "datasets/loader.h"
#include "datasets/sequences.h"
#include "framework/random.h"
#include "framework/tensor.h"

namespace attune {

/// One padded batch of B pairs: sources of up to S tokens, targets of up to T + 1 as a decoder learns them, which reads
/// all but the last and is to say all but the first.
struct PairBatch {
  Tensor source;                  ///< int64 [B, S]
  Tensor source_lengths;          ///< int64 [B]
  Tensor target_in;               ///< int64 [B, T]: begins with <bos>
  Tensor target_out;              ///< int64 [B, T]: one step later, ends with <eos>
  Tensor target_lengths;          ///< int64 [B]
  std::vector<int64_t> examples;  ///< number of each row's pair in the data: puts results back in order
  int64_t source_tokens = 0;      ///< tokens that are not padding
  int64_t target_tokens = 0;      ///< the same of target_out
};

/// Appends what tokens are read as this time, a function of tokens and random numbers alone: BpeDropout.
using Reading = std::function<void(std::span<const int64_t> tokens, RandomStream& random, std::vector<int64_t>& read)>;

/// How the pairs of a batch are read; without readings as they are.
struct PairReadings {
  Reading source;
  Reading target;
  /// Times that a batch has its pairs, all of them once and then again, each time read as the first: for two draws of
  /// dropout. Examples and counts of tokens are those of all rows; BatchOptions are of pairs.
  int64_t repeats = 1;
};

/// Padded batches of sequence pairs, epoch after epoch; all that Loader says holds here too. A batch keeps
/// BatchOptions::max_tokens on either side; where readings make sequences longer, it may be as much longer.
class PairLoader {
 public:
  /// Targets are whole: <bos> ... <eos>. Throws ValueError for unusable options or no data (see BatchPlan) and for a
  /// target without tokens, by its number, and for less than 1 repeat. Readings differ from epoch to epoch.
  PairLoader(SequencePairs data, const LoaderOptions& options, PairReadings readings = {});
  ~PairLoader();
  PairLoader(PairLoader&&) noexcept;
  PairLoader& operator=(PairLoader&&) noexcept;

  /// The same number in every epoch.
  int64_t batches_per_epoch() const;
  const SequencePairs& data() const;

  /// The next batch, valid until the next call; null once at the end of each epoch.
  const PairBatch* next();

  DataPosition position() const;
  /// Goes on from a saved position. Throws ValueError when it belongs to other data, options or another seed.
  void seek(const DataPosition& position);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace attune
