#pragma once

#include <cstdint>
#include <memory>

#include "examples/captioning/config.h"
#include "examples/captioning/picture_encoder.h"
#include "layers/seq2seq/recurrent_text.h"

namespace attune::examples::captioning {

/// What a configuration leaves open.
struct ModelExtents {
  int64_t image_size = 0;  ///< height and width of the pictures
  int64_t vocabulary = 0;  ///< tokens
  int64_t max_length = 0;  ///< of a caption in tokens, <bos> or <eos> included
};

/// Any encoder of pictures with any decoder of text. Children: encoder, decoder.
class CaptioningModel : public Module {
 public:
  CaptioningModel(std::unique_ptr<PictureEncoder> encoder, std::unique_ptr<TextDecoder> decoder);
  /// Those of a configuration. Throws ValueError for sizes that do not fit each other.
  CaptioningModel(const ModelConfig& config, const ModelExtents& extents);

  /// Teacher forcing: pictures float [P, H, W, 3], the row of each caption's picture int64 [B], tokens int64 [B, T],
  /// beginning with <bos> -> features [B, T, D], of which decoder().head() makes the logits of the tokens that follow
  /// each. A picture is read once for all of its captions.
  Variable operator()(const Tensor& pictures, const Tensor& picture_of, const Tensor& tokens);
  /// The same from what the encoder saw in each caption's picture, and what the attention did. Throws ValueError for a
  /// decoder that is not recurrent or has no attention.
  Variable teach(const EncoderOutput& source, const Tensor& tokens, TaughtAttention& taught);

  /// What encoder() makes of the pictures, which may be on any device.
  EncoderOutput read(const Tensor& pictures);

  PictureEncoder& encoder() { return encoder_; }
  TextDecoder& decoder() { return decoder_; }

 private:
  CaptioningModel(const ModelConfig& config, const ModelExtents& extents, std::unique_ptr<PictureEncoder> encoder);

  PictureEncoder& encoder_;
  TextDecoder& decoder_;
};

/// The states of each caption's picture: those of P pictures, and the row of each caption's picture, int64 [B].
EncoderOutput for_captions(EncoderOutput pictures, const Tensor& picture_of);

}  // namespace attune::examples::captioning
