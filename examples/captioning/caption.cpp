#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "datasets/image_transform.h"
#include "examples/captioning/caption_page.h"
#include "examples/captioning/captioner.h"
#include "examples/captioning/commands.h"
#include "examples/captioning/corpus.h"
#include "examples/captioning/overlay.h"
#include "examples/captioning/snapshot.h"
#include "examples/support/notice.h"
#include "framework/atomic_file.h"
#include "framework/fail.h"

namespace attune::examples::captioning {
namespace {

constexpr size_t kTogether = 32;     // pictures that are answered together
constexpr int64_t kScenes = 8;       // shown of the embedded set
constexpr int64_t kShownSide = 512;  // of a picture on a page, at most
constexpr size_t kMostShown = 100;   // pictures on a page
constexpr size_t kMostOfAName = 40;  // characters in the name of a file

struct NamedPicture {
  std::string name;
  Image shown;   ///< as people look at it
  Image fitted;  ///< as the model takes it
};

/// Letters and digits of a text, the rest as '_'.
std::string plain_name(const std::string& text) {
  std::string name = text.substr(0, kMostOfAName);
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0 && c != '-'; }, '_');
  return name;
}

/// What is printed and shown of the captions.
class Answers {
 public:
  /// named: every caption is printed with the name of its picture.
  Answers(const CaptionOptions& options, const Captioner& captioner, bool named)
      : options_(options), captioner_(captioner), named_(named) {
    if (!options.png) return;
    std::error_code error;
    std::filesystem::create_directories(*options.png, error);
    require<IoError>(!error, "{}: cannot be created: {}", *options.png, error.message());
  }

  void add(std::vector<NamedPicture> pictures) {
    if (pictures.empty()) return;
    std::vector<Image> fitted;
    for (NamedPicture& picture : pictures) fitted.push_back(std::move(picture.fitted));
    const Tensor tensor = attune::to_tensor(fitted);
    std::vector<std::vector<int64_t>> tokens;
    for (std::vector<Caption>& captions : captioner_(tensor)) {
      print(pictures[tokens.size()].name, captions.front());
      tokens.push_back(std::move(captions.front().tokens));
    }
    std::fflush(stdout);
    if (!options_.html && !options_.png) return;
    std::vector<Tensor> looked = captioner_.attention(tensor, tokens);
    for (size_t i = 0; i < pictures.size(); ++i) {
      ++number_;
      ShownCaption caption{.name = std::move(pictures[i].name),
                           .picture = std::move(pictures[i].shown),
                           .words = {},
                           .weights = std::move(looked[i])};
      for (const int64_t token : tokens[i]) caption.words.push_back(captioner_.parts().codec.token(token));
      if (options_.png) write_overlays(caption);
      if (options_.html && shown_.size() < kMostShown) shown_.push_back(std::move(caption));
    }
  }

  void write_page() const {
    if (!options_.html || shown_.empty()) return;
    write_file_atomically(*options_.html, caption_page(shown_, grid(), {.title = "attune-captioning: captions"}));
    if (number_ > kMostShown) notice("{} shows the first {} pictures", *options_.html, kMostShown);
  }

 private:
  void print(const std::string& name, const Caption& found) const {
    if (options_.json) {
      const nlohmann::ordered_json json{
          {"image", name}, {"caption", found.text}, {"score", found.score}, {"log_probability", found.log_probability}};
      fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    } else {
      if (named_) fmt::print("{}\t", one_line(name));
      fmt::print("{}\n", one_line(found.text));
    }
  }

  RegionGrid grid() const { return captioner_.parts().model.encoder().grid(); }

  void write_overlays(const ShownCaption& caption) const {
    require<ValueError>(caption.weights.defined(),
                        "--png {}: this model does not look at regions of a picture, expected one with attention",
                        *options_.png);
    const std::string stem = plain_name(std::filesystem::path(caption.name).stem().string());
    for (size_t t = 0; t < caption.words.size(); ++t) {
      const std::vector<float> weights = caption.weights.select(0, static_cast<int64_t>(t)).to_vector<float>();
      const std::string file = fmt::format("{:03}-{}-{:02}-{}.png", number_, stem, t + 1, plain_name(caption.words[t]));
      write_png((std::filesystem::path(*options_.png) / file).string(), overlay(caption.picture, weights, grid()));
    }
  }

  const CaptionOptions& options_;
  const Captioner& captioner_;
  bool named_;
  size_t number_ = 0;  // of pictures so far
  std::vector<ShownCaption> shown_;
};

std::vector<NamedPicture> embedded_scenes(int64_t size) {
  const PictureSet scenes = embedded_pictures(SceneSplit::kTest, kScenes, size);
  std::vector<NamedPicture> pictures;
  Image scratch;
  for (int64_t i = 0; i < scenes.pictures->size(); ++i) {
    const Image& picture = scenes.pictures->at(i, scratch);
    pictures.push_back({scenes.captions[static_cast<size_t>(i)].name, picture, picture});
  }
  return pictures;
}

}  // namespace

int caption(const CaptionOptions& options) {
  const Snapshot snapshot = load_snapshot(options.checkpoint);
  place(*snapshot.model, options.placement);
  const RunConfig& run = snapshot.config.run;
  const Captioner captioner(parts_of(snapshot), search_settings(options));
  Answers answers(options, captioner, options.images.size() != 1);
  if (options.images.empty()) {
    if (!run.data.empty()) {
      throw UsageError(fmt::format("IMAGE is missing: {} was trained on {}, not on the embedded scenes",
                                   options.checkpoint, run.data));
    }
    answers.add(embedded_scenes(run.image_size));
  }

  bool damaged = false;
  std::vector<NamedPicture> together;
  for (const std::string& path : options.images) {
    try {
      const Image whole = read_image(path);
      together.push_back({path, at_most(whole, kShownSide), resize(whole, run.image_size, run.image_size)});
    } catch (const Error& error) {
      damaged = true;
      notice("error: {}", one_line(error.what()));
    }
    if (together.size() == kTogether) answers.add(std::exchange(together, {}));
  }
  answers.add(std::move(together));
  answers.write_page();
  return damaged ? 1 : 0;
}

}  // namespace attune::examples::captioning
