#include "datasets/orientation.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace attune {
namespace {

using namespace std::string_view_literals;

/// Numbers of a TIFF file, in the order of bytes that it begins with.
class Tiff {
 public:
  explicit Tiff(std::string_view bytes) : bytes_(bytes), little_(bytes.starts_with("II")) {}

  /// `count` bytes from `at` on; nothing outside.
  std::optional<uint32_t> number(uint64_t at, size_t count) const {
    if (at > bytes_.size() || bytes_.size() - at < count) return {};
    uint32_t value = 0;
    for (size_t i = 0; i < count; ++i) {
      const size_t place = little_ ? count - 1 - i : i;
      value = value << 8 | static_cast<unsigned char>(bytes_[static_cast<size_t>(at) + place]);
    }
    return value;
  }

 private:
  std::string_view bytes_;
  bool little_;
};

}  // namespace

int64_t exif_orientation(std::string_view block) {
  constexpr std::string_view kBegin = "Exif\0\0"sv;
  constexpr uint32_t kTag = 0x112, kShort = 3, kEntryBytes = 12;
  if (!block.starts_with(kBegin)) return 1;
  block.remove_prefix(kBegin.size());
  if (!block.starts_with("II\x2A\0"sv) && !block.starts_with("MM\0\x2A"sv)) return 1;
  const Tiff tiff(block);
  const std::optional<uint32_t> directory = tiff.number(4, 4);
  if (!directory) return 1;
  const uint32_t entries = tiff.number(*directory, 2).value_or(0);
  for (uint32_t i = 0; i < entries; ++i) {
    const uint64_t at = uint64_t{*directory} + 2 + uint64_t{i} * kEntryBytes;
    const std::optional<uint32_t> tag = tiff.number(at, 2);
    if (!tag) return 1;
    if (*tag != kTag) continue;
    const bool is_number = tiff.number(at + 2, 2) == kShort && tiff.number(at + 4, 4) == 1U;
    const uint32_t value = tiff.number(at + 8, 2).value_or(1);
    return is_number && value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

Image oriented(Image image, int64_t orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  // Where a pixel comes from: rows and columns may have changed places, and each may run backwards.
  const bool transposed = orientation >= 5;
  const bool rows_back = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool columns_back = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  Image out{transposed ? image.width : image.height, transposed ? image.height : image.width,
            std::vector<uint8_t>(image.pixels.size())};
  uint8_t* to = out.pixels.data();
  for (int64_t y = 0; y < out.height; ++y) {
    for (int64_t x = 0; x < out.width; ++x, to += 3) {
      const int64_t row = transposed ? x : y;
      const int64_t column = transposed ? y : x;
      const int64_t from =
          (rows_back ? image.height - 1 - row : row) * image.width + (columns_back ? image.width - 1 - column : column);
      std::copy_n(image.pixels.data() + from * 3, 3, to);
    }
  }
  return out;
}

}  // namespace attune
