#include <csetjmp>
#include <cstdio>
// <cstdio> first: <jpeglib.h> needs it and does not say so.
#include <jerror.h>
#include <jpeglib.h>

#include <utility>

#include "datasets/image_codecs.h"
#include "datasets/orientation.h"

namespace attune {
namespace {

// Progressive pictures come in about ten scans; thousands over few bytes would only hold the reader up.
constexpr int kMostScans = 100;
constexpr int kExifMarker = JPEG_APP0 + 1;

/// libjpeg leaves an error by longjmp, which must not pass over destructors: everything that has one lives here, in a
/// frame further up than those that call libjpeg.
struct JpegReader {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf escape;
  char reason[JMSG_LENGTH_MAX] = "";

  JpegReader() = default;
  ~JpegReader() { jpeg_destroy_decompress(&info); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
};

[[noreturn]] void leave(j_common_ptr info) {
  auto* reader = static_cast<JpegReader*>(info->client_data);
  info->err->format_message(info, reader->reason);
  std::longjmp(reader->escape, 1);
}

/// What libjpeg warns of and would paint over is damage, but for these.
void leave_unless_harmless(j_common_ptr info, int level) {
  if (level >= 0) return;
  const int code = info->err->msg_code;
  if (code != JWRN_EXTRANEOUS_DATA && code != JWRN_JFIF_MAJOR && code != JWRN_ADOBE_XFORM) leave(info);
}

void limit_scans(j_common_ptr info) {
  auto* reader = static_cast<JpegReader*>(info->client_data);
  if (reader->info.input_scan_number <= kMostScans) return;
  std::snprintf(reader->reason, sizeof reader->reason, "more than %d scans", kMostScans);
  std::longjmp(reader->escape, 1);
}

/// False, and a reason, when that fails.
bool read_header(JpegReader& reader, std::string_view bytes) {
  if (setjmp(reader.escape) != 0) return false;
  jpeg_create_decompress(&reader.info);
  reader.info.progress = &reader.progress;
  jpeg_mem_src(&reader.info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_save_markers(&reader.info, kExifMarker, 0xFFFF);
  jpeg_read_header(&reader.info, TRUE);
  return true;
}

/// The same. pixels: rows of `stride` bytes.
bool read_rows(JpegReader& reader, uint8_t* pixels, size_t stride) {
  if (setjmp(reader.escape) != 0) return false;
  jpeg_start_decompress(&reader.info);
  while (reader.info.output_scanline < reader.info.output_height) {
    JSAMPROW row = pixels + stride * reader.info.output_scanline;
    jpeg_read_scanlines(&reader.info, &row, 1);
  }
  jpeg_finish_decompress(&reader.info);
  return true;
}

/// Four inks a pixel become RGB, in place. 255 is no ink: so Adobe's programs write it and, whether their marker is
/// there or not, so everybody reads it.
void inks_to_rgb(Image& image) {
  const size_t count = image.pixels.size() / 4;
  const uint8_t* in = image.pixels.data();
  uint8_t* out = image.pixels.data();
  for (size_t i = 0; i < count; ++i, in += 4) {
    for (int c = 0; c < 3; ++c) *out++ = static_cast<uint8_t>((in[c] * in[3] + 127) / 255);
  }
  image.pixels.resize(count * 3);
}

/// Of the first block of a camera's notes.
int64_t orientation_of(const jpeg_decompress_struct& info) {
  for (const jpeg_marker_struct* marker = info.marker_list; marker != nullptr; marker = marker->next) {
    const std::string_view block(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (marker->marker == kExifMarker && block.starts_with("Exif")) return exif_orientation(block);
  }
  return 1;
}

}  // namespace

Image decode_jpeg(std::string_view bytes, const std::string& name, const ImageReadOptions& options) {
  JpegReader reader;
  reader.info.client_data = &reader;
  reader.info.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = leave;
  reader.errors.emit_message = leave_unless_harmless;
  reader.progress.progress_monitor = limit_scans;
  const auto check = [&](bool ok) {
    require<FormatError>(ok, "{}: damaged JPEG picture ({}); get it again", name, reader.reason);
  };
  check(read_header(reader, bytes));
  const int64_t orientation = orientation_of(reader.info);
  const bool inks = reader.info.jpeg_color_space == JCS_CMYK || reader.info.jpeg_color_space == JCS_YCCK;
  reader.info.out_color_space = inks ? JCS_CMYK : JCS_RGB;
  const int64_t channels = inks ? 4 : 3;
  Image image = allocate_image(reader.info.image_height, reader.info.image_width, channels, name, options);
  check(read_rows(reader, image.pixels.data(), static_cast<size_t>(image.width * channels)));
  if (inks) inks_to_rgb(image);
  return oriented(std::move(image), orientation);
}

}  // namespace attune
