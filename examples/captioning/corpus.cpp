#include "examples/captioning/corpus.h"

#include <algorithm>
#include <utility>

#include "examples/support/table.h"
#include "framework/fail.h"

namespace attune::examples::captioning {
namespace {

constexpr int64_t kValShare = 10;  // training scenes for each that validation looks at

}  // namespace

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

std::vector<int64_t> PictureSet::readable(int64_t most) const {
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < pictures->size() && (most == 0 || std::ssize(numbers) < most); ++i) {
    if (pictures->readable(i)) numbers.push_back(i);
  }
  return numbers;
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

Corpus load_corpus(const RunConfig& run) {
  if (run.data.empty()) {
    return {.train = embedded_pictures(SceneSplit::kTrain, run.scenes, run.image_size),
            .val = embedded_pictures(SceneSplit::kVal, std::max<int64_t>(1, run.scenes / kValShare), run.image_size)};
  }
  const PictureStoreOptions options{.height = run.image_size, .width = run.image_size};
  return {.train = read_pictures(run.data, "train", options), .val = read_pictures(run.data, "dev", options)};
}

TrainingData encode(const Config& config, const TextCodec& codec, Corpus corpus) {
  const int64_t max_length = config.text.max_length;
  TrainingData data{.train = encode_captions(corpus.train.captions, codec, {.max_length = max_length}),
                    .pictures = std::move(corpus.train.pictures),
                    .val = std::move(corpus.val),
                    .val_captions = {},
                    .description = {}};
  data.val_captions =
      encode_captions(data.val.captions, codec, {.max_length = max_length, .overlong = Overlong::kTruncate});
  data.description =
      fmt::format("train: {}\n{}\ndev: {}\n{}; vocabulary {}", corpus.train.description, data.train.to_string(),
                  data.val.description, data.val_captions.to_string(), with_commas(codec.size()));
  return data;
}

}  // namespace attune::examples::captioning
