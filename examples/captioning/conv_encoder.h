#pragma once

#include <cstdint>
#include <vector>

#include "examples/captioning/picture_encoder.h"
#include "layers/batch_norm.h"
#include "layers/conv.h"
#include "layers/dropout.h"
#include "layers/pool2d.h"

namespace attune::examples::captioning {

/// Two convolutions with a connection past them (He et al., "Deep Residual Learning for Image Recognition", 2016,
/// section 3.3, figure 2): relu(norm2(conv2(relu(norm1(conv1 x)))) + shortcut(x)). x [B, H, W, in] -> [B, H, W, out].
/// The shortcut is x itself, or norm(1 x 1 convolution) where the width changes (option B there). Children: conv1,
/// norm1, conv2, norm2, shortcut and shortcut_norm where there is one.
class ResidualBlock : public Module {
 public:
  ResidualBlock(int64_t in, int64_t out);

  Variable operator()(const Variable& x) const;

 private:
  Conv2d& conv1_;
  BatchNorm2d& norm1_;
  Conv2d& conv2_;
  BatchNorm2d& norm2_;
  Conv2d* shortcut_ = nullptr;
  BatchNorm2d* shortcut_norm_ = nullptr;
};

struct ConvEncoderOptions {
  int64_t size = 128;                            ///< height and width of the pictures
  int64_t stem = 32;                             ///< channels of the first convolution
  std::vector<int64_t> stages = {64, 128, 256};  ///< channels; each stage behind the first halves height and width
  int64_t blocks = 1;                            ///< of each stage
  double dropout = 0.1;                          ///< of the states, in training only
};

/// A small residual network: a convolution and a pooling quarter height and width, then come the stages. The map that
/// the last one makes, [B, size / 16, size / 16, 256] as preset, is the annotation vectors of Xu et al., "Show, Attend
/// and Tell", 2015, section 3.1.1: a state for each region. Whatever halves height and width has windows of even size:
/// region r is centered where it lies in the picture, at pixel 16 r + 7.5 (windows of 3 would lose half a pixel every
/// time, half a region in all). Children: stem, stem_norm, halve, block0, block1, ..., dropout.
class ConvEncoder : public PictureEncoder {
 public:
  /// Throws ValueError for extents below 1 and a size that cannot be halved as often.
  explicit ConvEncoder(const ConvEncoderOptions& options);

  EncoderOutput operator()(const Tensor& pictures) override;
  int64_t dim() const override { return dim_; }
  RegionGrid grid() const override { return {side_, side_}; }

 private:
  int64_t size_;
  int64_t dim_;
  int64_t side_;
  Conv2d& stem_;
  BatchNorm2d& stem_norm_;
  MaxPool2d& halve_;
  std::vector<std::vector<ResidualBlock*>> stages_;
  Dropout& dropout_;
};

}  // namespace attune::examples::captioning
