#include "examples/sentiment/model.h"

#include <string>

#include "autograd/ops/ops.h"
#include "datasets/vocabulary.h"
#include "framework/math/arithmetic.h"
#include "framework/math/reduce.h"
#include "layers/attention/registry.h"

namespace attune::examples {
namespace {

/// Makes what the heads of a block attend by; none: the fused product of multi-head attention itself.
AttentionFactory attention_of(const ModelConfig& config, int64_t max_length) {
  if (config.attention == ModelConfig().attention) return {};
  AttentionConfig attention = attention_config(config.attention);
  attention.sizes = {.query = config.dim / config.heads, .heads = config.heads};
  attention.dropout = config.dropout;
  attention.max_keys = max_length;
  return [attention] { return make_attention(attention); };
}

}  // namespace

NeighbourMixing::NeighbourMixing(int64_t dim, int64_t reach, double dropout)
    : reach_(reach),
      linear_(child<Linear>("linear", (2 * reach + 1) * dim, dim,
                            LinearOptions{.activation = Activation::kGelu, .dropout = dropout})) {}

Variable NeighbourMixing::operator()(const Variable& x) const {
  const int64_t batch = x.dim(0);
  const int64_t length = x.dim(1);
  const int64_t dim = x.dim(2);
  const Variable border(Tensor::zeros({batch, reach_, dim}, x.dtype(), x.device()));
  const Variable wide = concat({border, x, border}, 1);  // [B, T + 2 reach, D]
  constexpr int64_t kMost = 9;
  Variable shifted[kMost];
  const int64_t window = 2 * reach_ + 1;
  for (int64_t k = 0; k < window; ++k) shifted[k] = slice(wide, 1, k, k + length);
  return add(x, linear_(concat({shifted, static_cast<size_t>(window)}, 2)));
}

Classifier::Classifier(const ModelConfig& config, int64_t vocabulary, int64_t max_length)
    : embed_(child<Embedding>("embed", vocabulary, config.dim,
                              EmbeddingOptions{.padding_index = Vocabulary::kPad, .scale = true})),
      embed_dropout_(child<Dropout>("embed_dropout", config.embedding_dropout)),
      encoder_(child<TransformerEncoder>(
          "encoder", TransformerEncoderOptions{.blocks = config.blocks,
                                               .block = {.dim = config.dim,
                                                         .heads = config.heads,
                                                         .ffn_dim = config.ffn_dim,
                                                         .dropout = config.dropout,
                                                         .activation = Activation::kGelu,
                                                         .norm_first = config.norm_first,
                                                         .core = attention_of(config, max_length)}})),
      head_dropout_(child<Dropout>("head_dropout", config.head_dropout)),
      head_(child<Linear>("head", config.dim, kClasses)) {
  Tensor words = embed_.weight().value();
  words *= config.embedding_stddev;
  if (config.neighbours > 0) {
    neighbours_ = &child<NeighbourMixing>("neighbours", config.dim, config.neighbours, config.dropout);
  }
  if (config.positions == "learned") learned_ = &child<LearnedPositions>("positions", config.dim, max_length);
  if (config.positions == "sinusoidal") sinusoidal_ = &child<SinusoidalPositions>("positions", config.dim, max_length);
  if (config.pooling == "attention") {
    attention_pool_ = &child<AttentionPooling>("pool", config.dim, AttentionPoolingOptions{.heads = config.heads});
  } else if (config.pooling == "mean") {
    mean_pool_ = &child<MeanPooling>("pool");
  } else {
    first_pool_ = &child<FirstPooling>("pool");
  }
}

Variable Classifier::embedded(const Tensor& tokens) const {
  Variable x = embed_(tokens);
  if (neighbours_ != nullptr) x = (*neighbours_)(x);
  if (learned_ != nullptr) return (*learned_)(x);
  return sinusoidal_ != nullptr ? (*sinusoidal_)(x) : x;
}

Variable Classifier::pooled(const Variable& x, const Tensor& lengths, const AttentionMask& mask) const {
  if (attention_pool_ != nullptr) return (*attention_pool_)(x, mask).output;
  return mean_pool_ != nullptr ? (*mean_pool_)(x, lengths) : (*first_pool_)(x);
}

Variable Classifier::operator()(const Tensor& tokens, const Tensor& lengths) const {
  const AttentionMask mask = AttentionMask::padding(lengths);
  const Variable x = encoder_(embed_dropout_(embedded(tokens)), mask);  // [B, T, D]
  const Variable features = head_dropout_(pooled(x, lengths, mask));    // [B, D]
  return head_(cast(features, accumulation_dtype(features.dtype())));   // few products: bfloat16 is widened
}

SentimentModel::SentimentModel(const ModelConfig& config, int64_t vocabulary, int64_t max_length) {
  for (int64_t i = 0; i < config.members; ++i) {
    members_.push_back(&child<Classifier>("member" + std::to_string(i), config, vocabulary, max_length));
  }
  logits_.resize(members_.size());
}

Variable SentimentModel::operator()(const Tensor& tokens, const Tensor& lengths) {
  for (size_t i = 0; i < members_.size(); ++i) logits_[i] = (*members_[i])(tokens, lengths);
  Variable all = stack(logits_, 0);
  for (Variable& logits : logits_) logits = Variable();
  return all;
}

Tensor SentimentModel::probabilities(const Tensor& logits) {
  const Tensor z = logits.to(DType::kFloat64);
  return mean(sigmoid(z.select(2, 1) - z.select(2, 0)), {0});
}

}  // namespace attune::examples
