#pragma once

#include <span>

#include "datasets/image.h"
#include "examples/captioning/picture_encoder.h"

namespace attune::examples::captioning {

/// The picture where a word looked, as figure 3 of Xu et al., 2015, shows it: as bright as it is where the weight is
/// largest, a quarter of it where there is none. weights: of the regions of `grid`, row by row; between their centers
/// they are blended. Throws ValueError for another number of weights, and for one that is negative or not finite.
Image overlay(const Image& picture, std::span<const float> weights, RegionGrid grid);

}  // namespace attune::examples::captioning
