#include "layers/attention/multi_head.h"

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/attention/scaled_dot_product.h"
#include "layers/init.h"

namespace attune {

MultiHeadAttention::MultiHeadAttention(int64_t dim, int64_t heads, MultiHeadAttentionOptions options,
                                       std::unique_ptr<AttentionCore> core)
    : dim_(dim),
      heads_(heads),
      kdim_(options.kdim == 0 ? dim : options.kdim),
      vdim_(options.vdim == 0 ? dim : options.vdim),
      add_zero_attn_(options.add_zero_attn) {
  require<ValueError>(dim > 0 && heads > 0 && dim % heads == 0,
                      "MultiHeadAttention: dim {} and {} heads given, expected heads that divide dim", dim, heads);
  const LinearOptions plain{.bias = options.bias};
  if (kdim_ == dim && vdim_ == dim) {
    qkv_ = &child<Linear>("qkv", dim, 3 * dim, plain);
  } else {
    q_ = &child<Linear>("q", dim, dim, plain);
    k_ = &child<Linear>("k", kdim_, dim, plain);
    v_ = &child<Linear>("v", vdim_, dim, plain);
  }
  if (options.add_bias_kv) {
    bias_k_ = parameter("bias_k", init::xavier_normal({dim}));
    bias_v_ = parameter("bias_v", init::xavier_normal({dim}));
  }
  if (core == nullptr) {
    core = std::make_unique<ScaledDotProduct>(ScaledDotProductOptions{.dropout = options.dropout});
  } else {
    require<ValueError>(options.dropout == 0,
                        "MultiHeadAttention: dropout {} given beside a core, which has its own; give it there",
                        options.dropout);
  }
  core_ = &own("core", std::move(core));
  out_ = &child<Linear>("out", dim, dim, plain);
}

AttentionResult MultiHeadAttention::operator()(const Variable& x, const AttentionMask& mask, Weights weights) const {
  if (qkv_ == nullptr) return (*this)(x, x, x, mask, weights);
  check(x, "x", dim_);
  const Variable qkv = split((*qkv_)(x), 3);
  if (adds_keys()) return attend(select(qkv, 2, 0), select(qkv, 2, 1), select(qkv, 2, 2), mask, weights);
  return finish(core_->packed(qkv, mask, weights != Weights::kNone), weights);
}

AttentionResult MultiHeadAttention::operator()(const Variable& query, const Variable& memory, const AttentionMask& mask,
                                               Weights weights) const {
  if (qkv_ == nullptr) return (*this)(query, memory, memory, mask, weights);
  check(query, "query", dim_);
  check(memory, "memory", dim_);
  const Variable q = split(project(query, 0, dim_), 1);
  const Variable kv = split(project(memory, dim_, 3 * dim_), 2);
  if (adds_keys()) return attend(q, select(kv, 2, 0), select(kv, 2, 1), mask, weights);
  return finish(core_->packed_kv(q, kv, mask, weights != Weights::kNone), weights);
}

AttentionResult MultiHeadAttention::operator()(const Variable& query, const Variable& key, const Variable& value,
                                               const AttentionMask& mask, Weights weights) const {
  check(query, "query", dim_);
  check(key, "key", kdim_);
  check(value, "value", vdim_);
  if (qkv_ == nullptr) {
    return attend(split((*q_)(query), 1), split((*k_)(key), 1), split((*v_)(value), 1), mask, weights);
  }
  return attend(split(project(query, 0, dim_), 1), split(project(key, dim_, 2 * dim_), 1),
                split(project(value, 2 * dim_, 3 * dim_), 1), mask, weights);
}

Variable MultiHeadAttention::split(const Variable& x, int64_t parts) const {
  const int64_t width = dim_ / heads_;
  if (parts == 1) return reshape(x, {x.dim(0), x.dim(1), heads_, width});
  return reshape(x, {x.dim(0), x.dim(1), parts, heads_, width});
}

Variable MultiHeadAttention::project(const Variable& x, int64_t begin, int64_t end) const {
  const Variable& bias = qkv_->bias();
  return linear(x, slice(qkv_->weight(), 0, begin, end), bias.defined() ? slice(bias, 0, begin, end) : bias);
}

void MultiHeadAttention::check(const Variable& x, const char* name, int64_t width) const {
  if (x.rank() != 3 || x.dim(2) != width) [[unlikely]] {
    fail<ShapeError>("{}: {} is {}, expected [B, {}, {}]", who("MultiHeadAttention"), name, x.shape(),
                     name[0] == 'x' || name[0] == 'q' ? "T" : "S", width);
  }
}

AttentionResult MultiHeadAttention::attend(const Variable& q, const Variable& k, const Variable& v,
                                           const AttentionMask& mask, Weights weights) const {
  const bool want = weights != Weights::kNone;
  if (!adds_keys()) return finish((*core_)(q, k, v, mask, want), weights);
  const int64_t batch = q.dim(0);
  const int64_t width = dim_ / heads_;
  const Shape one{batch, 1, heads_, width};
  Variable keys = k;
  Variable values = v;
  if (bias_k_.defined()) {
    keys = concat({keys, expand(reshape(bias_k_, {1, 1, heads_, width}), one)}, 1);
    values = concat({values, expand(reshape(bias_v_, {1, 1, heads_, width}), one)}, 1);
  }
  if (add_zero_attn_) {
    const Variable zeros(Tensor::zeros(one, q.dtype(), q.device()));
    keys = concat({keys, zeros}, 1);
    values = concat({values, zeros}, 1);
  }
  const AttentionMask wider = mask.with_extra_keys(keys.dim(1) - k.dim(1), batch, heads_, q.dim(1), k.dim(1), this);
  return finish((*core_)(q, keys, values, wider, want), weights);
}

AttentionResult MultiHeadAttention::finish(const AttentionResult& heads, Weights weights) const {
  const Variable& y = heads.output;
  AttentionResult result;
  result.output = (*out_)(reshape(y, {y.dim(0), y.dim(1), y.dim(2) * y.dim(3)}));
  if (weights == Weights::kPerHead) result.weights = heads.weights;
  if (weights == Weights::kAveraged) result.weights = mean(heads.weights, {1});
  return result;
}

}  // namespace attune
