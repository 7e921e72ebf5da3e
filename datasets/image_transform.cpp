#include "datasets/image_transform.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "framework/fail.h"

namespace attune {
namespace {

constexpr int64_t kChannels = 3;
// Weights are multiples of 2^-kFraction: sums of 255 times weights that add up to 1 stay within 31 bits.
constexpr int kFraction = 22;
constexpr int32_t kHalf = 1 << (kFraction - 1);

/// Which pixels of an axis make pixel i of the new one, and how much of each.
struct Taps {
  struct Run {
    int64_t begin;  // first pixel
    int64_t count;
    size_t weights;  // where theirs begin
  };
  std::vector<Run> runs;
  std::vector<int32_t> weights;

  Taps(double begin, double extent, int64_t in, int64_t out) {
    const double scale = extent / static_cast<double>(out);
    const double reach = std::max(scale, 1.0);
    std::vector<double> run;
    for (int64_t i = 0; i < out; ++i) {
      const double center = begin + (static_cast<double>(i) + 0.5) * scale;
      const auto first = std::max<int64_t>(0, static_cast<int64_t>(std::floor(center - reach)));
      const auto last = std::min<int64_t>(in, static_cast<int64_t>(std::ceil(center + reach)));
      run.clear();
      double sum = 0;
      for (int64_t x = first; x < last; ++x) {
        run.push_back(std::max(0.0, 1 - std::abs(static_cast<double>(x) + 0.5 - center) / reach));
        sum += run.back();
      }
      runs.push_back({first, last - first, weights.size()});
      for (double weight : run) weights.push_back(static_cast<int32_t>(std::lround(weight / sum * (1 << kFraction))));
    }
  }
};

uint8_t rounded(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kFraction, 0, 255)); }

const uint8_t* row_of(const Image& image, int64_t row) { return image.pixels.data() + row * image.width * kChannels; }

/// Rows [begin, end) of the picture, every one in the new width.
Image resize_rows(const Image& image, const Taps& taps, int64_t begin, int64_t end) {
  const auto width = static_cast<int64_t>(taps.runs.size());
  Image out{end - begin, width, std::vector<uint8_t>(static_cast<size_t>((end - begin) * width * kChannels))};
  uint8_t* to = out.pixels.data();
  for (int64_t row = begin; row < end; ++row) {
    const uint8_t* from = row_of(image, row);
    for (const Taps::Run& run : taps.runs) {
      int32_t sums[kChannels] = {kHalf, kHalf, kHalf};
      const uint8_t* pixel = from + run.begin * kChannels;
      for (int64_t i = 0; i < run.count; ++i) {
        const int32_t weight = taps.weights[run.weights + static_cast<size_t>(i)];
        for (int32_t& sum : sums) sum += weight * *pixel++;
      }
      for (int32_t sum : sums) *to++ = rounded(sum);
    }
  }
  return out;
}

/// The picture in the new height; its first row is number `first` of the taps.
Image resize_columns(const Image& image, const Taps& taps, int64_t first) {
  const auto height = static_cast<int64_t>(taps.runs.size());
  const auto elements = static_cast<size_t>(image.width * kChannels);
  Image out{height, image.width, std::vector<uint8_t>(static_cast<size_t>(height) * elements)};
  std::vector<int32_t> sums(elements);
  uint8_t* to = out.pixels.data();
  for (const Taps::Run& run : taps.runs) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int64_t i = 0; i < run.count; ++i) {
      const int32_t weight = taps.weights[run.weights + static_cast<size_t>(i)];
      const uint8_t* from = row_of(image, run.begin - first + i);
      for (size_t e = 0; e < elements; ++e) sums[e] += weight * from[e];
    }
    for (int32_t sum : sums) *to++ = rounded(sum);
  }
  return out;
}

float grey(const float* rgb) { return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2]; }

/// x * factor + other * (1 - factor), within 0 ... 1.
void blend(float* rgb, float factor, float other) {
  for (int64_t c = 0; c < kChannels; ++c) rgb[c] = std::clamp(rgb[c] * factor + other * (1 - factor), 0.0f, 1.0f);
}

/// x: values of 0 ... 1, `count` pixels.
void recolour(float* x, int64_t count, const ImageColours& colours) {
  for (int64_t i = 0; i < count; ++i) blend(x + i * kChannels, colours.brightness, 0);
  if (colours.contrast != 1) {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(grey(x + i * kChannels));
    const auto mean = static_cast<float>(sum / static_cast<double>(count));
    for (int64_t i = 0; i < count; ++i) blend(x + i * kChannels, colours.contrast, mean);
  }
  if (colours.saturation != 1) {
    for (int64_t i = 0; i < count; ++i) blend(x + i * kChannels, colours.saturation, grey(x + i * kChannels));
  }
}

}  // namespace

Image resize(const Image& image, const ImageRegion& region, int64_t height, int64_t width) {
  require<ValueError>(height > 0 && width > 0, "resize: {} x {} pixels asked for, expected at least 1 x 1", width,
                      height);
  const auto image_height = static_cast<double>(image.height);
  const auto image_width = static_cast<double>(image.width);
  require<ValueError>(region.top >= 0 && region.left >= 0 && region.height > 0 && region.width > 0 &&
                          region.top + region.height <= image_height && region.left + region.width <= image_width,
                      "resize: the region {} x {} at ({}, {}) is not within the picture of {} x {} pixels",
                      region.width, region.height, region.left, region.top, image.width, image.height);
  if (region.height == image_height && region.width == image_width && height == image.height && width == image.width) {
    return image;
  }
  const Taps across(region.left, region.width, image.width, width);
  const Taps down(region.top, region.height, image.height, height);
  const int64_t first = down.runs.front().begin;
  const int64_t last = down.runs.back().begin + down.runs.back().count;
  return resize_columns(resize_rows(image, across, first, last), down, first);
}

Image resize(const Image& image, int64_t height, int64_t width) {
  return resize(image, {0, 0, static_cast<double>(image.height), static_cast<double>(image.width)}, height, width);
}

Image fit(const Image& image, ImageFit how, int64_t height, int64_t width) {
  if (how == ImageFit::kStretch || height < 1 || width < 1) return resize(image, height, width);
  const auto image_height = static_cast<double>(image.height);
  const auto image_width = static_cast<double>(image.width);
  const double scale = std::min(image_height / static_cast<double>(height), image_width / static_cast<double>(width));
  ImageRegion region;
  region.height = std::min(image_height, scale * static_cast<double>(height));
  region.width = std::min(image_width, scale * static_cast<double>(width));
  region.top = (image_height - region.height) / 2;
  region.left = (image_width - region.width) / 2;
  return resize(image, region, height, width);
}

Image crop(const Image& image, int64_t top, int64_t left, int64_t height, int64_t width) {
  require<ValueError>(
      top >= 0 && left >= 0 && height > 0 && width > 0 && height <= image.height - top && width <= image.width - left,
      "crop: {} x {} pixels at ({}, {}) are not within the picture of {} x {} pixels", width, height, left, top,
      image.width, image.height);
  Image out{height, width, {}};
  out.pixels.reserve(static_cast<size_t>(height * width * kChannels));
  for (int64_t row = top; row < top + height; ++row) {
    const uint8_t* from = row_of(image, row) + left * kChannels;
    out.pixels.insert(out.pixels.end(), from, from + width * kChannels);
  }
  return out;
}

Image center_crop(const Image& image, int64_t height, int64_t width) {
  return crop(image, (image.height - height) / 2, (image.width - width) / 2, height, width);
}

Image flip_horizontally(const Image& image) {
  Image out = image;
  for (int64_t row = 0; row < image.height; ++row) {
    uint8_t* begin = out.pixels.data() + row * image.width * kChannels;
    std::reverse(begin, begin + image.width * kChannels);
    for (int64_t x = 0; x < image.width; ++x) std::swap(begin[x * kChannels], begin[x * kChannels + 2]);
  }
  return out;
}

void to_floats(const Image& image, const ImageColours& colours, const ImageNormalisation& normalisation, float* out) {
  const auto count = static_cast<int64_t>(image.pixels.size());
  std::array<float, kChannels> factor{};
  std::array<float, kChannels> offset{};
  for (size_t c = 0; c < kChannels; ++c) {
    factor[c] = 1 / normalisation.stddev[c];
    offset[c] = -normalisation.mean[c] / normalisation.stddev[c];
  }
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(image.pixels[static_cast<size_t>(i)]) / 255;
  if (colours != ImageColours{}) recolour(out, count / kChannels, colours);
  for (int64_t i = 0; i < count; i += kChannels) {
    for (size_t c = 0; c < kChannels; ++c)
      out[i + static_cast<int64_t>(c)] = out[i + static_cast<int64_t>(c)] * factor[c] + offset[c];
  }
}

Tensor to_tensor(std::span<const Image> images, const ImageNormalisation& normalisation) {
  require<ShapeError>(!images.empty(), "to_tensor: no pictures given, expected at least one");
  const int64_t height = images[0].height;
  const int64_t width = images[0].width;
  Tensor tensor = Tensor::empty({static_cast<int64_t>(images.size()), height, width, kChannels});
  auto* out = tensor.data<float>();
  for (size_t i = 0; i < images.size(); ++i, out += height * width * kChannels) {
    require<ShapeError>(images[i].height == height && images[i].width == width,
                        "to_tensor: picture {} is {} x {}, expected {} x {} as picture 0; resize it", i,
                        images[i].width, images[i].height, width, height);
    to_floats(images[i], ImageColours{}, normalisation, out);
  }
  return tensor;
}

void check(const ImageAugmentation& augmentation) {
  const auto within = [](const char* setting, double value, double low, double high) {
    require<ValueError>(value >= low && value <= high, "augmentation: {} is {}, expected {} to {}", setting, value, low,
                        high);
  };
  require<ValueError>(augmentation.min_area > 0 && augmentation.min_area <= 1,
                      "augmentation: min_area is {}, expected above 0 and at most 1", augmentation.min_area);
  require<ValueError>(augmentation.max_stretch >= 1 && std::isfinite(augmentation.max_stretch),
                      "augmentation: max_stretch is {}, expected 1 or more", augmentation.max_stretch);
  within("flip", augmentation.flip, 0, 1);
  within("brightness", augmentation.brightness, 0, 1);
  within("contrast", augmentation.contrast, 0, 1);
  within("saturation", augmentation.saturation, 0, 1);
}

ImageChange draw_change(const ImageAugmentation& augmentation, int64_t height, int64_t width, RandomStream& random) {
  const double area = 1 - random.uniform() * (1 - augmentation.min_area);
  const double stretch = std::pow(augmentation.max_stretch, 2 * random.uniform() - 1);
  const auto full_height = static_cast<double>(height);
  const auto full_width = static_cast<double>(width);
  ImageChange change;
  change.region.height = std::min(full_height, full_height * std::sqrt(area / stretch));
  change.region.width = std::min(full_width, full_width * std::sqrt(area * stretch));
  change.region.top = random.uniform() * (full_height - change.region.height);
  change.region.left = random.uniform() * (full_width - change.region.width);
  change.mirrored = random.uniform() < augmentation.flip;
  const auto factor = [&](double most) { return static_cast<float>(1 + (2 * random.uniform() - 1) * most); };
  change.colours.brightness = factor(augmentation.brightness);
  change.colours.contrast = factor(augmentation.contrast);
  change.colours.saturation = factor(augmentation.saturation);
  return change;
}

void to_floats(const Image& image, const ImageChange& change, const ImageNormalisation& normalisation, float* out) {
  Image changed = resize(image, change.region, image.height, image.width);
  if (change.mirrored) changed = flip_horizontally(changed);
  to_floats(changed, change.colours, normalisation, out);
}

}  // namespace attune
