#pragma once

#include <cstdint>
#include <vector>

#include "examples/captioning/picture_encoder.h"
#include "layers/batch_norm.h"
#include "layers/conv.h"
#include "layers/dropout.h"
#include "layers/transformer/encoder.h"
#include "layers/transformer/positional.h"

namespace attune::examples::captioning {

/// How a patch becomes a vector.
enum class PatchStem : uint8_t {
  /// By one matrix product (Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, eq. 1).
  kLinear,
  /// By convolutions that halve height and width until a patch is one pixel, which learns faster from few pictures
  /// (Xiao et al., "Early Convolutions Help Transformers See Better", 2021, section 3). Their windows are 4 x 4, for
  /// the reason that ConvEncoder gives.
  kConvolutions,
};

struct PatchEncoderOptions {
  int64_t size = 128;  ///< height and width of the pictures
  int64_t patch = 16;  ///< height and width of a patch; with kConvolutions a power of 2
  PatchStem stem = PatchStem::kConvolutions;
  double dropout = 0.1;  ///< of the patches with their positions, in training only
  TransformerEncoderOptions encoder{.blocks = 4,
                                    .block = {.dim = 256,
                                              .heads = 4,
                                              .ffn_dim = 1024,
                                              .dropout = 0.1,
                                              .activation = Activation::kGelu,
                                              .norm_first = true}};
};

/// Reads a picture patch by patch as a Transformer reads words (Dosovitskiy et al., 2021, section 3.1, without a class
/// token): encoder(dropout(stem(patches) + learned positions)). Children: patches, or conv0, norm0, conv1, norm1, ...
/// and patches; positions; dropout; encoder.
class PatchEncoder : public PictureEncoder {
 public:
  /// Throws ValueError for extents below 1, a size that is no multiple of the patch, and for kConvolutions a patch that
  /// is no power of 2 or a width that cannot be halved as often.
  explicit PatchEncoder(const PatchEncoderOptions& options);

  EncoderOutput operator()(const Tensor& pictures) override;
  int64_t dim() const override { return dim_; }
  RegionGrid grid() const override { return {side_, side_}; }

 private:
  struct Halving {
    Conv2d* conv;
    BatchNorm2d* norm;
  };

  Variable embedded(const Tensor& pictures) const;

  int64_t size_;
  int64_t dim_;
  int64_t side_;
  std::vector<Halving> halvings_;
  Conv2d* patches_ = nullptr;
  LearnedPositions* positions_ = nullptr;
  Dropout* dropout_ = nullptr;
  TransformerEncoder* encoder_ = nullptr;
};

}  // namespace attune::examples::captioning
