#pragma once

#include <cstdint>

#include "examples/captioning/picture_encoder.h"

namespace attune::examples::captioning {

/// Zeros in place of the states that another encoder makes of pictures, of the same shape, and nothing to learn: the
/// decoder that gets them is a language model of captions, the control that says what a model owes to its pictures.
class BlindEncoder : public PictureEncoder {
 public:
  /// size: height and width of the pictures; dim and grid are those of the encoder that it stands for. Throws
  /// ValueError for extents below 1.
  BlindEncoder(int64_t size, int64_t dim, RegionGrid grid);

  EncoderOutput operator()(const Tensor& pictures) override;
  int64_t dim() const override { return dim_; }
  RegionGrid grid() const override { return grid_; }

 private:
  int64_t size_;
  int64_t dim_;
  RegionGrid grid_;
};

}  // namespace attune::examples::captioning
