// Any bytes are a picture or a FormatError.

#include "datasets/image.h"

#include <png.h>

#include <cstdlib>

#include "framework/error.h"
#include "tests/fuzz/seeds.h"
#include "tests/support/pictures.h"

using namespace attune;

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  using testing::jpeg_file;
  using testing::png_file;
  const Image picture = testing::gradient_picture(17, 19);
  const std::vector<uint8_t> bytes(17 * 19 * 8, 100);
  std::vector<std::string> seeds = {jpeg_file(picture),
                                    jpeg_file(picture, {.progressive = true}),
                                    jpeg_file(picture, {.scan_by_channel = true}),
                                    jpeg_file(17, 19, bytes, {.channels = 1}),
                                    jpeg_file(17, 19, bytes, {.channels = 4, .adobe = true}),
                                    encode_png(picture)};
  for (bool interlaced : {false, true}) {
    for (int depth : {1, 2, 4, 8}) seeds.push_back(png_file(17, 19, bytes, {PNG_COLOR_TYPE_GRAY, depth, interlaced}));
    for (int depth : {2, 4}) {
      // Two bits are all that four colours need.
      const std::vector<uint8_t> indices(bytes.size(), depth == 4 ? 0x12 : 0x1B);
      seeds.push_back(png_file(17, 19, indices, {PNG_COLOR_TYPE_PALETTE, depth, interlaced}));
    }
    for (int type : {PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA, PNG_COLOR_TYPE_GRAY_ALPHA}) {
      for (int depth : {8, 16}) seeds.push_back(png_file(17, 19, bytes, {type, depth, interlaced}));
    }
  }
  testing::write_seeds(*argc, *argv, seeds);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t kMostPixels = 1 << 16;
  try {
    const Image image = decode_image({reinterpret_cast<const char*>(data), size}, "input", {.max_pixels = kMostPixels});
    const bool whole = image.height > 0 && image.width > 0 && image.height * image.width <= kMostPixels &&
                       image.pixels.size() == static_cast<size_t>(image.height * image.width * 3);
    if (!whole) std::abort();
  } catch (const FormatError&) {
  }
  return 0;
}
