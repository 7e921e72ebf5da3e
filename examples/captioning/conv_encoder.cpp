#include "examples/captioning/conv_encoder.h"

#include <string>

#include "autograd/ops/ops.h"
#include "examples/captioning/check_pictures.h"

namespace attune::examples::captioning {

ResidualBlock::ResidualBlock(int64_t in, int64_t out)
    : conv1_(child<Conv2d>("conv1", in, out, 3, Conv2dOptions{.padding = 1}, false)),
      norm1_(child<BatchNorm2d>("norm1", out)),
      conv2_(child<Conv2d>("conv2", out, out, 3, Conv2dOptions{.padding = 1}, false)),
      norm2_(child<BatchNorm2d>("norm2", out)) {
  if (in == out) return;
  shortcut_ = &child<Conv2d>("shortcut", in, out, 1, Conv2dOptions{}, false);
  shortcut_norm_ = &child<BatchNorm2d>("shortcut_norm", out);
}

Variable ResidualBlock::operator()(const Variable& x) const {
  const Variable branch = norm2_(conv2_(relu(norm1_(conv1_(x)))));
  return relu(branch + (shortcut_ == nullptr ? x : (*shortcut_norm_)((*shortcut_)(x))));
}

ConvEncoder::ConvEncoder(const ConvEncoderOptions& options)
    : size_(options.size),
      dim_(options.stages.empty() ? 0 : options.stages.back()),
      stem_(child<Conv2d>("stem", 3, options.stem, 4, Conv2dOptions{.stride = 2, .padding = 1}, false)),
      stem_norm_(child<BatchNorm2d>("stem_norm", options.stem)),
      halve_(child<MaxPool2d>("halve", 2, PoolOptions{.stride = 2})),
      dropout_(child<Dropout>("dropout", options.dropout)) {
  require<ValueError>(!options.stages.empty() && options.stages.size() < 16 && options.blocks > 0,
                      "ConvEncoder: {} stages of {} blocks given, expected 1 to 15 of at least 1",
                      options.stages.size(), options.blocks);
  const int64_t shrinking = int64_t{2} << options.stages.size();
  require<ValueError>(size_ > 0 && size_ % shrinking == 0,
                      "ConvEncoder: pictures of {} x {} given, expected a multiple of {} for {} stages", size_, size_,
                      shrinking, options.stages.size());
  side_ = size_ / shrinking;
  int64_t channels = options.stem;
  int64_t blocks = 0;
  for (const int64_t out : options.stages) {
    std::vector<ResidualBlock*>& stage = stages_.emplace_back();
    for (int64_t i = 0; i < options.blocks; ++i) {
      stage.push_back(&child<ResidualBlock>("block" + std::to_string(blocks++), channels, out));
      channels = out;
    }
  }
}

EncoderOutput ConvEncoder::operator()(const Tensor& pictures) {
  check_pictures(*this, "ConvEncoder", pictures, size_);
  Variable x = relu(stem_norm_(stem_(in_precision(Variable(pictures)))));
  for (const std::vector<ResidualBlock*>& stage : stages_) {
    x = halve_(x);
    for (const ResidualBlock* block : stage) x = (*block)(x);
  }
  return {.states = dropout_(reshape(x, {x.dim(0), grid().count(), dim_})), .lengths = {}};
}

}  // namespace attune::examples::captioning
