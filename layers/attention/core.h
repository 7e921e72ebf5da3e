#pragma once

#include <cstdint>

#include "autograd/ops/attention.h"
#include "layers/attention/mask.h"
#include "layers/module.h"

namespace attune {

class AttentionRecorder;

/// Keys and values that stay what they are while queries come one after the other, and what the variant computes from
/// the keys once for all of them. Made by AttentionCore::prepare.
struct AttentionMemory {
  Variable k;         // [B, S, Hkv, K]
  Variable v;         // [B, S, Hkv, Kv]
  Variable prepared;  // for example U k; undefined where the variant prepares nothing
  AttentionMask mask;
  int64_t queries = 0;  // how many the mask speaks of
};

/// What is carried from one query to the next. A new one stands before the first query.
struct AttentionState {
  int64_t position = 0;        ///< queries so far
  Variable carried{};          ///< [B, H, S], of variants that look back: weights, coverage or alignment so far
  Variable log_probability{};  ///< [B, H], of variants that choose: of all choices so far
  Variable entropy{};          ///< [B, H], of variants that choose: of the distributions chosen from, summed

  /// The state of samples indices[0], indices[1], ... (int64 [n]): what a beam search keeps of its hypotheses.
  AttentionState of_samples(const Tensor& indices) const;
};

/// The seam that every variant of attention stands behind: queries, keys, values and a mask go in, the output and, when
/// asked for, the weights come out. Heads are an axis, read by strides. H may be a multiple of Hkv: query head h uses
/// key head h / (H / Hkv).
///
/// Every variant keeps the rules of AttentionMask, gives the same with and without weights, and hands back the weights
/// before dropout: per head, exactly 0 where masked. Gradients flow through returned weights too.
///
/// Recurrent decoders have one query at a time:
///
///     const AttentionMemory memory = core.prepare(k, v, mask, T);
///     AttentionState state;
///     for (...) context = core.step(q, memory, state).output;   // q [B, 1, H, K]
///
/// gives what core(q, k, v, mask) gives for the T queries at once, but for the random numbers of dropout.
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

  /// The memory for step(). The mask speaks of `queries` queries, those of all steps together.
  AttentionMemory prepare(const Variable& k, const Variable& v, const AttentionMask& mask, int64_t queries) const;
  /// The next queries, q [B, T, H, K], one or more, after those that `state` has seen; moves it on. Throws ValueError
  /// for more queries than were prepared for.
  AttentionResult step(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                       bool want_weights = false);

 protected:
  virtual AttentionResult attend(const Variable& q, const Variable& k, const Variable& v, const LoweredMask& mask,
                                 bool want_weights) = 0;
  /// What step() need not compute from the keys again.
  virtual Variable prepare_keys(const Variable& k) const;
  /// The next queries; `mask` speaks of these. Variants that prepare or carry something override it. state.position is
  /// moved on by the caller.
  virtual AttentionResult attend_next(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                                      const LoweredMask& mask, bool want_weights);
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
