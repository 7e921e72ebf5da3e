#include "layers/transformer/encoder.h"

#include <algorithm>
#include <string>

#include "autograd/tape.h"
#include "framework/fail.h"
#include "layers/transformer/parts.h"

namespace attune {
namespace {

/// Attention of one layer over whole sequences.
struct WholeSequence {
  const AttentionMask& mask;

  Variable operator()(const MultiHeadAttention& attn, const Variable& x) const { return attn(x, mask).output; }
};

}  // namespace

TransformerEncoderLayer::TransformerEncoderLayer(const BlockOptions& options)
    : norm_first_(options.norm_first),
      dropout_(options.dropout),
      attn_(child<MultiHeadAttention>("attn", options.dim, options.heads, self_attention_options(options),
                                      made(options.core))),
      ffn_(child<FeedForward>("ffn", options.dim, options.ffn_dim, feed_forward_options(options))),
      norm1_(own("norm1", block_norm(options))),
      norm2_(own("norm2", block_norm(options))) {}

template <class Attend>
Variable TransformerEncoderLayer::post_norm(const Variable& x, const Attend& attend) const {
  const Variable y = add_norm({x, attend(attn_, x)}, norm1_, branch_dropout()).second;
  return add_norm({y, ffn_(y)}, norm2_, branch_dropout()).second;
}

template <class Attend>
ResidualStep TransformerEncoderLayer::pre_norm(const Variable& x, const Variable& normed, const Attend& attend) const {
  const auto [sum, normed2] = add_norm({x, attend(attn_, normed)}, norm2_, branch_dropout());
  return {sum, ffn_(normed2)};
}

template <class Attend>
Variable TransformerEncoderLayer::on_its_own(const Variable& x, const Attend& attend) const {
  return result(norm_first_ ? add_branch(pre_norm(x, norm1_(x), attend), branch_dropout()) : post_norm(x, attend));
}

Variable TransformerEncoderLayer::operator()(const Variable& x, const AttentionMask& mask) const {
  return on_its_own(x, WholeSequence{mask});
}

void TransformerEncoderCache::select(const Tensor& rows) {
  for (AttentionCache& block : blocks_) block.select(rows);
}

TransformerEncoder::TransformerEncoder(const TransformerEncoderOptions& options)
    : norm_first_(options.block.norm_first) {
  require<ValueError>(options.blocks > 0, "TransformerEncoder: {} blocks given, expected at least 1", options.blocks);
  for (int64_t i = 0; i < options.blocks; ++i) {
    blocks_.push_back(&child<TransformerEncoderLayer>("block" + std::to_string(i), options.block));
  }
  if (options.final_norm) norm_ = &own("norm", block_norm(options.block));
}

template <class Attends>
Variable TransformerEncoder::run(const Variable& x, const Attends& attends) const {
  const bool apart = std::ranges::any_of(blocks_, [](const Module* block) { return block->observed(); });
  if (!norm_first_ || apart) {
    Variable y = x;
    for (size_t i = 0; i < blocks_.size(); ++i) y = blocks_[i]->on_its_own(y, attends(i));
    return result(norm_ == nullptr ? y : (*norm_)(y));
  }
  return result(pre_norm_stack(
      x, blocks_.size(), blocks_.front()->branch_dropout(), norm_,
      [&](size_t i) -> const Norm& { return blocks_[i]->norm1_; },
      [&](size_t i, const Variable& y, const Variable& normed) {
        return blocks_[i]->pre_norm(y, normed, attends(i));
      }));
}

Variable TransformerEncoder::operator()(const Variable& x, const AttentionMask& mask) const {
  return run(x, [&](size_t) { return WholeSequence{mask}; });
}

TransformerEncoderCache TransformerEncoder::start(int64_t capacity) const {
  TransformerEncoderCache cache;
  for (size_t i = 0; i < blocks_.size(); ++i) cache.blocks_.emplace_back(capacity);
  return cache;
}

Variable TransformerEncoder::step(const Variable& x, TransformerEncoderCache& cache, const AttentionMask& mask) const {
  const NoGrad values_only;
  return run(x, [&](size_t i) {
    return [&mask, &seen = cache.blocks_[i]](const MultiHeadAttention& attn, const Variable& q) {
      return attn.step(q, seen, mask).output;
    };
  });
}

Variable TransformerEncoder::step(const Variable& x, TransformerEncoderCache& cache, const Tensor& positions,
                                  const AttentionMask& mask) const {
  const NoGrad values_only;
  return run(x, [&](size_t i) {
    return [&mask, &positions, &seen = cache.blocks_[i]](const MultiHeadAttention& attn, const Variable& q) {
      return attn.step(q, seen, positions, mask).output;
    };
  });
}

}  // namespace attune
