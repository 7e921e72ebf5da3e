#pragma once

#include <string>
#include <string_view>

#include "datasets/image.h"
#include "framework/fail.h"

// One function per format behind decode_image(), which says what they throw.

namespace attune {

Image decode_jpeg(std::string_view bytes, const std::string& name, const ImageReadOptions& options);
Image decode_png(std::string_view bytes, const std::string& name, const ImageReadOptions& options);

/// Memory for a picture of these extents and so many channels, once it is known to be allowed.
inline Image allocate_image(int64_t height, int64_t width, int64_t channels, const std::string& name,
                            const ImageReadOptions& options) {
  require<FormatError>(height <= options.max_pixels / width,
                       "{}: {} x {} pixels, expected at most {} in all; make the picture smaller", name, width, height,
                       options.max_pixels);
  return {height, width, std::vector<uint8_t>(static_cast<size_t>(height * width * channels))};
}

}  // namespace attune
