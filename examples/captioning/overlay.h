#pragma once

#include <span>

#include "datasets/image.h"
#include "examples/captioning/picture_encoder.h"

namespace attune::examples::captioning {

/// Attention as light, a pixel for each region of the grid: white where the weight is largest, a quarter of it where
/// there is none. weights: of the regions, row by row. Throws ValueError for another number of weights, and for one
/// that is negative or not finite.
Image attention_light(std::span<const float> weights, RegionGrid grid);

/// The picture where a word looked, as figure 3 of Xu et al., 2015, shows it: seen in the light of its attention, which
/// is blended between the centers of regions. Throws as attention_light().
Image overlay(const Image& picture, std::span<const float> weights, RegionGrid grid);

}  // namespace attune::examples::captioning
