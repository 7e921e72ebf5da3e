#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "layers/attention/cache.h"
#include "layers/attention/core.h"
#include "layers/attention/positions.h"
#include "layers/linear.h"

namespace attune {

struct MultiHeadAttentionOptions {
  int64_t kdim = 0;            ///< width of the keys; 0: dim
  int64_t vdim = 0;            ///< width of the values; 0: dim
  bool bias = true;            ///< of the projections
  bool add_bias_kv = false;    ///< a learned key with its value behind those of the sequence
  bool add_zero_attn = false;  ///< a key and a value of zeros behind all others
  double dropout = 0;          ///< of the weights, in training only
  /// Hkv, heads of keys and values; 0: as many as of queries. Query head h uses key head h / (H / Hkv): grouped-query
  /// attention (Ainslie et al., 2023), multi-query with 1 (Shazeer, 2019).
  int64_t key_heads = 0;
  PositionOptions positions{};  ///< rotary, ALiBi or T5's buckets; keys added by the options above have none
};

/// Which attention weights come back beside the output.
enum class Weights : uint8_t { kNone, kPerHead, kAveraged };

/// Multi-head attention (Vaswani et al., 2017, section 3.2.2): concat(head_1 ... head_H) Wo + bo with
/// head_h = attention(q Wq_h, k Wk_h, v Wv_h) over K = dim / H dimensions.
///
///     attn(x)               self-attention: one product gives queries, keys and values
///     attn(query, memory)   cross-attention: one product gives keys and values
///     attn(query, key, value)
///
///     attn.step(x, cache)   self-attention, position by position
///
/// query [B, T, dim], key [B, S, kdim], value [B, S, vdim] -> output [B, T, dim]; weights [B, H, T, S], or [B, T, S]
/// averaged over the heads; the keys added by options stand behind the S others, and are always allowed. A query
/// without any key gets weights 0 and, since attention gives it 0, the output bo.
///
/// Parameters, when key and value are as wide as the query: qkv.weight [3 dim, dim] (rows of Wq, Wk, Wv), qkv.bias;
/// otherwise q.weight [dim, dim], k.weight [dim, kdim], v.weight [dim, vdim] and their biases. out.weight [dim, dim],
/// out.bias. With add_bias_kv: bias_k, bias_v [dim]. With key_heads, keys and values have Hkv K rows instead of dim.
/// Weights begin by Glorot's uniform, biases at zero, bias_k and bias_v by Glorot's normal. T5's buckets:
/// positions.weight.
class MultiHeadAttention : public Module {
 public:
  /// core: how the heads attend; scaled dot product with `dropout` when there is none. Throws ValueError when heads do
  /// not divide dim, or key_heads the heads.
  MultiHeadAttention(int64_t dim, int64_t heads, MultiHeadAttentionOptions options = {},
                     std::unique_ptr<AttentionCore> core = nullptr);

  // All throw ShapeError naming the module and the argument.

  AttentionResult operator()(const Variable& x, const AttentionMask& mask = {}, Weights weights = Weights::kNone) const;
  AttentionResult operator()(const Variable& query, const Variable& memory, const AttentionMask& mask = {},
                             Weights weights = Weights::kNone) const;
  AttentionResult operator()(const Variable& query, const Variable& key, const Variable& value,
                             const AttentionMask& mask = {}, Weights weights = Weights::kNone) const;

  // Decoding, for values: nothing is recorded for gradients.

  /// Self-attention of the next positions, x [B, N, dim], behind those in the cache: their keys and values are
  /// appended, and each attends to the cache up to itself, as under AttentionMask::causal(). mask: for N queries and
  /// all keys of the cache then; may forbid more. Keys added by options are put behind the others again at each step.
  AttentionResult step(const Variable& x, AttentionCache& cache, const AttentionMask& mask = {},
                       Weights weights = Weights::kNone) const;
  /// The same where each sample goes on at a position of its own, which need not be behind all others: positions int64
  /// [B], each 0 ... cache.lengths()[b]. Prompts of different lengths are one batch: all are padded on the right and
  /// begin at 0, what follows stands at their own ends. Position ... position + N - 1 of each sample are written, and
  /// each query attends to its sample up to itself. Throws ValueError naming the sample.
  AttentionResult step(const Variable& x, AttentionCache& cache, const Tensor& positions,
                       const AttentionMask& mask = {}, Weights weights = Weights::kNone) const;
  /// Keys and values of a memory [B, S, kdim], computed once for recall().
  AttentionCache remember(const Variable& memory) const;
  /// Cross-attention to a memory that remember() took in: query [B, T, dim].
  AttentionResult recall(const Variable& query, const AttentionCache& memory, const AttentionMask& mask = {},
                         Weights weights = Weights::kNone) const;

  int64_t dim() const { return dim_; }
  int64_t heads() const { return heads_; }
  int64_t key_heads() const { return key_heads_; }

 private:
  /// Where the first query stands: at `offset`, or at offsets[b] of each sample.
  struct Place {
    int64_t offset = 0;
    Tensor offsets{};  // int64 [B], or undefined
  };

  struct Heads {
    Variable q;  // [B, T, H, K]
    Variable k;  // [B, S, Hkv, K]
    Variable v;  // [B, S, Hkv, K]
  };

  /// Heads side by side [B, N, heads K] -> [B, N, heads, K].
  Variable split(const Variable& x) const;
  /// The product with rows begin ... end of the packed weight.
  Variable project(const Variable& x, int64_t begin, int64_t end) const;
  Variable project_query(const Variable& query) const;
  /// q, k and v of one sequence, queries and keys turned to their positions.
  Heads project_self(const Variable& x, const Place& place) const;
  std::pair<Variable, Variable> project_memory(const Variable& memory) const;
  Variable turned(const Variable& x, const Place& place) const;
  void check(const Variable& x, const char* name, int64_t width) const;
  bool adds_keys() const { return bias_k_.defined() || add_zero_attn_; }
  AttentionResult attend(const Heads& heads, const AttentionMask& mask, Weights weights, const Place& place) const;
  AttentionResult finish(const AttentionResult& heads, Weights weights) const;

  int64_t dim_;
  int64_t heads_;
  int64_t key_heads_;
  int64_t key_width_;  // Hkv K
  int64_t kdim_;
  int64_t vdim_;
  bool add_zero_attn_;
  Linear* qkv_ = nullptr;  // or q_, k_, v_
  Linear* q_ = nullptr;
  Linear* k_ = nullptr;
  Linear* v_ = nullptr;
  Variable bias_k_;
  Variable bias_v_;
  AttentionPositions* positions_ = nullptr;
  AttentionCore* core_;
  Linear* out_;
};

}  // namespace attune
