#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "datasets/image_codecs.h"

namespace attune {
namespace {

/// libpng leaves an error by longjmp, which must not pass over destructors: everything that has one lives here, in a
/// frame further up than those that call libpng.
struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string_view rest;
  char reason[200] = "out of memory";

  explicit PngReader(std::string_view bytes);
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
};

[[noreturn]] void leave(png_structp png, png_const_charp reason) {
  auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
  std::snprintf(reader->reason, sizeof reader->reason, "%s", reason);
  png_longjmp(png, 1);
}

void take(png_structp png, png_bytep out, size_t count) {
  std::string_view& rest = static_cast<PngReader*>(png_get_io_ptr(png))->rest;
  if (rest.size() < count) png_error(png, "ends too early");
  std::memcpy(out, rest.data(), count);
  rest.remove_prefix(count);
}

/// What libpng warns of and would pass over is damage where it concerns the pixels: a wrong checksum, of whatever that
/// was before its damage, and a transparency that does not fit.
void leave_if_damaged(png_structp png, png_const_charp warning) {
  const std::string_view text(warning);
  if (text.starts_with("tRNS") || text.find("CRC error") != std::string_view::npos) leave(png, warning);
}

PngReader::PngReader(std::string_view bytes) : rest(bytes) {
  png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, leave, leave_if_damaged);
  if (png == nullptr) return;
  info = png_create_info_struct(png);
  png_set_read_fn(png, this, take);
  // Texts, profiles and their like are passed over, not unpacked: a few bytes of them may hold gigabytes.
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
}

/// False, and a reason, when that fails.
bool read_header(PngReader& reader) {
  if (reader.png == nullptr || reader.info == nullptr) return false;
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_read_info(reader.png, reader.info);
  if (png_get_color_type(reader.png, reader.info) == PNG_COLOR_TYPE_PALETTE) {
    png_set_packing(reader.png);  // the colours are looked up here, since libpng makes black of what has none
  } else {
    png_set_expand(reader.png);
    png_set_scale_16(reader.png);
    png_set_gray_to_rgb(reader.png);
  }
  return true;
}

/// The same. pixels: rows of `stride` bytes.
bool read_rows(PngReader& reader, uint8_t* pixels, size_t stride) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  const int passes = png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  if (png_get_rowbytes(reader.png, reader.info) != stride) png_error(reader.png, "unknown kind of pixels");
  const png_uint_32 height = png_get_image_height(reader.png, reader.info);
  for (int pass = 0; pass < passes; ++pass) {
    for (png_uint_32 row = 0; row < height; ++row) png_read_row(reader.png, pixels + stride * row, nullptr);
  }
  png_read_end(reader.png, nullptr);
  return true;
}

/// The colours and opacities of a picture's palette.
struct Palette {
  png_colorp colours = nullptr;
  int size = 0;
  png_bytep opacities = nullptr;
  int opacity_count = 0;
};

Palette palette_of(const PngReader& reader) {
  Palette palette;
  png_get_PLTE(reader.png, reader.info, &palette.colours, &palette.size);
  png_get_tRNS(reader.png, reader.info, &palette.opacities, &palette.opacity_count, nullptr);
  return palette;
}

/// Colour numbers become RGB and opacity.
void look_up(Image& image, const Palette& palette, const std::string& name) {
  const std::vector<uint8_t> numbers = std::exchange(image.pixels, {});
  image.pixels.reserve(numbers.size() * 4);
  for (size_t i = 0; i < numbers.size(); ++i) {
    const int number = numbers[i];
    require<FormatError>(number < palette.size,
                         "{}: damaged PNG picture (pixel {} has colour {} of a palette of {}); get it again", name, i,
                         number, palette.size);
    const png_color& colour = palette.colours[number];
    const uint8_t opacity = number < palette.opacity_count ? palette.opacities[number] : 255;
    image.pixels.insert(image.pixels.end(), {colour.red, colour.green, colour.blue, opacity});
  }
}

/// RGB and opacity over white, in place.
void lay_over_white(Image& image) {
  const size_t count = image.pixels.size() / 4;
  const uint8_t* in = image.pixels.data();
  uint8_t* out = image.pixels.data();
  for (size_t i = 0; i < count; ++i, in += 4) {
    const int opacity = in[3];
    for (int c = 0; c < 3; ++c) *out++ = static_cast<uint8_t>((in[c] * opacity + 255 * (255 - opacity) + 127) / 255);
  }
  image.pixels.resize(count * 3);
}

}  // namespace

Image decode_png(std::string_view bytes, const std::string& name, const ImageReadOptions& options) {
  PngReader reader(bytes);
  const auto check = [&](bool ok) {
    require<FormatError>(ok, "{}: damaged PNG picture ({}); get it again", name, reader.reason);
  };
  check(read_header(reader));
  const bool palette = png_get_color_type(reader.png, reader.info) == PNG_COLOR_TYPE_PALETTE;
  const bool opacity = palette || (png_get_color_type(reader.png, reader.info) & PNG_COLOR_MASK_ALPHA) != 0 ||
                       png_get_valid(reader.png, reader.info, PNG_INFO_tRNS) != 0;
  const int64_t channels = palette ? 1 : opacity ? 4 : 3;
  Image image = allocate_image(png_get_image_height(reader.png, reader.info),
                               png_get_image_width(reader.png, reader.info), channels, name, options);
  check(read_rows(reader, image.pixels.data(), static_cast<size_t>(image.width * channels)));
  if (palette) look_up(image, palette_of(reader), name);
  if (opacity) lay_over_white(image);
  return image;
}

std::string encode_png(const Image& image) {
  require<ValueError>(image.height > 0 && image.width > 0 &&
                          static_cast<int64_t>(image.pixels.size()) == image.height * image.width * 3,
                      "encode_png: {} x {} pixels in {} bytes, expected at least one pixel and 3 bytes for each",
                      image.width, image.height, image.pixels.size());
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.format = PNG_FORMAT_RGB;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  std::string bytes(PNG_IMAGE_PNG_SIZE_MAX(header), '\0');
  png_alloc_size_t size = bytes.size();
  const bool ok = png_image_write_to_memory(&header, bytes.data(), &size, 0, image.pixels.data(), 0, nullptr) != 0;
  require<ValueError>(ok, "encode_png: {}", header.message);
  bytes.resize(size);
  return bytes;
}

}  // namespace attune
