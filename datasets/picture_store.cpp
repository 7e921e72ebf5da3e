#include "datasets/picture_store.h"

#include <algorithm>
#include <utility>

#include "framework/fail.h"
#include "framework/kernels/cpu/parallel.h"

namespace attune {

PictureStore::PictureStore(std::vector<std::string> paths, const PictureStoreOptions& options)
    : paths_(std::move(paths)), options_(options), size_(static_cast<int64_t>(paths_.size())) {
  require<ValueError>(options.height > 0 && options.width > 0 && options.max_bytes >= 0,
                      "pictures: {} x {} pixels and {} bytes of memory asked for, expected at least 1 x 1 and 0",
                      options.width, options.height, options.max_bytes);
  const int64_t fitting = options.max_bytes / (options.height * options.width * 3);
  pictures_.resize(static_cast<size_t>(std::min(size_, fitting)));
  std::vector<std::string> reasons(pictures_.size());
  cpu::parallel_tasks(cached(), [&](int64_t number) {
    try {
      pictures_[static_cast<size_t>(number)] = load(number);
    } catch (const Error& error) {
      reasons[static_cast<size_t>(number)] = error.what();
    }
  });
  for (size_t i = 0; i < reasons.size(); ++i) {
    if (!reasons[i].empty()) unreadable_.push_back({static_cast<int64_t>(i), std::move(reasons[i])});
  }
}

PictureStore::PictureStore(std::vector<Image> pictures)
    : size_(static_cast<int64_t>(pictures.size())), pictures_(std::move(pictures)) {
  require<ShapeError>(!pictures_.empty(), "pictures: none given, expected at least one");
  options_.height = pictures_[0].height;
  options_.width = pictures_[0].width;
  for (size_t i = 0; i < pictures_.size(); ++i) {
    require<ShapeError>(pictures_[i].height == height() && pictures_[i].width == width(),
                        "pictures: number {} is {} x {}, expected {} x {} as number 0", i, pictures_[i].width,
                        pictures_[i].height, width(), height());
  }
}

bool PictureStore::readable(int64_t number) const {
  const auto found =
      std::lower_bound(unreadable_.begin(), unreadable_.end(), number,
                       [](const UnreadablePicture& picture, int64_t wanted) { return picture.number < wanted; });
  return found == unreadable_.end() || found->number != number;
}

std::string PictureStore::to_string() const {
  constexpr size_t kNamed = 3;
  const auto kept = cached() - static_cast<int64_t>(unreadable_.size());
  std::string text = fmt::format("{} pictures of {} x {}, {} of them in memory ({} MiB)", size_, width(), height(),
                                 kept, (kept * height() * width() * 3) >> 20);
  if (unreadable_.empty()) return text;
  text += fmt::format(", {} unreadable: ", unreadable_.size());
  for (size_t i = 0; i < std::min(kNamed, unreadable_.size()); ++i) {
    text += (i > 0 ? "; " : "") + unreadable_[i].reason;
  }
  return unreadable_.size() > kNamed ? text + "; ..." : text;
}

const Image& PictureStore::at(int64_t number, Image& scratch) const {
  require<ValueError>(number >= 0 && number < size_, "pictures: number {} asked for, expected 0 to {}", number,
                      size_ - 1);
  if (number >= cached()) return scratch = load(number);
  require<ValueError>(readable(number), "pictures: number {} asked for, which cannot be read", number);
  return pictures_[static_cast<size_t>(number)];
}

Image PictureStore::load(int64_t number) const {
  const Image picture = read_image(paths_[static_cast<size_t>(number)], options_.read);
  return fit(picture, options_.fit, options_.height, options_.width);
}

}  // namespace attune
