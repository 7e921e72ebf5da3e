#pragma once

#include <cstdint>
#include <memory>

#include "layers/attention/core.h"
#include "layers/linear.h"

namespace attune {

struct MultiHeadAttentionOptions {
  int64_t kdim = 0;            ///< width of the keys; 0: dim
  int64_t vdim = 0;            ///< width of the values; 0: dim
  bool bias = true;            ///< of the projections
  bool add_bias_kv = false;    ///< a learned key with its value behind those of the sequence
  bool add_zero_attn = false;  ///< a key and a value of zeros behind all others
  double dropout = 0;          ///< of the weights, in training only
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
/// query [B, T, dim], key [B, S, kdim], value [B, S, vdim] -> output [B, T, dim]; weights [B, H, T, S], or [B, T, S]
/// averaged over the heads; the keys added by options stand behind the S others, and are always allowed. A query
/// without any key gets weights 0 and, since attention gives it 0, the output bo.
///
/// Parameters, when key and value are as wide as the query: qkv.weight [3 dim, dim] (rows of Wq, Wk, Wv), qkv.bias;
/// otherwise q.weight [dim, dim], k.weight [dim, kdim], v.weight [dim, vdim] and their biases. out.weight [dim, dim],
/// out.bias. With add_bias_kv: bias_k, bias_v [dim]. Weights begin by Glorot's uniform, biases at zero, bias_k and
/// bias_v by Glorot's normal.
class MultiHeadAttention : public Module {
 public:
  /// core: how the heads attend; scaled dot product with `dropout` when there is none. Throws ValueError when heads do
  /// not divide dim.
  MultiHeadAttention(int64_t dim, int64_t heads, MultiHeadAttentionOptions options = {},
                     std::unique_ptr<AttentionCore> core = nullptr);

  // All throw ShapeError naming the module and the argument.

  AttentionResult operator()(const Variable& x, const AttentionMask& mask = {}, Weights weights = Weights::kNone) const;
  AttentionResult operator()(const Variable& query, const Variable& memory, const AttentionMask& mask = {},
                             Weights weights = Weights::kNone) const;
  AttentionResult operator()(const Variable& query, const Variable& key, const Variable& value,
                             const AttentionMask& mask = {}, Weights weights = Weights::kNone) const;

  int64_t dim() const { return dim_; }
  int64_t heads() const { return heads_; }

 private:
  /// Heads side by side [B, N, width] -> [B, N, parts, H, K], without the axis of parts where there is one.
  Variable split(const Variable& x, int64_t parts) const;
  /// The product with rows begin ... end of the packed weight.
  Variable project(const Variable& x, int64_t begin, int64_t end) const;
  void check(const Variable& x, const char* name, int64_t width) const;
  bool adds_keys() const { return bias_k_.defined() || add_zero_attn_; }
  AttentionResult attend(const Variable& q, const Variable& k, const Variable& v, const AttentionMask& mask,
                         Weights weights) const;
  AttentionResult finish(const AttentionResult& heads, Weights weights) const;

  int64_t dim_;
  int64_t heads_;
  int64_t kdim_;
  int64_t vdim_;
  bool add_zero_attn_;
  Linear* qkv_ = nullptr;  // or q_, k_, v_
  Linear* q_ = nullptr;
  Linear* k_ = nullptr;
  Linear* v_ = nullptr;
  Variable bias_k_;
  Variable bias_v_;
  AttentionCore* core_;
  Linear* out_;
};

}  // namespace attune
