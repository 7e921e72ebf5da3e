#pragma once

#include <cstdint>

#include "layers/seq2seq/text_decoder.h"

namespace attune::examples::captioning {

/// Regions of a picture that a decoder can look at; region r columns + c lies in row r, column c.
struct RegionGrid {
  int64_t rows = 0;
  int64_t columns = 0;

  int64_t count() const { return rows * columns; }
};

/// Reads pictures for a TextDecoder.
class PictureEncoder : public Module {
 public:
  /// pictures float [B, height, width, 3] -> states [B, S, dim()], one for each of the S regions of grid(), row by row.
  /// Throws ShapeError naming the module for pictures of another size.
  virtual EncoderOutput operator()(const Tensor& pictures) = 0;
  /// M: width of the states.
  virtual int64_t dim() const = 0;
  virtual RegionGrid grid() const = 0;
};

}  // namespace attune::examples::captioning
