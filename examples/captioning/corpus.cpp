#include "examples/captioning/corpus.h"

#include <utility>

#include "framework/fail.h"

namespace attune::examples::captioning {

PictureSet embedded_pictures(SceneSplit split, int64_t count, int64_t size) {
  PictureSet set;
  set.scenes = generate_scenes({.count = count, .split = split, .size = size});
  set.captions = to_captions(set.scenes);
  std::vector<Image> pictures;
  // The scene keeps its boxes; its pixels move.
  for (Scene& scene : set.scenes) pictures.push_back(std::move(scene.picture));
  set.pictures = std::make_shared<PictureStore>(std::move(pictures));
  set.description = fmt::format("{} embedded scenes with {} captions", count, count * 5);
  return set;
}

PictureSet read_pictures(const std::string& folder, const std::string& split, const PictureStoreOptions& options) {
  CaptionData data = read_captions(folder, {.split = split});
  PictureSet set;
  set.pictures = std::make_shared<PictureStore>(data.paths(), options);
  const std::vector<UnreadablePicture>& unreadable = set.pictures->unreadable();
  require<FormatError>(unreadable.size() < data.pictures.size(), "{}: none of {} pictures can be read, the first: {}",
                       folder, data.pictures.size(), unreadable.empty() ? "" : unreadable[0].reason);
  set.description = data.to_string() + "\n" + set.pictures->to_string();
  set.captions = std::move(data.pictures);
  return set;
}

std::unique_ptr<TextCodec> learn_words(const std::vector<CaptionedPicture>& pictures, int64_t min_count) {
  std::vector<std::string> sentences;
  for (const CaptionedPicture& picture : pictures) {
    sentences.insert(sentences.end(), picture.captions.begin(), picture.captions.end());
  }
  return train_codec({sentences}, {.kind = CodecKind::kWords,
                                   .size = 0,
                                   .min_count = min_count,
                                   .words = {.lower_case = true, .split_punctuation = false}});
}

}  // namespace attune::examples::captioning
