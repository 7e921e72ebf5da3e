#include "layers/attention/scaled_dot_product.h"

#include "framework/fail.h"

namespace attune {

ScaledDotProduct::ScaledDotProduct(ScaledDotProductOptions options) : options_(std::move(options)) {
  require<ValueError>(options_.softcap >= 0, "ScaledDotProduct: softcap {} given, expected at least 0",
                      options_.softcap);
  require<ValueError>(options_.dropout >= 0 && options_.dropout < 1,
                      "ScaledDotProduct: dropout {} given, expected 0 <= p < 1", options_.dropout);
}

AttentionOptions ScaledDotProduct::call_options(bool want_weights) const {
  AttentionOptions options;
  options.scale = options_.scale;
  options.softcap = options_.softcap;
  options.score = options_.score;
  options.dropout = training() ? options_.dropout : 0;
  options.stream = &default_stream();
  options.want_weights = want_weights;
  return options;
}

AttentionResult ScaledDotProduct::attend(const Variable& q, const Variable& k, const Variable& v,
                                         const LoweredMask& mask, bool want_weights) {
  const auto attention_by = options_.path == AttentionPath::kFused ? &attention : &attention_composed;
  return attention_by(q, k, v, mask.spec, mask.bias, call_options(want_weights));
}

AttentionResult ScaledDotProduct::attend_packed(const Variable& qkv, const LoweredMask& mask, bool want_weights) {
  if (options_.path == AttentionPath::kComposed) return AttentionCore::attend_packed(qkv, mask, want_weights);
  return attention_packed(qkv, mask.spec, mask.bias, call_options(want_weights));
}

AttentionResult ScaledDotProduct::attend_packed_kv(const Variable& q, const Variable& kv, const LoweredMask& mask,
                                                   bool want_weights) {
  if (options_.path == AttentionPath::kComposed) return AttentionCore::attend_packed_kv(q, kv, mask, want_weights);
  return attention_packed_kv(q, kv, mask.spec, mask.bias, call_options(want_weights));
}

}  // namespace attune
