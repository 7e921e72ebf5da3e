#pragma once

#include "framework/kernels/kernel.h"
#include "framework/kernels/norm.h"
#include "framework/kernels/score_function.h"

namespace attune {

/// Which keys a query may attend to; all parts must allow it. What layers/attention/mask.h lowers to.
struct MaskSpec {
  bool causal = false;  ///< s <= t + causal_offset
  int64_t causal_offset =
      0;  ///< key position of query 0: S - T when aligned to the last key, cache length when decoding
  int64_t window_left = -1;   ///< s >= t + causal_offset - window_left; -1: unbounded
  int64_t window_right = -1;  ///< s <= t + causal_offset + window_right; -1: unbounded
  Tensor lengths{};           ///< int64 [B]: s < lengths[b]; undefined: all
  Tensor keep{};              ///< bool, expanded to [B, H, T, S], true = may be attended; undefined: all
  /// bool, expanded to [B, H, ceil(T / block_size), ceil(S / block_size)]: where it is false, `keep` is false for every
  /// query and key of the block, so that the block may be skipped unseen; undefined: nothing is known.
  Tensor blocks{};
  int64_t block_size = 0;
  MaskFunction where{};  ///< a formula of the user's; none: all
};

struct AttentionSpec {
  MaskSpec mask;
  double scale = 1;            ///< of the scores
  double softcap = 0;          ///< c tanh(score / c) after scaling; 0: none
  ScoreFunction score;         ///< takes the place of a score after softcap, before the bias; none: the score stays
  DropoutSpec dropout;         ///< of the weights; element ((b H + h) T + t) S + s of the draw
  bool deterministic = false;  ///< gradients are the same in every run, which elsewhere than on CUDA they always are
};

/// Exact attention without materialising T x S: online softmax over blocks of keys (Milakov and Gimelshein, 2018; Dao
/// et al., "FlashAttention", 2022). y = dropout(softmax(softcap(scale q k^T) + bias)) v. q [B, T, H, K], k [B, S, Hkv,
/// K], v [B, S, Hkv, Kv]: any strides with unit steps along the last axis; query head h reads key head h / (H / Hkv).
/// bias: to [B, H, T, S] (optional); -infinity forbids its key. y [B, T, H, Kv], lse [2, B, H, T]: what no score of the
/// row is above, -infinity in a row without keys, whose y is 0, and the log of the sum of exp(score - that): added up,
/// they would be rounded. weights [B, H, T, S] (optional): before dropout. All contiguous. Masked keys take part in
/// nothing, NaN or not.
ATTUNE_WIDE_KERNEL(attention, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                   const AttentionSpec& spec, Tensor& y, Tensor& lse, Tensor& weights);

/// Gradients, by recomputation of the scores, or from `weights` (optional) where spec has neither softcap nor score.
/// dq, dk, dv: shapes of q, k, v, any strides with unit steps along the last axis; written, not added to. dbias
/// (optional): [B, H, T, S] contiguous, before reduction to the bias's shape. A query whose dy is exactly 0 contributes
/// exactly 0, whatever it holds.
ATTUNE_WIDE_KERNEL(attention_backward, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                   const Tensor& bias, const AttentionSpec& spec, const Tensor& y, const Tensor& lse,
                   const Tensor& weights, Tensor& dq, Tensor& dk, Tensor& dv, Tensor& dbias);

}  // namespace attune
