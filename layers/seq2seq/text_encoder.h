#pragma once

#include <cstdint>

#include "layers/seq2seq/text_decoder.h"

namespace attune {

/// Reads sentences for a TextDecoder.
class TextEncoder : public Module {
 public:
  /// tokens int64 [B, S], lengths int64 [B] -> states [B, S, dim()].
  virtual EncoderOutput operator()(const Tensor& tokens, const Tensor& lengths) = 0;
  /// M: width of the states.
  virtual int64_t dim() const = 0;
};

}  // namespace attune
