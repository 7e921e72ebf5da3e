#include "examples/translation/model.h"

#include <optional>

#include "layers/seq2seq/recurrent_text.h"
#include "layers/seq2seq/transformer_text.h"

namespace attune::examples::translation {
namespace {

struct Extents {
  int64_t source_vocabulary;
  int64_t target_vocabulary;
  int64_t max_length;
};

TextEmbeddingOptions embedding_options(const ModelConfig& config, const Extents& extents) {
  return {.positions = config.positions == "sinusoidal" ? TextPositions::kSinusoidal
                       : config.positions == "learned"  ? TextPositions::kLearned
                                                        : TextPositions::kNone,
          .max_length = extents.max_length,
          .dropout = config.dropout};
}

/// What encoder and decoder have in common.
template <class Options>
Options stack_options(const ModelConfig& config, int64_t blocks) {
  Options options;
  options.dim = config.dim;
  options.heads = config.heads;
  options.blocks = blocks;
  options.ffn_dim = config.ffn_dim;
  options.dropout = config.dropout;
  options.attention_dropout = config.attention_dropout;
  options.hidden_dropout = config.hidden_dropout;
  options.activation = config.activation == "gelu" ? Activation::kGelu : Activation::kRelu;
  options.norm_first = config.norm_first;
  options.final_norm = config.norm_first;
  if (config.positions == "rotary") options.positions = RotaryOptions{};
  return options;
}

TransformerTextEncoderOptions transformer_encoder(const ModelConfig& config, const Extents& extents) {
  return {.vocabulary = extents.source_vocabulary,
          .embedding = embedding_options(config, extents),
          .encoder = stack_options<TransformerEncoderOptions>(config, config.encoder_blocks)};
}

TransformerTextDecoderOptions transformer_decoder(const ModelConfig& config, const Extents& extents) {
  return {.vocabulary = extents.target_vocabulary,
          .embedding = embedding_options(config, extents),
          .decoder = stack_options<TransformerDecoderOptions>(config, config.decoder_blocks),
          .share_head = config.sharing != "none"};
}

RecurrentCell cell_of(const ModelConfig& config) {
  return config.cell == "lstm" ? RecurrentCell::kLstm : RecurrentCell::kGru;
}

/// The states of both directions together are as wide as the decoder's, which some scores ask for.
RecurrentTextEncoderOptions recurrent_encoder(const ModelConfig& config, const Extents& extents) {
  return {.vocabulary = extents.source_vocabulary,
          .dim = config.dim,
          .hidden = config.hidden / 2,
          .cell = cell_of(config),
          .layers = config.layers,
          .dropout = config.dropout};
}

RecurrentTextDecoderOptions recurrent_decoder(const ModelConfig& config, const Extents& extents) {
  std::optional<AttentionConfig> attention;
  if (config.attention != "none") {
    attention = attention_config(config.attention);
    attention->window = config.window;
    attention->max_keys = extents.max_length;
  }
  return {.vocabulary = extents.target_vocabulary,
          .memory_dim = config.hidden,
          .dim = config.dim,
          .hidden = config.hidden,
          .cell = cell_of(config),
          .layers = config.layers,
          .form = config.form == "luong" ? RecurrentForm::kLuong : RecurrentForm::kBahdanau,
          .attention = attention,
          .dropout = config.dropout,
          .share_head = config.sharing != "none"};
}

}  // namespace

TranslationModel::TranslationModel(const ModelConfig& config, int64_t source_vocabulary, int64_t target_vocabulary,
                                   int64_t max_length) {
  const Extents extents{source_vocabulary, target_vocabulary, max_length};
  const auto table = [&](const auto& encoder) {
    return config.sharing == "all" ? encoder.embedding().table() : Variable();
  };
  if (config.kind == "transformer") {
    auto& encoder = child<TransformerTextEncoder>("encoder", transformer_encoder(config, extents));
    encoder_ = &encoder;
    decoder_ = &child<TransformerTextDecoder>("decoder", transformer_decoder(config, extents), table(encoder));
  } else {
    auto& encoder = child<RecurrentTextEncoder>("encoder", recurrent_encoder(config, extents));
    encoder_ = &encoder;
    decoder_ = &child<RecurrentTextDecoder>("decoder", recurrent_decoder(config, extents), table(encoder));
  }
}

Variable TranslationModel::operator()(const Tensor& source, const Tensor& lengths, const Tensor& target) {
  return (*decoder_)((*encoder_)(source, lengths), target);
}

}  // namespace attune::examples::translation
