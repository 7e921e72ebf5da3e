#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/captioning/model.h"
#include "framework/tensor.h"

namespace attune::bench {

/// A model of attune-captioning and one batch for it, the same for every contender: a caption about each picture.
struct CaptioningShape {
  std::string part;  ///< of the benchmark
  std::string name;
  examples::captioning::ModelConfig model{};
  int64_t batch = 64;
  int64_t tokens = 12;  ///< of a caption
  int64_t vocabulary = 2550;
  int64_t image_size = 128;

  bool has_convolutions() const { return model.encoder == "conv" || model.patch_stem == "convolutions"; }
  /// The same with dropout wherever the model has it.
  CaptioningShape with_dropout(double dropout) const;
  examples::captioning::ModelExtents extents() const;

  /// Floating-point operations of the products of one forward pass, two for each multiplication with an addition; a
  /// convolution is a product of [output pixels, window] by [window, channels], zeros around the picture included,
  /// however it is computed.
  /// Embeddings, norms, pooling, softmax, gates, tanh and the optimizer are not counted; weights that a causal mask
  /// hides are.
  double forward_operations() const;
  /// Three times as many, without the gradient of the pictures, which nobody asks for.
  double step_operations() const;

  /// What peers/captioning.py has to be told.
  std::vector<std::string> arguments() const;
};

/// Patch Transformers whose patches are made by one product and by convolutions; the convolutional encoder with the
/// recurrent decoder and soft attention.
std::vector<CaptioningShape> captioning_shapes();

struct CaptioningSample {
  Tensor pictures;    // float32 [B, H, W, 3]
  Tensor picture_of;  // int64 [B]: 0, 1, ...
  Tensor target_in;   // int64 [B, T]
  Tensor target_out;  // int64 [B, T]
};
CaptioningSample captioning_sample(const CaptioningShape& shape);

}  // namespace attune::bench
