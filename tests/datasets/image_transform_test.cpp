#include "datasets/image_transform.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/pictures.h"

namespace attune {
namespace {

using testing::error_text;
using testing::gradient_picture;
using Bytes = std::vector<uint8_t>;

Image grey_row(const Bytes& values) {
  Image image{1, static_cast<int64_t>(values.size()), {}};
  for (uint8_t value : values) image.pixels.insert(image.pixels.end(), 3, value);
  return image;
}

Bytes greys(const Image& image) {
  Bytes values;
  for (size_t i = 0; i < image.pixels.size(); i += 3) values.push_back(image.pixels[i]);
  return values;
}

/// One pixel of the definition: a triangle over both axes, in floating point.
double by_definition(const Image& image, const ImageRegion& region, int64_t height, int64_t width, int64_t y, int64_t x,
                     int64_t channel) {
  const auto weight = [](double at, double begin, double extent, int64_t out, int64_t i) {
    const double scale = extent / static_cast<double>(out);
    const double center = begin + (static_cast<double>(i) + 0.5) * scale;
    return std::max(0.0, 1 - std::abs(at + 0.5 - center) / std::max(1.0, scale));
  };
  double sum = 0;
  double weights = 0;
  for (int64_t r = 0; r < image.height; ++r) {
    for (int64_t c = 0; c < image.width; ++c) {
      const double w = weight(static_cast<double>(r), region.top, region.height, height, y) *
                       weight(static_cast<double>(c), region.left, region.width, width, x);
      weights += w;
      sum += w * image.pixels[static_cast<size_t>((r * image.width + c) * 3 + channel)];
    }
  }
  return sum / weights;
}

TEST_CASE("resize is the sum of its definition", "[datasets][captioning][image]") {
  struct Row {
    int64_t height, width, new_height, new_width;
    ImageRegion region;
  };
  const Row rows[] = {{12, 15, 5, 7, {0, 0, 12, 15}},
                      {6, 5, 13, 9, {0, 0, 6, 5}},
                      {9, 9, 9, 9, {1.3, 0.2, 6.9, 8.1}},
                      {7, 11, 3, 20, {0.5, 2, 6, 7.25}},
                      {1, 1, 4, 4, {0, 0, 1, 1}}};
  for (const Row& row : rows) {
    const Image image = gradient_picture(row.height, row.width);
    const Image out = resize(image, row.region, row.new_height, row.new_width);
    REQUIRE(out.pixels.size() == static_cast<size_t>(row.new_height * row.new_width * 3));
    double worst = 0;
    for (int64_t y = 0; y < row.new_height; ++y) {
      for (int64_t x = 0; x < row.new_width; ++x) {
        for (int64_t c = 0; c < 3; ++c) {
          const double expected = by_definition(image, row.region, row.new_height, row.new_width, y, x, c);
          const auto got = out.pixels[static_cast<size_t>((y * row.new_width + x) * 3 + c)];
          worst = std::max(worst, std::abs(expected - got));
        }
      }
    }
    CHECK(worst < 1.01);  // rounded once for each axis
  }
  // Halved: four pixels with weights 1, 3, 3, 1 of 8, at the ends those that there are.
  CHECK(greys(resize(grey_row({0, 0, 255, 255}), 1, 2)) == Bytes{36, 219});
  CHECK(greys(resize(grey_row({80, 80, 80}), 1, 50)) == Bytes(50, 80));
  const Image same = gradient_picture(8, 9);
  CHECK(resize(same, 8, 9) == same);
}

TEST_CASE("pictures are fitted, cropped and mirrored", "[datasets][captioning][image]") {
  const Image wide = grey_row({10, 20, 30, 40, 50, 60});
  CHECK(greys(crop(wide, 0, 1, 1, 3)) == Bytes{20, 30, 40});
  CHECK(greys(center_crop(wide, 1, 2)) == Bytes{30, 40});
  CHECK(greys(fit(wide, ImageFit::kCrop, 1, 1)) == Bytes{35});
  CHECK(greys(fit(wide, ImageFit::kStretch, 1, 6)) == greys(wide));
  const Image large = gradient_picture(20, 40);
  const Image middle = fit(large, ImageFit::kCrop, 20, 20);
  CHECK(middle == crop(large, 0, 10, 20, 20));
  Image two{1, 2, {1, 2, 3, 4, 5, 6}};
  CHECK(flip_horizontally(two).pixels == Bytes{4, 5, 6, 1, 2, 3});
  CHECK(flip_horizontally(flip_horizontally(large)) == large);
  CHECK(flip_horizontally(large) != large);

  CHECK(error_text<ValueError>([&] { crop(wide, 0, 4, 1, 3); }) ==
        "crop: 3 x 1 pixels at (4, 0) are not within the picture of 6 x 1 pixels");
  CHECK_THROWS_AS(center_crop(wide, 2, 2), ValueError);
  CHECK_THROWS_AS(crop(wide, 0, std::numeric_limits<int64_t>::max(), 1, 1), ValueError);
  CHECK(error_text<ValueError>([&] { resize(wide, 0, 5); }) ==
        "resize: 5 x 0 pixels asked for, expected at least 1 x 1");
  CHECK(error_text<ValueError>([&] {
          resize(wide, {0, 2, 1, 4.5}, 1, 1);
        }) == "resize: the region 4.5 x 1 at (2, 0) is not within the picture of 6 x 1 pixels");
  CHECK_THROWS_AS(resize(wide, {0, std::nan(""), 1, 1}, 1, 1), ValueError);
  CHECK_THROWS_AS(resize(Image{}, 2, 2), ValueError);
}

TEST_CASE("pictures become numbers", "[datasets][captioning][image]") {
  const Image pixel{1, 1, {255, 51, 0}};
  const Image other{1, 1, {0, 0, 0}};
  const ImageNormalisation plain{.mean = {0, 0, 0}, .stddev = {1, 1, 1}};
  const Tensor tensor = to_tensor(std::vector<Image>{pixel, other}, {.mean = {0.5, 0.2f, 0}, .stddev = {0.25, 1, 2}});
  CHECK(tensor.shape() == Shape{2, 1, 1, 3});
  const auto values = tensor.to_vector<float>();
  const float expected[] = {2, 0, 0, -2, -0.2f, 0};
  for (size_t i = 0; i < 6; ++i) CHECK(values[i] == Catch::Approx(expected[i]).margin(1e-6));

  const auto coloured = [&](const Image& image, const ImageColours& colours) {
    std::vector<float> out(image.pixels.size());
    to_floats(image, colours, plain, out.data());
    return out;
  };
  const auto brighter = coloured(pixel, {.brightness = 1.5f});
  CHECK(brighter[0] == 1);  // limited
  CHECK(brighter[1] == Catch::Approx(0.3));
  // Without contrast everything is the mean grey; without saturation every pixel its own.
  const Image row{1, 2, {255, 0, 0, 0, 0, 255}};
  const auto flat = coloured(row, {.contrast = 0});
  for (float value : flat) CHECK(value == Catch::Approx((0.299 + 0.114) / 2));
  const auto pale = coloured(row, {.saturation = 0});
  CHECK(pale[1] == Catch::Approx(0.299));
  CHECK(pale[4] == Catch::Approx(0.114));

  CHECK(error_text<ShapeError>([&] {
          to_tensor(std::vector<Image>{pixel, row});
        }) == "to_tensor: picture 1 is 2 x 1, expected 1 x 1 as picture 0; resize it");
  CHECK_THROWS_AS(to_tensor({}), ShapeError);
}

TEST_CASE("augmentation draws within its settings, each by itself", "[datasets][captioning][image]") {
  const ImageAugmentation all{.min_area = 0.5, .max_stretch = 1.3, .flip = 0.25, .brightness = 0.4, .contrast = 0.2};
  int mirrored = 0;
  double least = 1;
  for (uint64_t i = 0; i < 400; ++i) {
    RandomStream random(RandomState{7, i << 8});
    const ImageChange change = draw_change(all, 30, 60, random);
    const double area = change.region.height * change.region.width / 1800;
    CHECK(change.region.top >= 0);
    CHECK(change.region.left >= 0);
    CHECK(change.region.top + change.region.height <= 30);
    CHECK(change.region.left + change.region.width <= 60);
    CHECK(area <= 1);
    least = std::min(least, area);
    mirrored += change.mirrored;
    CHECK(std::abs(change.colours.brightness - 1) <= 0.4f);
    CHECK(std::abs(change.colours.contrast - 1) <= 0.2f);
    CHECK(change.colours.saturation == 1);
    CHECK(random.state().offset == (i << 8) + 8);
    // Another setting draws the same for the rest.
    RandomStream again(RandomState{7, i << 8});
    ImageAugmentation only_colour;
    only_colour.brightness = 0.4;
    CHECK(draw_change(only_colour, 30, 60, again).colours.brightness == change.colours.brightness);
  }
  CHECK(least < 0.55);
  CHECK(least > 0.4);
  CHECK(mirrored > 70);
  CHECK(mirrored < 130);

  // Nothing to change: the picture.
  const Image picture = gradient_picture(10, 12);
  RandomStream random(1);
  std::vector<float> changed(picture.pixels.size());
  std::vector<float> unchanged(picture.pixels.size());
  to_floats(picture, draw_change({}, 10, 12, random), {}, changed.data());
  to_floats(picture, ImageColours{}, {}, unchanged.data());
  CHECK(changed == unchanged);
  to_floats(picture, draw_change({.flip = 1}, 10, 12, random), {}, changed.data());
  to_floats(flip_horizontally(picture), ImageColours{}, {}, unchanged.data());
  CHECK(changed == unchanged);

  CHECK(error_text<ValueError>([] { check(ImageAugmentation{.min_area = 0}); }) ==
        "augmentation: min_area is 0, expected above 0 and at most 1");
  CHECK(error_text<ValueError>([] { check(ImageAugmentation{.max_stretch = 0.5}); }) ==
        "augmentation: max_stretch is 0.5, expected 1 or more");
  CHECK(error_text<ValueError>([] { check(ImageAugmentation{.flip = 2}); }) ==
        "augmentation: flip is 2, expected 0 to 1");
}

}  // namespace
}  // namespace attune
