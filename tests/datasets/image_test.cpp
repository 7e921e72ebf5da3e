#include "datasets/image.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <png.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "framework/error.h"
#include "framework/random.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"
#include "tests/support/pictures.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using testing::error_text;
using testing::gradient_picture;
using testing::jpeg_file;
using testing::png_file;
using Bytes = std::vector<uint8_t>;

/// Mean difference of the values, of 255.
double difference(const Image& a, const Image& b) {
  REQUIRE(a.height == b.height);
  REQUIRE(a.width == b.width);
  REQUIRE(a.pixels.size() == b.pixels.size());
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(int{a.pixels[i]} - int{b.pixels[i]});
  return sum / static_cast<double>(a.pixels.size());
}

/// The first value of every pixel.
Bytes reds(const Image& image) {
  Bytes values;
  for (size_t i = 0; i < image.pixels.size(); i += 3) values.push_back(image.pixels[i]);
  return values;
}

TEST_CASE("jpeg: colour, grey, progressive and inks become RGB", "[datasets][captioning][image]") {
  const Image picture = gradient_picture(19, 27);
  CHECK(difference(decode_image(jpeg_file(picture), "a"), picture) < 2);
  CHECK(difference(decode_image(jpeg_file(picture, {.progressive = true}), "a"), picture) < 2);

  Image grey{19, 27, {}};
  const Bytes values = reds(picture);
  for (uint8_t value : values) grey.pixels.insert(grey.pixels.end(), 3, value);
  CHECK(difference(decode_image(jpeg_file(19, 27, values, {.channels = 1}), "a"), grey) < 2);

  // Cyan, magenta, yellow and black; Adobe's programs write 255 where there is none.
  for (bool adobe : {false, true}) {
    Bytes inks;
    Image expected{8, 8, {}};
    for (int i = 0; i < 64; ++i) {
      const uint8_t ink[] = {200, 60, 0, 51};
      for (uint8_t value : ink) inks.push_back(adobe ? static_cast<uint8_t>(255 - value) : value);
      // (255 - 200) (255 - 51) / 255 and so on.
      for (int value : {44, 156, 204}) expected.pixels.push_back(static_cast<uint8_t>(value));
    }
    CHECK(difference(decode_image(jpeg_file(8, 8, inks, {.channels = 4, .adobe = adobe}), "a"), expected) < 2);
  }
}

TEST_CASE("png: every kind of pixels becomes RGB", "[datasets][captioning][image]") {
  const Image picture = gradient_picture(13, 9);
  CHECK(decode_image(encode_png(picture), "a") == picture);
  for (bool interlaced : {false, true}) {
    const auto decode = [&](int64_t height, int64_t width, const Bytes& rows, int type, int depth) {
      const std::string file = png_file(height, width, rows, {type, depth, interlaced});
      const Image image = decode_image(file, "a");
      REQUIRE(image.height == height);
      REQUIRE(image.width == width);
      return image.pixels;
    };
    CHECK(decode(13, 9, picture.pixels, PNG_COLOR_TYPE_RGB, 8) == picture.pixels);
    // 0x1234 of 0xffff is 18.2 of 255, 0xfedc 253.9.
    CHECK(decode(1, 1, {0x12, 0x34, 0xFE, 0xDC, 0, 0}, PNG_COLOR_TYPE_RGB, 16) == Bytes{18, 254, 0});
    CHECK(decode(1, 3, {7, 0, 255}, PNG_COLOR_TYPE_GRAY, 8) == Bytes{7, 7, 7, 0, 0, 0, 255, 255, 255});
    CHECK(decode(1, 3, {0b10100000}, PNG_COLOR_TYPE_GRAY, 1) == Bytes{255, 255, 255, 0, 0, 0, 255, 255, 255});
    // Over white: 100 * 51 / 255 + 204.
    CHECK(decode(1, 2, {100, 0, 255, 51, 1, 2, 3, 255}, PNG_COLOR_TYPE_RGB_ALPHA, 8) == Bytes{224, 204, 255, 1, 2, 3});
    CHECK(decode(1, 2, {100, 51, 9, 0}, PNG_COLOR_TYPE_GRAY_ALPHA, 8) == Bytes{224, 224, 224, 255, 255, 255});
    CHECK(decode(1, 4, {0b00011011}, PNG_COLOR_TYPE_PALETTE, 2) ==
          Bytes{255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255});
  }
  // The colour of a transparent pixel does not show through.
  CHECK(decode_image(png_file(1, 1, {0, 0, 0, 0}, {PNG_COLOR_TYPE_RGB_ALPHA}), "a").pixels == Bytes{255, 255, 255});
}

TEST_CASE("pictures: files, whatever their names", "[datasets][captioning][image]") {
  const testing::TemporaryDirectory directory;
  const Image picture = gradient_picture(20, 30);
  const std::string jpeg = directory.write("really_a_jpeg.png", jpeg_file(picture));
  CHECK(difference(read_image(jpeg), picture) < 2);
  write_png(directory / "out.png", picture);
  CHECK(read_image(directory / "out.png") == picture);
  CHECK(error_text<IoError>([&] { read_image(directory / "none.jpg"); }) ==
        directory / "none.jpg" + ": cannot be opened for reading: No such file or directory");
  CHECK(error_text<IoError>([&] { read_image(directory.path().string()); }) ==
        directory.path().string() + ": cannot be read: Is a directory");
  CHECK(error_text<ValueError>([] {
          encode_png({2, 2, Bytes(5)});
        }) == "encode_png: 2 x 2 pixels in 5 bytes, expected at least one pixel and 3 bytes for each");
  CHECK_THROWS_AS(encode_png(Image{}), ValueError);
}

TEST_CASE("pictures: what is none, is damaged or too large", "[datasets][captioning][image]") {
  const auto reason = [](std::string_view bytes) {
    return error_text<FormatError>([&] { decode_image(bytes, "photos/a.jpg"); });
  };
  CHECK(reason("") == "photos/a.jpg: is empty, expected a JPEG or PNG picture");
  CHECK(reason("GIF89a\x01") == "photos/a.jpg: begins with 'GIF89a\\x01', expected a JPEG or PNG picture");
  CHECK(reason("<html><body>Not found") == "photos/a.jpg: begins with '<html><body>', expected a JPEG or PNG picture");
  CHECK(reason("\xFF\xD8\xFF") == "photos/a.jpg: damaged JPEG picture (Premature end of JPEG file); get it again");
  CHECK_THAT(reason("\x89PNG\r\n\x1A\n"), ContainsSubstring("damaged PNG picture (ends too early); get it again"));

  const Image picture = gradient_picture(40, 50);
  const std::string files[] = {jpeg_file(picture), jpeg_file(picture, {.progressive = true}), encode_png(picture),
                               png_file(40, 50, picture.pixels, {PNG_COLOR_TYPE_RGB, 8, true})};
  for (const std::string& file : files) {
    // Cut anywhere: never a picture.
    for (size_t length = 0; length < file.size(); length += 1 + file.size() / 97) {
      INFO(length << " of " << file.size() << " bytes");
      CHECK_THROWS_AS(decode_image(file.substr(0, length), "a"), FormatError);
    }
    CHECK_THROWS_AS(decode_image(file.substr(0, file.size() - 1), "a"), FormatError);
    // Damaged anywhere: a picture or an error.
    RandomStream random(3);
    int errors = 0;
    for (int i = 0; i < 100; ++i) {
      std::string damaged = file;
      for (int n = 0; n < 3; ++n) damaged[random.below(file.size())] = static_cast<char>(random.below(256));
      try {
        decode_image(damaged, "a", {.max_pixels = 100000});
      } catch (const FormatError&) {
        ++errors;
      }
    }
    CHECK(errors > 20);
  }
  // The extents of a PNG begin at byte 16, those of a JPEG behind the marker of the frame; nothing else is looked at.
  const auto large = [](std::string file, size_t begin, std::string_view extents) {
    return file.replace(begin, extents.size(), extents);
  };
  CHECK(error_text<FormatError>([&] { decode_image(files[2], "a", {.max_pixels = 1999}); }) ==
        "a: 50 x 40 pixels, expected at most 1999 in all; make the picture smaller");
  CHECK(decode_image(files[2], "a", {.max_pixels = 2000}).height == 40);
  const size_t frame = files[0].find("\xFF\xC0");
  REQUIRE(frame != std::string::npos);
  using namespace std::string_view_literals;
  CHECK(error_text<FormatError>([&] { decode_image(large(files[0], frame + 5, "\xFF\x00\xFF\x00"sv), "a"); }) ==
        "a: 65280 x 65280 pixels, expected at most 67108864 in all; make the picture smaller");
  // More scans than any picture has.
  const std::string scans = jpeg_file(picture, {.scan_by_channel = true});
  CHECK(difference(decode_image(scans, "a"), picture) < 2);
  const size_t last_scan = scans.rfind("\xFF\xDA");
  std::string endless = scans.substr(0, scans.size() - 2);
  for (int i = 0; i < 200; ++i) endless += scans.substr(last_scan, scans.size() - 2 - last_scan);
  CHECK(reason(endless + "\xFF\xD9") == "photos/a.jpg: damaged JPEG picture (more than 100 scans); get it again");
}

TEST_CASE("pictures: Flickr8k", "[datasets][captioning][image]") {
  const Image image = read_image(testing::data_path("flickr8k/images/2513260012_03d33305cf.jpg"));
  CHECK(image.height == 128);
  CHECK(image.width == 128);
  CHECK(*std::max_element(image.pixels.begin(), image.pixels.end()) > 200);
}

}  // namespace
}  // namespace attune
