#include "layers/attention/multi_head.h"

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/fail.h"
#include "layers/attention/scaled_dot_product.h"
#include "layers/init.h"

namespace attune {

MultiHeadAttention::MultiHeadAttention(int64_t dim, int64_t heads, MultiHeadAttentionOptions options,
                                       std::unique_ptr<AttentionCore> core)
    : dim_(dim),
      heads_(heads),
      key_heads_(options.key_heads == 0 ? heads : options.key_heads),
      kdim_(options.kdim == 0 ? dim : options.kdim),
      vdim_(options.vdim == 0 ? dim : options.vdim),
      add_zero_attn_(options.add_zero_attn) {
  require<ValueError>(dim > 0 && heads > 0 && dim % heads == 0,
                      "MultiHeadAttention: dim {} and {} heads given, expected heads that divide dim", dim, heads);
  require<ValueError>(key_heads_ > 0 && heads % key_heads_ == 0,
                      "MultiHeadAttention: {} heads and {} key heads given, expected key heads that divide the heads",
                      heads, key_heads_);
  key_width_ = key_heads_ * (dim / heads);
  const LinearOptions plain{.bias = options.bias};
  if (kdim_ == dim && vdim_ == dim) {
    qkv_ = &child<Linear>("qkv", dim, dim + 2 * key_width_, plain);
  } else {
    q_ = &child<Linear>("q", dim, dim, plain);
    k_ = &child<Linear>("k", kdim_, key_width_, plain);
    v_ = &child<Linear>("v", vdim_, key_width_, plain);
  }
  if (options.add_bias_kv) {
    bias_k_ = parameter("bias_k", init::xavier_normal({key_width_}));
    bias_v_ = parameter("bias_v", init::xavier_normal({key_width_}));
  }
  if (auto positions = make_positions(options.positions, heads, dim / heads)) {
    positions_ = &own("positions", std::move(positions));
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
  if (key_heads_ != heads_ || positions_ != nullptr || adds_keys())
    return attend(project_self(x, {}), mask, weights, {});
  check(x, "x", dim_);
  const Variable qkv = reshape((*qkv_)(x), {x.dim(0), x.dim(1), 3, heads_, dim_ / heads_});
  return finish(core_->packed(qkv, mask, weights != Weights::kNone), weights);
}

AttentionResult MultiHeadAttention::operator()(const Variable& query, const Variable& memory, const AttentionMask& mask,
                                               Weights weights) const {
  if (qkv_ == nullptr) return (*this)(query, memory, memory, mask, weights);
  const Variable q = project_query(query);
  if (positions_ != nullptr || adds_keys()) {
    const auto projected = project_memory(memory);
    return attend({turned(q, {}), projected.first, projected.second}, mask, weights, {});
  }
  check(memory, "memory", dim_);
  const Variable kv = reshape(project(memory, dim_, dim_ + 2 * key_width_),
                              {memory.dim(0), memory.dim(1), 2, key_heads_, dim_ / heads_});
  return finish(core_->packed_kv(q, kv, mask, weights != Weights::kNone), weights);
}

AttentionResult MultiHeadAttention::operator()(const Variable& query, const Variable& key, const Variable& value,
                                               const AttentionMask& mask, Weights weights) const {
  check(key, "key", kdim_);
  check(value, "value", vdim_);
  const Variable q = turned(project_query(query), {});
  if (qkv_ == nullptr) return attend({q, turned(split((*k_)(key)), {}), split((*v_)(value))}, mask, weights, {});
  const int64_t keys_end = dim_ + key_width_;
  return attend(
      {q, turned(split(project(key, dim_, keys_end)), {}), split(project(value, keys_end, keys_end + key_width_))},
      mask, weights, {});
}

AttentionResult MultiHeadAttention::step(const Variable& x, AttentionCache& cache, const AttentionMask& mask,
                                         Weights weights) const {
  const NoGrad values_only;
  const int64_t offset = cache.length();
  const Place place{.offset = offset};
  Heads heads = project_self(x, place);
  const AttentionMask whole = mask & AttentionMask::causal(offset);
  whole.lower(x.dim(0), heads_, x.dim(1), offset + x.dim(1), this);  // before anything is appended
  cache.append(heads.k.value(), heads.v.value());
  heads.k = Variable(cache.keys());
  heads.v = Variable(cache.values());
  return attend(heads, whole, weights, place);
}

AttentionResult MultiHeadAttention::step(const Variable& x, AttentionCache& cache, const Tensor& positions,
                                         const AttentionMask& mask, Weights weights) const {
  const NoGrad values_only;
  check(x, "x", dim_);
  if (positions.shape() != Shape{x.dim(0)}) [[unlikely]] {
    fail<ShapeError>("{}: positions are {}, expected [{}] as x has samples", who("MultiHeadAttention"),
                     positions.shape(), x.dim(0));
  }
  const int64_t keys = cache.length_with(positions, x.dim(1));
  const Place place{.offsets = positions};
  Heads heads = project_self(x, place);
  const AttentionMask whole = mask & AttentionMask::causal(positions);
  whole.lower(x.dim(0), heads_, x.dim(1), keys, this);  // before anything is written
  cache.write(heads.k.value(), heads.v.value(), positions);
  heads.k = Variable(cache.keys());
  heads.v = Variable(cache.values());
  return attend(heads, whole, weights, place);
}

AttentionCache MultiHeadAttention::remember(const Variable& memory) const {
  const NoGrad values_only;
  const auto [k, v] = project_memory(memory);
  AttentionCache cache(memory.dim(1));
  cache.append(k.value(), v.value());
  return cache;
}

AttentionResult MultiHeadAttention::recall(const Variable& query, const AttentionCache& memory,
                                           const AttentionMask& mask, Weights weights) const {
  if (memory.batch() != query.dim(0)) [[unlikely]] {
    fail<ShapeError>("{}: query is {}, the memory holds {} samples; expected as many", who("MultiHeadAttention"),
                     query.shape(), memory.batch());
  }
  const NoGrad values_only;
  return attend({turned(project_query(query), {}), Variable(memory.keys()), Variable(memory.values())}, mask, weights,
                {});
}

Variable MultiHeadAttention::split(const Variable& x) const {
  const int64_t width = dim_ / heads_;
  return reshape(x, {x.dim(0), x.dim(1), x.dim(2) / width, width});
}

Variable MultiHeadAttention::project(const Variable& x, int64_t begin, int64_t end) const {
  const Variable& bias = qkv_->bias();
  return linear(x, slice(qkv_->weight(), 0, begin, end), bias.defined() ? slice(bias, 0, begin, end) : bias);
}

Variable MultiHeadAttention::project_query(const Variable& query) const {
  check(query, "query", dim_);
  return split(qkv_ == nullptr ? (*q_)(query) : project(query, 0, dim_));
}

MultiHeadAttention::Heads MultiHeadAttention::project_self(const Variable& x, const Place& place) const {
  check(x, "x", dim_);
  Heads heads;
  if (qkv_ == nullptr) {
    check(x, "key", kdim_);
    check(x, "value", vdim_);
    heads = {split((*q_)(x)), split((*k_)(x)), split((*v_)(x))};
  } else {
    const Variable qkv = (*qkv_)(x);  // [B, T, (H + 2 Hkv) K]
    const int64_t keys_end = dim_ + key_width_;
    heads = {split(slice(qkv, 2, 0, dim_)), split(slice(qkv, 2, dim_, keys_end)),
             split(slice(qkv, 2, keys_end, keys_end + key_width_))};
  }
  heads.q = turned(heads.q, place);
  heads.k = turned(heads.k, place);
  return heads;
}

std::pair<Variable, Variable> MultiHeadAttention::project_memory(const Variable& memory) const {
  check(memory, "memory", kdim_);
  if (qkv_ == nullptr) {
    check(memory, "memory", vdim_);
    return {turned(split((*k_)(memory)), {}), split((*v_)(memory))};
  }
  const Variable kv = project(memory, dim_, dim_ + 2 * key_width_);  // [B, S, 2 Hkv K]
  return {turned(split(slice(kv, 2, 0, key_width_)), {}), split(slice(kv, 2, key_width_, 2 * key_width_))};
}

Variable MultiHeadAttention::turned(const Variable& x, const Place& place) const {
  if (positions_ == nullptr) return x;
  if (!place.offsets.defined()) return positions_->turn(x, place.offset);
  return positions_->turn(x, positions_from(place.offsets, x.dim(1)));
}

void MultiHeadAttention::check(const Variable& x, const char* name, int64_t width) const {
  if (x.rank() != 3 || x.dim(2) != width) [[unlikely]] {
    fail<ShapeError>("{}: {} is {}, expected [B, {}, {}]", who("MultiHeadAttention"), name, x.shape(),
                     name[0] == 'x' || name[0] == 'q' ? "T" : "S", width);
  }
}

AttentionResult MultiHeadAttention::attend(const Heads& heads, const AttentionMask& mask, Weights weights,
                                           const Place& place) const {
  const bool want = weights != Weights::kNone;
  const auto& [q, k, v] = heads;
  AttentionMask whole = mask;
  if (positions_ != nullptr) {
    const int64_t queries = q.dim(1), keys = k.dim(1);
    const Variable scores = place.offsets.defined() ? positions_->scores(queries, keys, place.offsets)
                                                    : positions_->scores(queries, keys, place.offset);
    if (scores.defined()) whole = mask & AttentionMask::bias(scores);
  }
  if (!adds_keys()) return finish((*core_)(q, k, v, whole, want), weights);
  const int64_t batch = q.dim(0);
  const int64_t width = dim_ / heads_;
  const Shape one{batch, 1, key_heads_, width};
  Variable keys = k;
  Variable values = v;
  if (bias_k_.defined()) {
    keys = concat({keys, expand(reshape(parameter_for(k, bias_k_), {1, 1, key_heads_, width}), one)}, 1);
    values = concat({values, expand(reshape(parameter_for(v, bias_v_), {1, 1, key_heads_, width}), one)}, 1);
  }
  if (add_zero_attn_) {
    const Variable zeros(Tensor::zeros(one, q.dtype(), q.device()));
    keys = concat({keys, zeros}, 1);
    values = concat({values, zeros}, 1);
  }
  whole = whole.with_extra_keys(keys.dim(1) - k.dim(1), batch, heads_, q.dim(1), k.dim(1), this);
  return finish((*core_)(q, keys, values, whole, want), weights);
}

AttentionResult MultiHeadAttention::finish(const AttentionResult& heads, Weights weights) const {
  const Variable& y = heads.output;
  AttentionResult all;
  all.output = result((*out_)(reshape(y, {y.dim(0), y.dim(1), y.dim(2) * y.dim(3)})));
  if (weights == Weights::kPerHead) all.weights = heads.weights;
  if (weights == Weights::kAveraged) all.weights = mean(heads.weights, {1});
  return all;
}

}  // namespace attune
