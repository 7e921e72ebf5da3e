#include "tests/support/pictures.h"

#include <png.h>

#include <cstdio>
#include <cstdlib>
// <cstdio> first: <jpeglib.h> needs it and does not say so.
#include <jpeglib.h>

namespace attune::testing {

Image gradient_picture(int64_t height, int64_t width) {
  Image image{height, width, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t value : {40 + 150 * x / width, 220 - 160 * y / height, 30 + 90 * (x + y) / (width + height)}) {
        image.pixels.push_back(static_cast<uint8_t>(value));
      }
    }
  }
  return image;
}

std::string jpeg_file(int64_t height, int64_t width, const std::vector<uint8_t>& pixels, const JpegSettings& settings) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = settings.channels;
  info.in_color_space = settings.channels == 1 ? JCS_GRAYSCALE : settings.channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, settings.quality, TRUE);
  if (settings.progressive) jpeg_simple_progression(&info);
  const jpeg_scan_info scans[] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
  if (settings.scan_by_channel) {
    info.scan_info = scans;
    info.num_scans = 3;
  }
  if (settings.channels == 4) info.write_Adobe_marker = settings.adobe ? TRUE : FALSE;
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<uint8_t*>(pixels.data()) + info.next_scanline * width * settings.channels;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string file(reinterpret_cast<char*>(bytes), size);
  jpeg_destroy_compress(&info);
  std::free(bytes);
  return file;
}

std::string png_file(int64_t height, int64_t width, const std::vector<uint8_t>& rows, const PngSettings& settings) {
  std::string file;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &file,
      [](png_structp out, png_bytep bytes, size_t count) {
        static_cast<std::string*>(png_get_io_ptr(out))->append(reinterpret_cast<char*>(bytes), count);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), settings.depth,
               settings.colour_type, settings.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (settings.colour_type == PNG_COLOR_TYPE_PALETTE) {
    const png_color colours[] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 255}};
    const png_byte opacity[] = {255, 255, 255, 0};
    png_set_PLTE(png, info, colours, 4);
    png_set_tRNS(png, info, opacity, 4, nullptr);
  }
  png_write_info(png, info);
  const size_t stride = png_get_rowbytes(png, info);
  std::vector<png_bytep> pointers;
  for (int64_t y = 0; y < height; ++y) {
    pointers.push_back(const_cast<uint8_t*>(rows.data()) + static_cast<size_t>(y) * stride);
  }
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return file;
}

}  // namespace attune::testing
