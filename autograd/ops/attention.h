#pragma once

#include <utility>

#include "autograd/variable.h"
#include "framework/kernels/attention.h"
#include "framework/kernels/rotary.h"
#include "framework/random.h"

namespace attune {

struct AttentionOptions {
  double scale = 0;                ///< of the scores; 0: 1 / sqrt(K)
  double softcap = 0;              ///< c tanh(score / c) after scaling and before masks; 0: none
  ScoreFunction score{};           ///< takes the place of a score after softcap and before masks; none: the score stays
  double dropout = 0;              ///< of the weights, with inverted scaling
  RandomStream* stream = nullptr;  ///< for the dropout; null: default_stream()
  bool want_weights = false;
};

struct AttentionResult {
  Variable output;   ///< [B, T, H, Kv]
  Variable weights;  ///< [B, H, T, S] when asked for, before dropout, gradients flow through it; undefined otherwise
};

/// Scaled dot-product attention (Vaswani et al., 2017, eq. 1), exact, without materialising T x S.
/// q [B, T, H, K], k [B, S, Hkv, K], v [B, S, Hkv, Kv]; query head h reads key head h / (H / Hkv). bias: broadcast to
/// [B, H, T, S], added after scaling and softcap, differentiable, may be undefined; -infinity forbids its key. A query
/// without an allowed key gives exactly 0; masked keys take part in nothing, neither in the result nor in a gradient,
/// even when they hold NaN.
AttentionResult attention(const Variable& q, const Variable& k, const Variable& v, const MaskSpec& mask = {},
                          const Variable& bias = {}, const AttentionOptions& options = {});

/// Self-attention on one packed projection qkv [B, T, 3, H, K]: heads are read and gradients written by strides.
AttentionResult attention_packed(const Variable& qkv, const MaskSpec& mask = {}, const Variable& bias = {},
                                 const AttentionOptions& options = {});

/// Cross-attention with packed keys and values kv [B, S, 2, H, K].
AttentionResult attention_packed_kv(const Variable& q, const Variable& kv, const MaskSpec& mask = {},
                                    const Variable& bias = {}, const AttentionOptions& options = {});

/// The same contract from matmul, masked_softmax and dropout, with T x S in memory: what the fused kernel is tested
/// against.
AttentionResult attention_composed(const Variable& q, const Variable& k, const Variable& v, const MaskSpec& mask = {},
                                   const Variable& bias = {}, const AttentionOptions& options = {});

/// y(t, s) = sum over a of v(a) tanh(q(t, a) + k(s, a)) (Bahdanau et al., 2015, appendix A.1.2), without [T, S, A] in
/// memory: the backward pass computes tanh again. q [B, H, T, A], k [B, H, S, A], v [H, A] -> [B, H, T, S]. Where the
/// gradient of a score is exactly 0, nothing of its query and key, NaN or not, reaches any gradient.
Variable additive_scores(const Variable& q, const Variable& k, const Variable& v);

/// The same from tanh and sum, with [B, H, T, S, A] in memory: what the fused kernel is tested against.
Variable additive_scores_composed(const Variable& q, const Variable& k, const Variable& v);

/// y(t) = sum over s of weights(t, s) v(s): weights [B, H, T, S], v [B, S, Hkv, K] -> [B, T, H, K]; query head h reads
/// value head h / (H / Hkv). A weight of exactly 0 contributes nothing even where v holds NaN.
Variable weighted_sum(const Variable& weights, const Variable& v);

/// The expected alignment of monotonic attention (Raffel et al., 2017, section 2.3) by its recurrence, without the
/// divisions of the parallel form: y(t, s) = p(t, s) q(t, s), q(t, s) = (1 - p(t, s - 1)) q(t, s - 1) + y(t - 1, s).
/// p [B, H, T, S]: probability of stopping at a key; previous [B, H, S]: y(-1); keep: bool [B, H, T, S]. Keys that are
/// not kept are passed by (their p, NaN or not, reaches neither result nor gradient); a query without any has y = 0 and
/// leaves the alignment where it was. Returns {y [B, H, T, S], the alignment after the last query [B, H, S]}.
std::pair<Variable, Variable> monotonic_alignment(const Variable& p, const Variable& previous, const Tensor& keep);

/// Rotary positions (Su et al., 2021, eq. 34): pairs (a, b) of the last axis of x [B, N, H, K] become
/// (a cos - b sin, a sin + b cos). cosines, sines [N, R / 2], float32 for bfloat16: of the angle of pair i at position
/// n; the first R elements of a head are turned, the others stay.
Variable rotary(const Variable& x, const Tensor& cosines, const Tensor& sines, RotaryLayout layout);

/// True where a key may be attended: [B, H, T, S], all parts of the mask combined.
Tensor allowed_keys(const MaskSpec& mask, int64_t batch, int64_t heads, int64_t queries, int64_t keys,
                    Device device = Device::cpu());

/// The same for scores [B, H, T, S] to which `bias` (broadcast to them; may be undefined) is added: where it is
/// -infinity, it forbids its key.
Tensor allowed_keys(const MaskSpec& mask, const Tensor& bias, const Shape& scores, Device device);

/// False where a bias is -infinity: bool, of its shape and on its device.
Tensor allowed_by_bias(const Tensor& bias);

}  // namespace attune
