#include "examples/captioning/patch_encoder.h"

#include <bit>
#include <string>

#include "autograd/ops/ops.h"
#include "examples/captioning/check_pictures.h"

namespace attune::examples::captioning {

PatchEncoder::PatchEncoder(const PatchEncoderOptions& options) : size_(options.size), dim_(options.encoder.block.dim) {
  require<ValueError>(options.patch > 0 && size_ > 0 && size_ % options.patch == 0,
                      "PatchEncoder: pictures of {} x {} and patches of {} given, expected a multiple", size_, size_,
                      options.patch);
  side_ = size_ / options.patch;
  if (options.stem == PatchStem::kLinear) {
    patches_ = &child<Conv2d>("patches", 3, dim_, options.patch, Conv2dOptions{.stride = options.patch});
  } else {
    const auto patch = static_cast<uint64_t>(options.patch);
    const int count = std::countr_zero(patch);
    require<ValueError>(std::has_single_bit(patch) && count > 0 && (dim_ >> (count - 1)) << (count - 1) == dim_,
                        "PatchEncoder: patches of {} and a width of {} given, expected a power of 2 from 2 on and a "
                        "width that can be halved as often",
                        options.patch, dim_);
    int64_t channels = 3;
    for (int i = 0; i < count; ++i) {
      const int64_t out = dim_ >> (count - 1 - i);
      const std::string number = std::to_string(i);
      halvings_.push_back(
          {&child<Conv2d>("conv" + number, channels, out, 4, Conv2dOptions{.stride = 2, .padding = 1}, false),
           &child<BatchNorm2d>("norm" + number, out)});
      channels = out;
    }
    patches_ = &child<Conv2d>("patches", dim_, dim_, 1);
  }
  positions_ = &child<LearnedPositions>("positions", dim_, grid().count());
  dropout_ = &child<Dropout>("dropout", options.dropout);
  encoder_ = &child<TransformerEncoder>("encoder", options.encoder);
}

Variable PatchEncoder::embedded(const Tensor& pictures) const {
  Variable x = in_precision(Variable(pictures));
  for (const Halving& halving : halvings_) x = relu((*halving.norm)((*halving.conv)(x)));
  return (*patches_)(x);  // [B, side, side, D]
}

EncoderOutput PatchEncoder::operator()(const Tensor& pictures) {
  check_pictures(*this, "PatchEncoder", pictures, size_);
  const Variable regions = reshape(embedded(pictures), {pictures.dim(0), grid().count(), dim_});
  return {.states = (*encoder_)((*dropout_)((*positions_)(regions))), .lengths = {}};
}

}  // namespace attune::examples::captioning
