#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/image_transform.h"

namespace attune {

struct PictureStoreOptions {
  int64_t height = 128;
  int64_t width = 128;
  ImageFit fit = ImageFit::kStretch;
  /// Most bytes of decoded pictures that are kept; the pictures beyond are decoded each time.
  int64_t max_bytes = int64_t{4} << 30;
  ImageReadOptions read = {};
};

/// A picture that cannot be read, and why: one line that names the file.
struct UnreadablePicture {
  int64_t number = 0;
  std::string reason;
};

/// Numbered pictures of one size, decoded in memory as far as they fit. Reading is safe from several threads.
class PictureStore {
 public:
  /// Decodes files on the threads of the pool; one that cannot be read is kept in mind and used no more. Throws
  /// ValueError for extents below 1 and a negative limit.
  PictureStore(std::vector<std::string> paths, const PictureStoreOptions& options);
  /// Pictures that are there already. Throws ShapeError for none and for pictures of different size, by number.
  explicit PictureStore(std::vector<Image> pictures);

  int64_t size() const { return size_; }
  int64_t height() const { return options_.height; }
  int64_t width() const { return options_.width; }
  /// Pictures that are kept decoded: numbers 0 ... cached() - 1.
  int64_t cached() const { return static_cast<int64_t>(pictures_.size()); }

  /// Pictures among those decoded at the start that cannot be read, by number.
  const std::vector<UnreadablePicture>& unreadable() const { return unreadable_; }
  bool readable(int64_t number) const;
  /// "6000 pictures of 128 x 128, 5998 of them in memory (281 MiB), 2 unreadable: a.jpg: is empty, ..."
  std::string to_string() const;

  /// A picture: the kept one, or decoded into `scratch`. Throws ValueError for a number outside 0 ... size() - 1 and an
  /// unreadable picture; as read_image() for one that is not kept.
  const Image& at(int64_t number, Image& scratch) const;

 private:
  Image load(int64_t number) const;

  std::vector<std::string> paths_;
  PictureStoreOptions options_;
  int64_t size_ = 0;
  std::vector<Image> pictures_;  // of an unreadable one: empty
  std::vector<UnreadablePicture> unreadable_;
};

}  // namespace attune
