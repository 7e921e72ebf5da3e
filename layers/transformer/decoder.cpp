#include "layers/transformer/decoder.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "layers/transformer/parts.h"

namespace attune {
namespace {

/// Attention of one layer over whole sequences.
struct Whole {
  const Variable& memory;
  const AttentionMask& mask;
  const AttentionMask& memory_mask;

  Variable self(const MultiHeadAttention& attn, const Variable& x) const { return attn(x, mask).output; }
  Variable cross(const MultiHeadAttention& attn, const Variable& x) const {
    return attn(x, memory, memory_mask).output;
  }
};

/// Attention of one layer over the next positions.
struct Next {
  AttentionCache& seen;
  const Tensor* positions;  // of each sample, or null
  const AttentionCache& memory;
  const AttentionMask& mask;
  const AttentionMask& memory_mask;
  std::vector<Variable>* weights;  // of every block over the memory, or null

  Variable self(const MultiHeadAttention& attn, const Variable& x) const {
    return (positions == nullptr ? attn.step(x, seen, mask) : attn.step(x, seen, *positions, mask)).output;
  }
  Variable cross(const MultiHeadAttention& attn, const Variable& x) const {
    AttentionResult result =
        attn.recall(x, memory, memory_mask, weights == nullptr ? Weights::kNone : Weights::kAveraged);
    if (weights != nullptr) weights->push_back(std::move(result.weights));
    return std::move(result.output);
  }
};

MultiHeadAttentionOptions memory_attention_options(const BlockOptions& block, const MemoryOptions& memory) {
  MultiHeadAttentionOptions options = attention_options(block, memory.core);
  options.kdim = options.vdim = memory.dim;
  return options;
}

}  // namespace

TransformerDecoderLayer::TransformerDecoderLayer(const BlockOptions& options, const MemoryOptions& memory)
    : norm_first_(options.norm_first),
      dropout_(options.dropout),
      attn_(child<MultiHeadAttention>("attn", options.dim, options.heads, self_attention_options(options),
                                      made(options.core))),
      cross_(child<MultiHeadAttention>("cross", options.dim, options.heads, memory_attention_options(options, memory),
                                       made(memory.core))),
      ffn_(child<FeedForward>("ffn", options.dim, options.ffn_dim, feed_forward_options(options))),
      norm1_(own("norm1", block_norm(options))),
      norm2_(own("norm2", block_norm(options))),
      norm3_(own("norm3", block_norm(options))) {}

template <class Attend>
Variable TransformerDecoderLayer::post_norm(const Variable& x, const Attend& attend) const {
  const Variable y = add_norm({x, attend.self(attn_, x)}, norm1_, branch_dropout()).second;
  const Variable z = add_norm({y, attend.cross(cross_, y)}, norm2_, branch_dropout()).second;
  return add_norm({z, ffn_(z)}, norm3_, branch_dropout()).second;
}

template <class Attend>
ResidualStep TransformerDecoderLayer::pre_norm(const Variable& x, const Variable& normed, const Attend& attend) const {
  const auto [y, normed2] = add_norm({x, attend.self(attn_, normed)}, norm2_, branch_dropout());
  const auto [z, normed3] = add_norm({y, attend.cross(cross_, normed2)}, norm3_, branch_dropout());
  return {z, ffn_(normed3)};
}

template <class Attend>
Variable TransformerDecoderLayer::on_its_own(const Variable& x, const Attend& attend) const {
  return result(norm_first_ ? add_branch(pre_norm(x, norm1_(x), attend), branch_dropout()) : post_norm(x, attend));
}

Variable TransformerDecoderLayer::operator()(const Variable& x, const Variable& memory, const AttentionMask& mask,
                                             const AttentionMask& memory_mask) const {
  return on_its_own(x, Whole{memory, mask, memory_mask});
}

void TransformerDecoderCache::select(const Tensor& rows) {
  require<ShapeError>(rows.rank() == 1, "TransformerDecoderCache: rows are {}, expected [n]", rows.shape());
  const Tensor chosen = check_indices("TransformerDecoderCache", "row", rows, batch());
  const std::span row(chosen.data<int64_t>(), static_cast<size_t>(chosen.numel()));
  for (Layer& layer : layers_) {
    if (layer.self.batch() > 0) layer.self.select(chosen);
  }
  std::vector<int64_t> memories;
  for (int64_t i : row) memories.push_back(memories_[static_cast<size_t>(i)]);
  if (memories == memories_) return;
  memories_ = std::move(memories);
  for (Layer& layer : layers_) layer.memory.select(chosen);
  if (memory_lengths_.defined()) {
    std::vector<int64_t> lengths;
    for (int64_t i : row) lengths.push_back(std::as_const(memory_lengths_).data<int64_t>()[i]);
    memory_lengths_ = Tensor::from(lengths, {chosen.numel()});
  }
}

TransformerDecoder::TransformerDecoder(const TransformerDecoderOptions& options)
    : norm_first_(options.block.norm_first) {
  require<ValueError>(options.blocks > 0, "TransformerDecoder: {} blocks given, expected at least 1", options.blocks);
  for (int64_t i = 0; i < options.blocks; ++i) {
    blocks_.push_back(&child<TransformerDecoderLayer>("block" + std::to_string(i), options.block, options.memory));
  }
  if (options.final_norm) norm_ = &own("norm", block_norm(options.block));
}

template <class Attends>
Variable TransformerDecoder::run(const Variable& x, const Attends& attends) const {
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

Variable TransformerDecoder::operator()(const Variable& x, const Variable& memory, const AttentionMask& mask,
                                        const AttentionMask& memory_mask) const {
  return run(x, [&](size_t) { return Whole{memory, mask, memory_mask}; });
}

TransformerDecoderCache TransformerDecoder::start(const Variable& memory, const Tensor& memory_lengths,
                                                  int64_t capacity) const {
  TransformerDecoderCache cache;
  for (const TransformerDecoderLayer* block : blocks_) {
    cache.layers_.push_back({AttentionCache(capacity), block->cross_.remember(memory)});
  }
  for (int64_t b = 0; b < memory.dim(0); ++b) cache.memories_.push_back(b);
  if (memory_lengths.defined()) {
    // The lengths are checked here and not at the first step.
    AttentionMask::padding(memory_lengths).lower(memory.dim(0), 1, 1, memory.dim(1), this);
    cache.memory_lengths_ = memory_lengths.to(Device::cpu()).contiguous();
  }
  return cache;
}

Variable TransformerDecoder::step(const Variable& x, TransformerDecoderCache& cache, const AttentionMask& mask,
                                  Tensor* memory_weights) const {
  return step_at(x, cache, nullptr, mask, memory_weights);
}

Variable TransformerDecoder::step(const Variable& x, TransformerDecoderCache& cache, const Tensor& positions,
                                  const AttentionMask& mask, Tensor* memory_weights) const {
  return step_at(x, cache, &positions, mask, memory_weights);
}

Variable TransformerDecoder::step_at(const Variable& x, TransformerDecoderCache& cache, const Tensor* positions,
                                     const AttentionMask& mask, Tensor* memory_weights) const {
  const NoGrad values_only;
  const Tensor& lengths = cache.memory_lengths_;
  const AttentionMask memory_mask = lengths.defined() ? AttentionMask::padding(lengths) : AttentionMask();
  std::vector<Variable> weights;
  std::vector<Variable>* wanted = memory_weights == nullptr ? nullptr : &weights;
  Variable y = run(x, [&](size_t i) {
    return Next{cache.layers_[i].self, positions, cache.layers_[i].memory, mask, memory_mask, wanted};
  });
  if (memory_weights != nullptr) *memory_weights = mean(stack(weights, 0), {0}).value();
  return y;
}

}  // namespace attune
