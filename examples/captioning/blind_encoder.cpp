#include "examples/captioning/blind_encoder.h"

#include "examples/captioning/check_pictures.h"

namespace attune::examples::captioning {

BlindEncoder::BlindEncoder(int64_t size, int64_t dim, RegionGrid grid) : size_(size), dim_(dim), grid_(grid) {
  require<ValueError>(size > 0 && dim > 0 && grid.rows > 0 && grid.columns > 0,
                      "BlindEncoder: size {}, dim {} and {} x {} regions given, expected all of them above 0", size,
                      dim, grid.rows, grid.columns);
}

EncoderOutput BlindEncoder::operator()(const Tensor& pictures) {
  check_pictures(*this, "BlindEncoder", pictures, size_);
  const Shape shape{pictures.dim(0), grid_.count(), dim_};
  const Variable zeros(Tensor::zeros(shape, pictures.dtype(), pictures.device()));
  return {.states = in_precision(zeros), .lengths = {}};
}

}  // namespace attune::examples::captioning
