#include "datasets/image.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fmt/format.h>
#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "datasets/orientation.h"
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

  // Cyan, magenta, yellow and black, 255 where there is none: whether Adobe's marker says so or nothing does.
  for (bool adobe : {false, true}) {
    Bytes inks;
    Image expected{8, 8, {}};
    for (int i = 0; i < 64; ++i) {
      for (int ink : {200, 60, 0, 51}) inks.push_back(static_cast<uint8_t>(255 - ink));
      // (255 - 200) (255 - 51) / 255 and so on.
      for (int value : {44, 156, 204}) expected.pixels.push_back(static_cast<uint8_t>(value));
    }
    CHECK(difference(decode_image(jpeg_file(8, 8, inks, {.channels = 4, .adobe = adobe}), "a"), expected) < 2);
    // Cyan alone.
    Bytes cyan;
    for (int i = 0; i < 64; ++i) cyan.insert(cyan.end(), {0, 255, 255, 255});
    const Image image = decode_image(jpeg_file(8, 8, cyan, {.channels = 4, .adobe = adobe}), "a");
    CHECK(Bytes(image.pixels.begin(), image.pixels.begin() + 3) == Bytes{0, 255, 255});
  }
}

/// Notes of a camera in a block of their own, behind the beginning of a JPEG file.
std::string with_block(const std::string& jpeg, const std::string& block) {
  const size_t size = block.size() + 2;
  return jpeg.substr(0, 2) + "\xFF\xE1" + static_cast<char>(size >> 8) + static_cast<char>(size & 0xFF) + block +
         jpeg.substr(2);
}

/// Such notes: a directory of two entries, the second of which is the orientation.
std::string exif(int orientation, bool little, int type = 3) {
  const auto number = [&](uint32_t value, size_t bytes) {
    std::string text;
    for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * (little ? i : bytes - 1 - i)));
    return text;
  };
  const std::string entry = number(0x10F, 2) + number(2, 2) + number(4, 4) + "abc" + '\0';
  return std::string("Exif\0\0", 6) + (little ? "II" : "MM") + number(42, 2) + number(8, 4) + number(2, 2) + entry +
         number(0x112, 2) + number(static_cast<uint32_t>(type), 2) + number(1, 4) +
         number(static_cast<uint32_t>(orientation), 2) + number(0, 2) + number(0, 4);
}

TEST_CASE("jpeg: turned as the camera's notes say", "[datasets][captioning][image]") {
  // Corners that all differ: 0 and 1 above, 2 and 3 below; what each orientation shows in their place.
  const int64_t height = 16, width = 32;
  const Bytes shades = {20, 90, 160, 230};
  Bytes grey;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) grey.push_back(shades[static_cast<size_t>((y / 8) * 2 + x / 16)]);
  }
  const std::string file = jpeg_file(height, width, grey, {.channels = 1, .quality = 100});
  const std::vector<std::vector<size_t>> expected = {{0, 1, 2, 3}, {1, 0, 3, 2}, {3, 2, 1, 0}, {2, 3, 0, 1},
                                                     {0, 2, 1, 3}, {2, 0, 3, 1}, {3, 1, 2, 0}, {1, 3, 0, 2}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (bool little : {false, true}) {
      INFO("orientation " << orientation);
      const Image image = decode_image(with_block(file, exif(orientation, little)), "a");
      REQUIRE(image.height == (orientation < 5 ? height : width));
      REQUIRE(image.width == (orientation < 5 ? width : height));
      const Bytes red = reds(image);
      const std::vector<size_t>& corners = expected[static_cast<size_t>(orientation) - 1];
      const auto last = red.size() - 1, right = static_cast<size_t>(image.width) - 1;
      const size_t places[] = {0, right, last - right, last};
      for (size_t i = 0; i < 4; ++i) CHECK(std::abs(int{red[places[i]]} - int{shades[corners[i]]}) < 4);
    }
  }
  // Every pixel, not only corners: turned twice, four or eight times it is the same again.
  const Image picture = gradient_picture(5, 7);
  for (int64_t orientation : {2, 3, 4, 5, 7}) CHECK(oriented(oriented(picture, orientation), orientation) == picture);
  CHECK(oriented(oriented(picture, 6), 8) == picture);
  CHECK(oriented(oriented(picture, 6), 6) == oriented(picture, 3));
  CHECK(oriented(oriented(picture, 2), 4) == oriented(picture, 3));

  // Damaged notes turn nothing and hurt nothing.
  const Image plain = decode_image(file, "a");
  const std::string notes = exif(6, false);
  for (size_t length = 0; length < notes.size() - 6; ++length) {
    CHECK(decode_image(with_block(file, notes.substr(0, length)), "a").pixels.size() == plain.pixels.size());
  }
  for (const std::string& wrong :
       {exif(0, true), exif(9, false), exif(65535, true), exif(6, false, 2), exif(6, true, 5)}) {
    CHECK(decode_image(with_block(file, wrong), "a") == plain);
  }
  RandomStream random(5);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = exif(6, i % 2 == 0);
    for (uint64_t n = 1 + random.below(4); n > 0; --n) {
      damaged[6 + random.below(damaged.size() - 6)] = static_cast<char>(random.below(256));
    }
    const int64_t orientation = exif_orientation(damaged);
    CHECK((orientation >= 1 && orientation <= 8));
  }
  // The first notes decide.
  CHECK(decode_image(with_block(with_block(file, exif(6, true)), exif(1, true)), "a") == plain);
}

/// A chunk of a PNG file with its checksum.
std::string chunk(const std::string& type, const std::string& data) {
  const auto number = [](size_t value) {
    std::string text;
    for (int shift : {24, 16, 8, 0}) text += static_cast<char>(value >> shift);
    return text;
  };
  const std::string body = type + data;
  const auto sum = crc32(0, reinterpret_cast<const unsigned char*>(body.data()), static_cast<unsigned>(body.size()));
  return number(data.size()) + body + number(sum);
}

/// The file with a chunk more before its pixels.
std::string with_chunk(const std::string& png, const std::string& more) {
  return std::string(png).insert(png.find("IDAT") - 4, more);
}

TEST_CASE("png: damaged transparency and palettes are no pictures", "[datasets][captioning][image]") {
  const std::string palette = png_file(1, 4, {0b00011011}, {PNG_COLOR_TYPE_PALETTE, 2});
  const std::string grey = png_file(1, 3, {7, 0, 255}, {PNG_COLOR_TYPE_GRAY});
  const auto reason = [](const std::string& file) {
    const std::string error = error_text<FormatError>([&] { decode_image(file, "a.png"); });
    CHECK_THAT(error, StartsWith("a.png: damaged PNG picture (") && ContainsSubstring("); get it again"));
    return error.substr(28, error.size() - 28 - 15);
  };
  std::string wrong = palette;
  const size_t transparency = palette.find("tRNS");
  wrong[transparency + 4] = '\x7F';
  CHECK(reason(wrong) == "tRNS: CRC error");
  wrong = palette;
  wrong[transparency + 3] = 's';  // another chunk now, which nobody would miss
  CHECK_THAT(reason(wrong), ContainsSubstring("CRC error"));
  // Longer than the palette; of the wrong length; twice; behind what it should precede.
  CHECK_THAT(reason(with_chunk(grey, chunk("tRNS", "abc"))), StartsWith("tRNS: "));
  CHECK_THAT(reason(with_chunk(palette, chunk("tRNS", "abcd"))), StartsWith("tRNS: "));
  std::string early = palette;
  early.erase(transparency - 4, 16);
  CHECK_THAT(reason(std::string(early).insert(early.find("PLTE") - 4, chunk("tRNS", "a"))), StartsWith("tRNS: "));
  CHECK_THAT(reason(with_chunk(early, chunk("tRNS", "abcde"))), StartsWith("tRNS: "));

  // A pixel without a colour, whatever the number of bits.
  for (const auto& [depth, row, number] : {std::tuple(4, Bytes{0x03, 0x25}, 5), {8, Bytes{0, 1, 3, 4}, 4}}) {
    for (bool interlaced : {false, true}) {
      const int64_t width = depth == 4 ? 4 : std::ssize(row);
      CHECK(reason(png_file(1, width, row, {PNG_COLOR_TYPE_PALETTE, depth, interlaced})) ==
            fmt::format("pixel 3 has colour {} of a palette of 4", number));
    }
  }
  CHECK(decode_image(png_file(1, 4, {0x01, 0x23}, {PNG_COLOR_TYPE_PALETTE, 4}), "a").pixels ==
        Bytes{255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255});
  // Half opaque green of a palette.
  CHECK(decode_image(with_chunk(early, chunk("tRNS", std::string("\xFF\x80", 2))), "a").pixels ==
        Bytes{255, 0, 0, 127, 255, 127, 0, 0, 255, 255, 255, 255});
}

TEST_CASE("png: texts and profiles are passed over, not unpacked", "[datasets][captioning][image]") {
  // 4 MB of zeros in 4 KB.
  const std::string zeros(size_t{4} << 20, '\0');
  std::string packed(compressBound(zeros.size()), '\0');
  uLongf size = packed.size();
  REQUIRE(compress2(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(zeros.data()),
                    zeros.size(), 9) == Z_OK);
  packed.resize(size);
  const Image picture = gradient_picture(13, 9);
  std::string more;
  for (int i = 0; i < 800; ++i) {
    more += chunk("zTXt", std::string("key\0\0", 5) + packed);
    more += chunk("iTXt", std::string("key\0\1\0\0\0", 8) + packed);
  }
  more += chunk("iCCP", std::string("key\0\0", 5) + packed) + chunk("eXIf", exif(6, true).substr(6));
  std::string file = with_chunk(encode_png(picture), more);
  file.insert(file.rfind("IEND") - 4, more);
  const std::clock_t begin = std::clock();
  CHECK(decode_image(file, "a") == picture);
  CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < 1);
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
  // Nothing is read of what cannot be a picture, and of a picture not more than it may have.
  const std::string large = directory.write("large.png", std::string(1, '\0'));
  std::filesystem::resize_file(large, uintmax_t{20} << 30);
  CHECK(error_text<FormatError>([&] { read_image(large); }) == large + ": begins with '" + [] {
    std::string zeros;
    for (int i = 0; i < 12; ++i) zeros += "\\x00";
    return zeros;
  }() + "', expected a JPEG or PNG picture");
  directory.write("large.png", encode_png(picture));
  std::filesystem::resize_file(large, uintmax_t{20} << 30);
  CHECK(error_text<FormatError>([&] { read_image(large, {.max_pixels = 1000}); }) ==
        large + ": 21474836480 bytes and more, expected at most 16785216 for a picture of 1000 pixels");
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
