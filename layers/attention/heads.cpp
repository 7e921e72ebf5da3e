#include "layers/attention/heads.h"

namespace attune {

MaskedScores masked(const Variable& scores, const LoweredMask& mask) {
  const Variable bias = parameter_for(scores, mask.bias);
  return {bias.defined() ? scores + bias : scores,
          allowed_keys(mask.spec, bias.value(), scores.shape(), scores.device())};
}

Tensor chosen_keys(const MaskSpec& mask, int64_t batch, int64_t key_heads, int64_t group, int64_t keys) {
  if (!mask.lengths.defined() && !mask.keep.defined()) return {};
  MaskSpec by_key{.lengths = mask.lengths};
  const bool by_head = mask.keep.defined() && mask.keep.stride(1) != 0;
  if (!by_head) key_heads = group = 1;
  if (mask.keep.defined()) by_key.keep = mask.keep.slice(1, 0, key_heads * group).slice(2, 0, 1);
  return allowed_keys(by_key, batch, key_heads * group, 1, keys).view({batch, key_heads, group, keys, 1});
}

}  // namespace attune
