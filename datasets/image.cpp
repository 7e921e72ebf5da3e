#include "datasets/image.h"

#include <algorithm>
#include <cstdint>

#include "datasets/byte_reader.h"
#include "datasets/image_codecs.h"
#include "datasets/utf8.h"
#include "framework/atomic_file.h"

namespace attune {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kJpegBegin = "\xFF\xD8\xFF"sv;
constexpr std::string_view kPngBegin = "\x89PNG\r\n\x1A\n"sv;
// A pixel of the largest kind, and what may stand around the pixels.
constexpr int64_t kMostPixelBytes = 8;
constexpr int64_t kMostOtherBytes = int64_t{16} << 20;

void require_picture(std::string_view begin, const std::string& name) {
  require<FormatError>(!begin.empty(), "{}: is empty, expected a JPEG or PNG picture", name);
  require<FormatError>(begin.starts_with(kJpegBegin) || begin.starts_with(kPngBegin),
                       "{}: begins with {}, expected a JPEG or PNG picture", name, utf8::quoted(begin.substr(0, 12)));
}

std::string read_file(const std::string& path, int64_t max_pixels) {
  constexpr size_t kStep = size_t{1} << 16;
  const int64_t most = std::min(max_pixels, INT64_MAX / 16) * kMostPixelBytes + kMostOtherBytes;
  ByteReader reader(path, Unzip::kNo);
  require_picture(reader.peek(12), path);
  const auto limit = [&](int64_t bytes) {
    require<FormatError>(bytes <= most, "{}: {} bytes and more, expected at most {} for a picture of {} pixels", path,
                         bytes, most, max_pixels);
  };
  limit(reader.stored_bytes());
  std::string bytes;
  for (size_t read = kStep; read == kStep;) {
    const size_t before = bytes.size();
    limit(static_cast<int64_t>(before));
    bytes.resize(before + kStep);
    read = reader.read(bytes.data() + before, kStep);
    bytes.resize(before + read);
  }
  return bytes;
}

}  // namespace

Image decode_image(std::string_view bytes, const std::string& name, const ImageReadOptions& options) {
  require_picture(bytes, name);
  return bytes.starts_with(kJpegBegin) ? decode_jpeg(bytes, name, options) : decode_png(bytes, name, options);
}

Image read_image(const std::string& path, const ImageReadOptions& options) {
  return decode_image(read_file(path, options.max_pixels), path, options);
}

void write_png(const std::string& path, const Image& image) { write_file_atomically(path, encode_png(image)); }

}  // namespace attune
