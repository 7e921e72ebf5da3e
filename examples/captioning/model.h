#pragma once

#include <memory>

#include "examples/captioning/picture_encoder.h"

namespace attune::examples::captioning {

/// Any encoder of pictures with any decoder of text. Children: encoder, decoder.
class CaptioningModel : public Module {
 public:
  CaptioningModel(std::unique_ptr<PictureEncoder> encoder, std::unique_ptr<TextDecoder> decoder)
      : encoder_(own("encoder", std::move(encoder))), decoder_(own("decoder", std::move(decoder))) {}

  /// Teacher forcing: pictures float [P, H, W, 3], the row of each caption's picture int64 [B], tokens int64 [B, T],
  /// beginning with <bos> -> features [B, T, D], of which decoder().head() makes the logits of the tokens that follow
  /// each. A picture is read once for all of its captions.
  Variable operator()(const Tensor& pictures, const Tensor& picture_of, const Tensor& tokens);

  PictureEncoder& encoder() { return encoder_; }
  TextDecoder& decoder() { return decoder_; }

 private:
  PictureEncoder& encoder_;
  TextDecoder& decoder_;
};

}  // namespace attune::examples::captioning
