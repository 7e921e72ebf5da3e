#pragma once

#include "autograd/ops/attention.h"
#include "layers/attention/mask.h"
#include "layers/module.h"

namespace attune {

class AttentionRecorder;

/// The seam that every variant of attention stands behind: queries, keys, values and a mask go in, the output and, when
/// asked for, the weights come out. Heads are an axis, read by strides. H may be a multiple of Hkv: query head h uses
/// key head h / (H / Hkv).
///
/// Every variant keeps the rules of AttentionMask, gives the same with and without weights, and hands back the weights
/// before dropout: per head, exactly 0 where masked. Gradients flow through returned weights too.
///
/// All throw ShapeError naming the module and the argument.
class AttentionCore : public Module {
 public:
  /// q [B, T, H, K], k [B, S, Hkv, K], v [B, S, Hkv, Kv], any strides -> output [B, T, H, Kv], weights [B, H, T, S].
  AttentionResult operator()(const Variable& q, const Variable& k, const Variable& v, const AttentionMask& mask = {},
                             bool want_weights = false);
  /// q, k and v side by side, as one product gives them: qkv [B, T, 3, H, K].
  AttentionResult packed(const Variable& qkv, const AttentionMask& mask = {}, bool want_weights = false);
  /// k and v side by side: q [B, T, H, K], kv [B, S, 2, H, K].
  AttentionResult packed_kv(const Variable& q, const Variable& kv, const AttentionMask& mask = {},
                            bool want_weights = false);

 protected:
  virtual AttentionResult attend(const Variable& q, const Variable& k, const Variable& v, const LoweredMask& mask,
                                 bool want_weights) = 0;
  // Variants that gain from packed operands override these; otherwise they are taken apart.
  virtual AttentionResult attend_packed(const Variable& qkv, const LoweredMask& mask, bool want_weights);
  virtual AttentionResult attend_packed_kv(const Variable& q, const Variable& kv, const LoweredMask& mask,
                                           bool want_weights);

 private:
  friend class AttentionRecorder;

  template <class Attend>
  AttentionResult recorded(bool want_weights, Attend&& attend);

  AttentionRecorder* recorder_ = nullptr;
};

}  // namespace attune
