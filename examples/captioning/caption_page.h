#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "datasets/image.h"
#include "examples/captioning/picture_encoder.h"
#include "framework/tensor.h"

namespace attune::examples::captioning {

/// The picture with its longer side at most `side` pixels.
Image at_most(const Image& picture, int64_t side);

/// A picture with its caption.
struct ShownCaption {
  std::string name;  ///< of the picture
  Image picture;     ///< what the model saw of it, in any size
  std::vector<std::string> words;
  Tensor weights;  ///< float32 [words, regions]: where the model looked; undefined for one that does not look
};

struct CaptionPageOptions {
  std::string title = "Captions";
  /// Where the pictures need more, they become smaller, as little as possible.
  size_t max_bytes = 5'000'000;
};

/// One HTML file to look at captions with: each picture with its sentence, whose words show by mouse, touch or keyboard
/// where the model looked (see overlay()), and a strip with the picture once for every word, as figure 3 of Xu et al.,
/// "Show, Attend and Tell", 2015, for print. The file holds all that it needs: pictures are in it once, and what lies
/// over them is a pixel for each region, blended by the browser.
///
/// Names and words may hold any bytes; what is not UTF-8 shows as replacement characters.
///
/// Throws ValueError for no captions, for weights that overlay() refuses, for pictures without pixels and a page that
/// does not fit even with small pictures; ShapeError for weights of another shape.
std::string caption_page(std::span<const ShownCaption> captions, RegionGrid grid,
                         const CaptionPageOptions& options = {});

}  // namespace attune::examples::captioning
