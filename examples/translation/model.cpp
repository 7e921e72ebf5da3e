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

BlockOptions block_options(const ModelConfig& config) {
  BlockOptions block{.dim = config.dim,
                     .heads = config.heads,
                     .ffn_dim = config.ffn_dim,
                     .dropout = config.dropout,
                     .attention_dropout = config.attention_dropout,
                     .hidden_dropout = config.hidden_dropout,
                     .activation = config.activation,
                     .norm_first = config.norm_first};
  if (config.positions == "rotary") block.positions = RotaryOptions{};
  return block;
}

TransformerTextEncoderOptions transformer_encoder(const ModelConfig& config, const Extents& extents) {
  return {.vocabulary = extents.source_vocabulary,
          .embedding = embedding_options(config, extents),
          .encoder = {.blocks = config.encoder_blocks, .block = block_options(config)}};
}

TransformerTextDecoderOptions transformer_decoder(const ModelConfig& config, const Extents& extents) {
  return {.vocabulary = extents.target_vocabulary,
          .embedding = embedding_options(config, extents),
          .decoder = {.blocks = config.decoder_blocks, .block = block_options(config)},
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
