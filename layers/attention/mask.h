#pragma once

#include <cstdint>
#include <vector>

#include "autograd/ops/attention.h"
#include "autograd/variable.h"
#include "layers/module.h"

namespace attune {

/// Which key the queries' positions are counted from when there are T queries and S keys: query t stands at key t, or
/// at key t + S - T, so that the last query stands at the last key.
enum class Align : uint8_t { kFirst, kLast };

/// What a mask comes down to for given extents: `spec` says which keys exist for a query, `bias` is added to their
/// scores after scaling; undefined: nothing is added.
struct LoweredMask {
  MaskSpec spec;
  Variable bias;
};

/// Which keys a query may attend to, and what is added to their scores. A tensor alone is not a mask: its sense must be
/// named, keep(...) or drop(...). Masks compose: a & b allows what both allow and adds both biases.
///
///     AttentionMask::causal() & AttentionMask::padding(lengths)
///
/// What is not allowed does not exist: NaN and infinity in such keys, values or scores reach neither output nor any
/// gradient. A query without any key gives output 0, weights 0 and gradients 0.
///
/// Tensors are kept, not copied, except by drop: changing one in place between forward and backward is an error that
/// names it. Give clone() where a mask changes from step to step.
class AttentionMask {
 public:
  /// Every query attends to every key.
  AttentionMask() = default;

  /// Query t attends to keys 0 ... t, or 0 ... t + S - T with Align::kLast.
  static AttentionMask causal(Align align = Align::kFirst);
  /// Query t attends to keys 0 ... t + offset: when decoding with a cache, `offset` keys come before the first query.
  static AttentionMask causal(int64_t offset);
  /// The same by sample: query t of sample b stands at key t + offsets[b]. int64 [B]. Throws DTypeError, ShapeError.
  static AttentionMask causal(const Tensor& offsets);

  /// Sample b has keys 0 ... lengths[b] - 1. lengths: int64 [B], each 0 ... S. Throws DTypeError, ShapeError.
  static AttentionMask padding(Tensor lengths);

  /// A query attends to the keys where `allowed` is true, or where `forbidden` is false. bool, [T, S] or [B, H, T, S]
  /// with any extents 1; kept, not copied. Throws DTypeError, ShapeError.
  static AttentionMask keep(Tensor allowed);
  static AttentionMask drop(const Tensor& forbidden);

  /// A query attends to the keys for which a formula says so: where([](const ScoreAt& at) { return at.key != at.query;
  /// }). The formula is called by several threads at once.
  static AttentionMask where(MaskFunction allowed);

  /// A query at key p attends to keys p - left ... p + right; -1: no limit on that side. Throws ValueError below -1.
  static AttentionMask window(int64_t left, int64_t right, Align align = Align::kFirst);
  /// The same with query t at key t + offset.
  static AttentionMask window(int64_t left, int64_t right, int64_t offset);
  /// The same by sample: query t of sample b stands at key t + offsets[b]. int64 [B]. Throws DTypeError, ShapeError.
  static AttentionMask window(int64_t left, int64_t right, const Tensor& offsets);

  /// Query t attends to key s where `layout`[t / size, s / size] is true: blocks of size x size (Child et al., 2019,
  /// "Generating long sequences with sparse transformers"). bool, [ceil(T / size), ceil(S / size)], or [B, H, ., .]
  /// with extents 1 for B and H; kept, not copied. Throws DTypeError, ShapeError, and ValueError for a size below 1.
  static AttentionMask blocks(Tensor layout, int64_t size);

  /// Added to the scores after scaling and softcap; receives a gradient. -infinity forbids its key, as drop does.
  /// Floating, [T, S] or [B, H, T, S] with any extents 1. Throws DTypeError, ShapeError.
  static AttentionMask bias(Variable scores);

  friend AttentionMask operator&(const AttentionMask& a, const AttentionMask& b);

  /// For B samples, H heads, T queries and S keys. Throws ShapeError where a part does not fit, and ValueError for a
  /// length outside 0 ... S, naming the sample. `user` is named in messages.
  LoweredMask lower(int64_t batch, int64_t heads, int64_t queries, int64_t keys, const Module* user = nullptr) const;

  /// The mask for `count` more keys behind the S that this one was made for: they are always allowed, and their scores
  /// get nothing added.
  AttentionMask with_extra_keys(int64_t count, int64_t batch, int64_t heads, int64_t queries, int64_t keys,
                                const Module* user = nullptr) const;

 private:
  static constexpr int64_t kFar = int64_t{1} << 40;  // no bound: farther than any sequence is long

  /// Key s is allowed for a query at key p when p + low <= s <= p + high.
  struct Band {
    int64_t low = -kFar;
    int64_t high = kFar;
  };

  struct Blocks {
    Tensor layout;
    int64_t size;
  };

  /// A band whose queries stand at key t + offsets[b].
  struct SampleBand {
    Tensor offsets;  // int64 [B], on the CPU
    Device device;   // of what it becomes
    Band band;
  };

  static AttentionMask by_sample(const char* what, const Tensor& offsets, Band band);
  /// What keep, drop, blocks and bands by sample allow of T x S; undefined when all is.
  Tensor kept_keys(const Shape& full, const Module* user) const;

  Band first_;
  Band last_;  // counted from Align::kLast
  Tensor lengths_;
  Tensor keep_;
  std::vector<Blocks> blocks_;
  std::vector<SampleBand> sample_bands_;
  MaskFunction where_;
  Variable bias_;
};

}  // namespace attune
