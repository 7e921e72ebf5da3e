#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// A picture: 8-bit RGB, rows from the top, no gaps between them.
struct Image {
  int64_t height = 0;
  int64_t width = 0;
  std::vector<uint8_t> pixels;  ///< [height, width, 3]

  bool operator==(const Image&) const = default;
};

struct ImageReadOptions {
  /// A picture of more pixels is refused before memory is taken for it.
  int64_t max_pixels = int64_t{1} << 26;
};

/// A JPEG or PNG picture as RGB; which one is seen in the first bytes. Grey values are repeated, palettes looked up, 16
/// bits scaled to 8, interlaced and progressive pictures put together, transparent ones laid over white; inks become (1
/// - C)(1 - K), (1 - M)(1 - K), (1 - Y)(1 - K), where 255 is taken for no ink, as Adobe's programs write them, whether
/// the file has their marker or not. A JPEG picture is turned as the orientation in its camera's notes says (Exif, all
/// eight; notes that are damaged turn nothing). Colour profiles, gamma and texts are ignored.
///
/// Throws FormatError that begins with `name`, the file, for anything that is not a whole, sound picture of either
/// kind: nothing at all, another format, damage (a wrong checksum anywhere, a transparency that does not fit, a pixel
/// beyond its palette), a missing end, more pixels than allowed.
Image decode_image(std::string_view bytes, const std::string& name, const ImageReadOptions& options = {});

/// decode_image of a file or a pipe (see ByteReader). Besides, throws IoError for a path that cannot be opened or read,
/// and FormatError for a file of more bytes than a picture of max_pixels takes, before they are read.
Image read_image(const std::string& path, const ImageReadOptions& options = {});

/// The picture as a PNG file. Throws ValueError for a picture without pixels or with another number of them than its
/// extents say.
std::string encode_png(const Image& image);

/// encode_png into a file, as one step. Throws IoError (see write_file_atomically) besides.
void write_png(const std::string& path, const Image& image);

}  // namespace attune
