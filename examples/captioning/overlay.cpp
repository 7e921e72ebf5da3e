#include "examples/captioning/overlay.h"

#include <algorithm>
#include <cmath>

#include "datasets/image_transform.h"
#include "framework/fail.h"

namespace attune::examples::captioning {

Image attention_light(std::span<const float> weights, RegionGrid grid) {
  require<ValueError>(grid.count() > 0 && static_cast<int64_t>(weights.size()) == grid.count(),
                      "overlay: {} weights for {} x {} regions, expected one for each", weights.size(), grid.rows,
                      grid.columns);
  float largest = 0;
  for (float weight : weights) {
    require<ValueError>(std::isfinite(weight) && weight >= 0, "overlay: a weight is {}, expected 0 or more", weight);
    largest = std::max(largest, weight);
  }
  Image light{.height = grid.rows, .width = grid.columns, .pixels = {}};
  for (float weight : weights) {
    const float share = largest > 0 ? weight / largest : 0;
    light.pixels.insert(light.pixels.end(), 3, static_cast<uint8_t>(std::lround(64 + 191 * share)));
  }
  return light;
}

Image overlay(const Image& picture, std::span<const float> weights, RegionGrid grid) {
  const Image light = resize(attention_light(weights, grid), picture.height, picture.width);
  Image shown = picture;
  for (size_t i = 0; i < shown.pixels.size(); ++i) {
    shown.pixels[i] = static_cast<uint8_t>((shown.pixels[i] * light.pixels[i] + 127) / 255);
  }
  return shown;
}

}  // namespace attune::examples::captioning
