#include "datasets/image.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "datasets/image_codecs.h"
#include "datasets/utf8.h"
#include "framework/atomic_file.h"

namespace attune {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kJpegBegin = "\xFF\xD8\xFF"sv;
constexpr std::string_view kPngBegin = "\x89PNG\r\n\x1A\n"sv;
// No picture within a sensible limit of pixels takes more; keeps endless files from filling the memory.
constexpr size_t kMostBytes = size_t{1} << 30;

std::string read_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  require<IoError>(file != nullptr, "{}: cannot be opened for reading: {}", path, std::strerror(errno));
  std::string bytes;
  constexpr size_t kStep = size_t{1} << 16;
  for (size_t read = kStep; read == kStep;) {
    const size_t before = bytes.size();
    require<FormatError>(before <= kMostBytes, "{}: more than {} bytes, expected a JPEG or PNG picture", path,
                         kMostBytes);
    bytes.resize(before + kStep);
    read = std::fread(bytes.data() + before, 1, kStep, file.get());
    bytes.resize(before + read);
  }
  require<IoError>(std::ferror(file.get()) == 0, "{}: cannot be read: {}", path, std::strerror(errno));
  return bytes;
}

}  // namespace

Image decode_image(std::string_view bytes, const std::string& name, const ImageReadOptions& options) {
  require<FormatError>(!bytes.empty(), "{}: is empty, expected a JPEG or PNG picture", name);
  if (bytes.starts_with(kJpegBegin)) return decode_jpeg(bytes, name, options);
  if (bytes.starts_with(kPngBegin)) return decode_png(bytes, name, options);
  fail<FormatError>("{}: begins with {}, expected a JPEG or PNG picture", name, utf8::quoted(bytes.substr(0, 12)));
}

Image read_image(const std::string& path, const ImageReadOptions& options) {
  return decode_image(read_file(path), path, options);
}

void write_png(const std::string& path, const Image& image) { write_file_atomically(path, encode_png(image)); }

}  // namespace attune
