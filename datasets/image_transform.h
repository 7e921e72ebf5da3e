#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "datasets/image.h"
#include "framework/random.h"
#include "framework/tensor.h"

namespace attune {

/// A rectangle of a picture, in pixels from its upper left corner; edges may lie between pixels.
struct ImageRegion {
  double top = 0;
  double left = 0;
  double height = 0;
  double width = 0;
};

/// The region in another size, bilinear and antialiased: each axis by itself, the pixels of the picture weighted by a
/// triangle as wide as two pixels of whichever picture has the larger ones. Sums are of integers, the same on every
/// machine. Throws ValueError for extents below 1 and a region that is empty or not within the picture.
Image resize(const Image& image, const ImageRegion& region, int64_t height, int64_t width);
/// The whole picture in another size.
Image resize(const Image& image, int64_t height, int64_t width);

/// How a picture comes to another shape.
enum class ImageFit : uint8_t {
  kStretch,  ///< all of it is there, its aspect ratio is lost
  kCrop      ///< what lies in the middle is there, as large as possible
};

/// The picture in another size and shape.
Image fit(const Image& image, ImageFit how, int64_t height, int64_t width);

/// Pixels [top, top + height) x [left, left + width). Throws ValueError for what is not within the picture.
Image crop(const Image& image, int64_t top, int64_t left, int64_t height, int64_t width);
Image center_crop(const Image& image, int64_t height, int64_t width);
Image flip_horizontally(const Image& image);

/// x = (value / 255 - mean) / stddev by channel; as preset, what is usual for photographs (the statistics of ImageNet).
struct ImageNormalisation {
  std::array<float, 3> mean = {0.485f, 0.456f, 0.406f};
  std::array<float, 3> stddev = {0.229f, 0.224f, 0.225f};
};

/// Factors of brightness, contrast and saturation, applied in this order, values limited to 0 ... 1 after each:
/// x -> b x;  x -> c x + (1 - c) mean grey of the picture;  x -> s x + (1 - s) grey of the pixel;
/// grey = 0.299 R + 0.587 G + 0.114 B.
struct ImageColours {
  float brightness = 1;
  float contrast = 1;
  float saturation = 1;

  bool operator==(const ImageColours&) const = default;
};

/// Writes a picture as a model reads it, float32 [height, width, 3], to `out`.
void to_floats(const Image& image, const ImageColours& colours, const ImageNormalisation& normalisation, float* out);

/// Pictures of one size -> float32 [B, height, width, 3]. Throws ShapeError for none and for another size, by number.
Tensor to_tensor(std::span<const Image> images, const ImageNormalisation& normalisation = {});

/// What training changes at random in a picture, each time in another way. As preset: nothing.
struct ImageAugmentation {
  /// A region is cut out and brought to the full size: at least this share of the picture's area, up to all of it,
  double min_area = 1;
  /// its aspect ratio changed by a factor between 1 / max_stretch and max_stretch.
  double max_stretch = 1;
  /// Probability of being mirrored. Where captions say "left" and "right": 0.
  double flip = 0;
  /// Factors of ImageColours are drawn from [1 - x, 1 + x].
  double brightness = 0;
  double contrast = 0;
  double saturation = 0;
};

/// Throws ValueError, naming the setting, for a value outside its range: min_area in (0, 1], max_stretch at least 1,
/// the others in [0, 1].
void check(const ImageAugmentation& augmentation);

/// What has been drawn for one picture.
struct ImageChange {
  ImageRegion region;
  bool mirrored = false;
  ImageColours colours;
};

/// Draws eight numbers whatever the settings are, so that one setting does not change what another one draws.
ImageChange draw_change(const ImageAugmentation& augmentation, int64_t height, int64_t width, RandomStream& random);

/// The picture, changed, as a model reads it: float32 [height, width, 3], its own size, to `out`.
void to_floats(const Image& image, const ImageChange& change, const ImageNormalisation& normalisation, float* out);

}  // namespace attune
