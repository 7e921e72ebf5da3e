#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/image.h"

namespace attune::testing {

/// Smooth colours that differ everywhere, so that a mirrored or shifted picture is another one.
Image gradient_picture(int64_t height, int64_t width);

/// A picture as a file; channels: values a pixel that `pixels` has, grey, RGB or four inks.
struct JpegSettings {
  int channels = 3;
  bool progressive = false;
  bool scan_by_channel = false;  ///< of RGB: a scan for each component, one after the other
  bool adobe = false;            ///< inks with Adobe's marker
  int quality = 95;
};
std::string jpeg_file(int64_t height, int64_t width, const std::vector<uint8_t>& pixels, const JpegSettings& settings);
inline std::string jpeg_file(const Image& image, const JpegSettings& settings = {}) {
  return jpeg_file(image.height, image.width, image.pixels, settings);
}

/// The same as PNG. colour_type and depth as libpng has them; rows: their bytes, one after the other. A palette has the
/// colours red, green, blue and white, the last one transparent.
struct PngSettings {
  int colour_type;
  int depth = 8;
  bool interlaced = false;
};
std::string png_file(int64_t height, int64_t width, const std::vector<uint8_t>& rows, const PngSettings& settings);

}  // namespace attune::testing
