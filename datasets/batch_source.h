#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "datasets/batch_plan.h"
#include "datasets/hash.h"
#include "datasets/loader.h"
#include "datasets/prefetcher.h"
#include "datasets/sequences.h"
#include "framework/fail.h"
#include "framework/random.h"

namespace attune {

/// Memory for batch after batch. A tensor that somebody still holds is left alone, and another takes its place.
class ReusedTensor {
 public:
  ReusedTensor() = default;
  explicit ReusedTensor(DType dtype) : dtype_(dtype) {}

  /// A contiguous view of this shape; `capacity` elements should do for all calls. `last` is the view of the call
  /// before.
  Tensor view(const Shape& shape, int64_t capacity, Tensor& last) {
    last = Tensor();
    if (!memory_.defined() || !memory_.storage().unique() || memory_.numel() < shape.numel()) {
      memory_ = Tensor::empty({std::max(capacity, shape.numel())}, dtype_);
    }
    return memory_.as_strided(shape, contiguous_strides(shape));
  }

 private:
  DType dtype_ = DType::kInt64;
  Tensor memory_;
};

/// Sequences of a batch next to each other: what they fill of [B, longest], the rest is `pad`; and their lengths [B].
/// tokens_of(example) -> std::span<const int64_t>. Returns how many tokens there are without padding.
template <class TokensOf>
int64_t fill_padded(std::span<const int64_t> examples, int64_t longest, int64_t pad, TokensOf&& tokens_of,
                    int64_t* tokens, int64_t* lengths) {
  int64_t count = 0;
  for (int64_t example : examples) {
    const std::span<const int64_t> sequence = tokens_of(example);
    int64_t* end = std::copy(sequence.begin(), sequence.end(), tokens);
    tokens += longest;
    std::fill(end, tokens, pad);
    if (lengths != nullptr) *lengths++ = static_cast<int64_t>(sequence.size());
    count += static_cast<int64_t>(sequence.size());
  }
  return count;
}

/// Sequences <bos> ... <eos> of a batch as a decoder learns them: `in` has all but the last token, `out` all but the
/// first, as fill_padded() puts them into [B, longest]; lengths [B]. Returns as that does.
inline int64_t fill_teacher_forcing(std::span<const int64_t> examples, int64_t longest, int64_t pad,
                                    const Sequences& sequences, int64_t* in, int64_t* out, int64_t* lengths) {
  const auto read = [&](int64_t example) {
    const auto tokens = sequences.tokens(example);
    return tokens.first(tokens.size() - 1);
  };
  const auto said = [&](int64_t example) { return sequences.tokens(example).subspan(1); };
  fill_padded(examples, longest, pad, said, out, nullptr);
  return fill_padded(examples, longest, pad, read, in, lengths);
}

/// Random numbers of an example in an epoch, up to 2^bits of them.
inline RandomStream random_of(uint64_t seed, int64_t epoch, int64_t example, int bits) {
  const int64_t key[] = {static_cast<int64_t>(seed), epoch};
  return RandomStream(RandomState{stable_hash(std::as_bytes(std::span(key))), static_cast<uint64_t>(example) << bits});
}

/// What loaders of all kinds of batches share: the plan of the epochs, where one stands in them, the thread that makes
/// batches ahead. Slot: a batch and the memory that it lies in.
template <class Slot>
class BatchSource {
 public:
  /// Fills the slot with these examples of an epoch.
  using Fill = std::function<void(Slot&, std::span<const int64_t> examples, int64_t epoch)>;

  /// fingerprint: of the data.
  BatchSource(BatchPlan plan, uint64_t fingerprint, const LoaderOptions& options, Fill fill)
      : options_(options), plan_(std::move(plan)), fill_(std::move(fill)) {
    require<ValueError>(options.prefetch >= 0, "loader: prefetch is {}, expected 0 or more", options.prefetch);
    const std::array<int64_t, 3> deciding = {options.batches.max_examples, options.batches.max_tokens,
                                             options.batches.shuffle ? 1 : 0};
    position_ = {options.batches.seed, 0, 0, stable_hash(std::as_bytes(std::span(deciding)), fingerprint)};
    making_ = position_;
  }
  BatchSource(const BatchSource&) = delete;
  BatchSource& operator=(const BatchSource&) = delete;

  const BatchPlan& plan() const { return plan_; }
  const DataPosition& position() const { return position_; }

  const Slot* next() {
    if (position_.batch == plan_.batches()) {
      ++position_.epoch;
      position_.batch = 0;
      return nullptr;
    }
    if (!prefetcher_) {
      making_ = position_;
      plan_.arrange(making_.epoch);
      prefetcher_.emplace(options_.prefetch, [this](Slot& slot) { return produce(slot); });
    }
    const Slot* slot = prefetcher_->next();
    ++position_.batch;
    return slot;
  }

  void seek(const DataPosition& position) {
    require<ValueError>(position.seed == position_.seed,
                        "loader: the position was saved with seed {}, this loader has seed {}", position.seed,
                        position_.seed);
    require<ValueError>(position.fingerprint == position_.fingerprint,
                        "loader: the position was saved with other data or batch options (fingerprint {:016x}, here "
                        "{:016x}); give the same ones to go on",
                        position.fingerprint, position_.fingerprint);
    require<ValueError>(position.epoch >= 0 && position.batch >= 0 && position.batch <= plan_.batches(),
                        "loader: position epoch {}, batch {} asked for, expected epoch 0 or more, batch 0 to {}",
                        position.epoch, position.batch, plan_.batches());
    prefetcher_.reset();
    position_ = position;
  }

 private:
  // The prefetch thread, when there is one, is the only user of plan_ and making_.
  bool produce(Slot& slot) {
    if (making_.batch == plan_.batches()) {
      making_.batch = 0;
      plan_.arrange(++making_.epoch);
    }
    fill_(slot, plan_.batch(making_.batch++), making_.epoch);
    return true;
  }

  const LoaderOptions options_;
  BatchPlan plan_;
  Fill fill_;
  DataPosition position_;
  DataPosition making_;
  std::optional<Prefetcher<Slot>> prefetcher_;  // last, so that its thread ends before what it uses
};

}  // namespace attune
