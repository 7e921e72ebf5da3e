#include "examples/captioning/model.h"

#include <optional>
#include <utility>

#include "autograd/ops/ops.h"
#include "examples/captioning/blind_encoder.h"
#include "examples/captioning/conv_encoder.h"
#include "examples/captioning/patch_encoder.h"
#include "framework/fail.h"
#include "layers/seq2seq/transformer_text.h"

namespace attune::examples::captioning {
namespace {

ConvEncoderOptions conv_options(const ModelConfig& config, int64_t size) {
  ConvEncoderOptions options{.size = size,
                             .stem = config.stem,
                             .stages = {},
                             .blocks = config.stage_blocks,
                             .dropout = config.encoder_dropout};
  for (int64_t i = 0; i < config.stages; ++i) options.stages.push_back(config.channels << i);
  return options;
}

PatchEncoderOptions patch_options(const ModelConfig& config, int64_t size) {
  return {.size = size,
          .patch = config.patch,
          .stem = config.patch_stem == "linear" ? PatchStem::kLinear : PatchStem::kConvolutions,
          .dropout = config.encoder_dropout,
          .encoder = {.blocks = config.encoder_blocks,
                      .block = {.dim = config.dim,
                                .heads = config.heads,
                                .ffn_dim = config.ffn_dim,
                                .dropout = config.encoder_dropout,
                                .activation = Activation::kGelu,
                                .norm_first = true}}};
}

std::unique_ptr<PictureEncoder> seeing_encoder(const ModelConfig& config, int64_t size) {
  if (config.encoder == "conv") return std::make_unique<ConvEncoder>(conv_options(config, size));
  return std::make_unique<PatchEncoder>(patch_options(config, size));
}

std::unique_ptr<PictureEncoder> make_encoder(const ModelConfig& config, int64_t size) {
  std::unique_ptr<PictureEncoder> encoder = seeing_encoder(config, size);
  if (!config.blind) return encoder;
  return std::make_unique<BlindEncoder>(size, encoder->dim(), encoder->grid());
}

TransformerTextDecoderOptions transformer_options(const ModelConfig& config, const ModelExtents& extents,
                                                  const PictureEncoder& encoder) {
  return {.vocabulary = extents.vocabulary,
          .embedding = {.max_length = extents.max_length, .dropout = config.dropout},
          .decoder = {.blocks = config.decoder_blocks,
                      .block = {.dim = config.dim,
                                .heads = config.heads,
                                .ffn_dim = config.ffn_dim,
                                .dropout = config.dropout,
                                .activation = Activation::kGelu,
                                .norm_first = true},
                      .memory = {.dim = encoder.dim()}},
          .share_head = config.share_head};
}

RecurrentTextDecoderOptions recurrent_options(const ModelConfig& config, const ModelExtents& extents,
                                              const PictureEncoder& encoder) {
  std::optional<AttentionConfig> attention;
  if (config.attention != "none") {
    attention = attention_config(config.attention);
    attention->sizes.hidden = config.attention_hidden;
    attention->max_keys = encoder.grid().count();
  }
  return {.vocabulary = extents.vocabulary,
          .memory_dim = encoder.dim(),
          .dim = config.dim,
          .hidden = config.hidden,
          .cell = config.cell == "lstm" ? RecurrentCell::kLstm : RecurrentCell::kGru,
          .attention = attention,
          .dropout = config.dropout,
          .share_head = config.share_head};
}

std::unique_ptr<TextDecoder> make_decoder(const ModelConfig& config, const ModelExtents& extents,
                                          const PictureEncoder& encoder) {
  if (config.decoder == "transformer") {
    return std::make_unique<TransformerTextDecoder>(transformer_options(config, extents, encoder));
  }
  return std::make_unique<RecurrentTextDecoder>(recurrent_options(config, extents, encoder));
}

}  // namespace

CaptioningModel::CaptioningModel(std::unique_ptr<PictureEncoder> encoder, std::unique_ptr<TextDecoder> decoder)
    : encoder_(own("encoder", std::move(encoder))), decoder_(own("decoder", std::move(decoder))) {}

CaptioningModel::CaptioningModel(const ModelConfig& config, const ModelExtents& extents)
    : CaptioningModel(config, extents, make_encoder(config, extents.image_size)) {}

CaptioningModel::CaptioningModel(const ModelConfig& config, const ModelExtents& extents,
                                 std::unique_ptr<PictureEncoder> encoder)
    : encoder_(own("encoder", std::move(encoder))), decoder_(own("decoder", make_decoder(config, extents, encoder_))) {}

EncoderOutput CaptioningModel::read(const Tensor& pictures) {
  // A blind encoder has no parameters that would know the device.
  return encoder_(pictures.to(decoder_.head().weight().device()));
}

EncoderOutput for_captions(EncoderOutput pictures, const Tensor& picture_of) {
  // As many captions as pictures: caption b is about picture b (see CaptionBatch).
  if (picture_of.numel() != pictures.states.dim(0)) pictures.states = index_select(pictures.states, 0, picture_of);
  return pictures;
}

Variable CaptioningModel::operator()(const Tensor& pictures, const Tensor& picture_of, const Tensor& tokens) {
  return decoder_(for_captions(read(pictures), picture_of), tokens);
}

Variable CaptioningModel::teach(const EncoderOutput& source, const Tensor& tokens, TaughtAttention& taught) {
  auto* decoder = dynamic_cast<RecurrentTextDecoder*>(&decoder_);
  require<ValueError>(decoder != nullptr, "{}: teach() asks what the attention of a decoder did that is not recurrent",
                      decoder_.who("decoder"));
  return decoder->teach(source, tokens, taught);
}

}  // namespace attune::examples::captioning
