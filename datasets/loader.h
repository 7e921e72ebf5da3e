#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "datasets/batch_plan.h"
#include "datasets/sequences.h"
#include "framework/tensor.h"

namespace attune {

/// One padded batch of B sequences, the longest of T tokens.
struct Batch {
  Tensor tokens;                  ///< int64 [B, T]
  Tensor lengths;                 ///< int64 [B]
  Tensor labels;                  ///< int64 [B]
  std::vector<int64_t> examples;  ///< number of each row's example in the data: puts results back in order
  int64_t token_count = 0;        ///< tokens that are not padding
};

/// Where a loader stands: the next batch it hands out. Saved with a checkpoint, it brings the loader back exactly.
struct DataPosition {
  uint64_t seed = 0;
  int64_t epoch = 0;
  int64_t batch = 0;         ///< 0 ... batches_per_epoch(); that last value: the end of the epoch comes next
  uint64_t fingerprint = 0;  ///< of the data and the options that decide about batches

  bool operator==(const DataPosition&) const = default;
};

struct LoaderOptions {
  BatchOptions batches = {};
  /// Fills tokens behind the end of a sequence.
  int64_t pad = 0;
  /// Batches made ahead in a thread of their own; 0: none, no thread.
  int prefetch = 2;
};

/// Padded batches of labelled sequences, epoch after epoch:
///
///     while (const Batch* batch = loader.next()) { ... }   // one epoch; the next loop is the next epoch
///
/// The batches are a function of data, options and position alone, whatever the prefetch thread does. Their tensors
/// come from the caching allocator and are used again when nobody else holds them: a steady loop allocates nothing.
class Loader {
 public:
  /// Throws ValueError for unusable options or no data (see BatchPlan).
  Loader(LabelledSequences data, const LoaderOptions& options);
  ~Loader();
  Loader(Loader&&) noexcept;
  Loader& operator=(Loader&&) noexcept;

  /// The same number in every epoch.
  int64_t batches_per_epoch() const;
  const LabelledSequences& data() const;

  /// The next batch, valid until the next call; null once at the end of each epoch.
  const Batch* next();

  DataPosition position() const;
  /// Goes on from a saved position. Throws ValueError when it belongs to other data, options or another seed.
  void seek(const DataPosition& position);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace attune
