#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "layers/attention/mask.h"

namespace attune::examples {

/// What a random mask is put together from.
enum class MaskPart : uint8_t {
  kCausal,
  kCausalLast,
  kPadding,
  kKeep,
  kDrop,
  kWindow,
  kBlocks,
  kWhere,
  kBias,
  kInfiniteBias
};
const char* mask_part_name(MaskPart part);

struct MaskExtents {
  int64_t batch = 1;
  int64_t heads = 1;
  int64_t queries = 1;
  int64_t keys = 1;
};

/// A mask of the given parts with lengths, bands and patterns drawn from a seed. Biases are inputs of their own: float,
/// [1, H, T, S].
class MaskPlan {
 public:
  MaskPlan(const std::vector<MaskPart>& parts, const MaskExtents& extents, uint64_t seed);

  /// like: has the dtype and device of the scores; float64 on the CPU without.
  AttentionMask mask(const Variable& bias = {}, const Tensor& like = {}) const;
  bool empty() const { return parts_.empty(); }
  bool has_bias() const { return has(MaskPart::kBias); }
  bool has(MaskPart part) const;
  Shape bias_shape() const { return {1, extents_.heads, extents_.queries, extents_.keys}; }
  const Tensor& lengths() const { return lengths_; }

  /// Tensors that code() refers to by these names.
  std::vector<std::pair<std::string, Tensor>> constants() const;
  /// "AttentionMask::causal() & AttentionMask::padding(lengths)"
  std::string code() const;

  /// bool [B, H, T, S]
  Tensor allowed() const;

 private:
  std::vector<MaskPart> parts_;
  MaskExtents extents_;
  Tensor lengths_;    // int64 [B]
  Tensor keep_;       // bool [B, 1, T, S]
  Tensor drop_;       // bool [T, S]
  Tensor blocks_;     // bool [ceil(T / 2), ceil(S / 2)]
  Tensor forbidden_;  // bool [T, S]: where the bias of -infinity is
  int64_t left_ = -1;
  int64_t right_ = -1;
};

}  // namespace attune::examples
