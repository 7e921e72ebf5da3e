#include "examples/captioning/scores.h"

#include <algorithm>
#include <numeric>

#include "framework/fail.h"

namespace attune::examples::captioning {
namespace {

/// One caption of every scene: the share of each word's attention in the boxes of its objects.
void add_way(const Captioner& captioner, const PictureSet& scenes, const Tensor& pictures, size_t way,
             ObjectAttention& found) {
  const TextCodec& codec = captioner.parts().codec;
  const RegionGrid grid = captioner.parts().model.encoder().grid();
  const std::vector<float> everywhere(static_cast<size_t>(grid.count()), 1);
  std::vector<std::vector<int64_t>> tokens;
  for (const Scene& scene : scenes.scenes) {
    tokens.push_back(codec.encode(scene.captions[way].text));
    // The model takes so many, <eos> not among them here.
    tokens.back().resize(std::min(tokens.back().size(), static_cast<size_t>(captioner.parts().max_length - 1)));
  }
  const std::vector<Tensor> looked = captioner.attention(pictures, tokens);
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!looked[i].defined()) return;
    const Scene& scene = scenes.scenes[i];
    const std::vector<int64_t>& groups = scene.captions[way].group_of_word;
    const std::vector<int64_t> words = codec.words_of(tokens[i]);
    for (size_t t = 0; t < tokens[i].size(); ++t) {
      const int64_t group = words[t] < 0 ? -1 : groups[static_cast<size_t>(words[t])];
      if (group < 0) continue;
      const std::vector<SceneBox>& boxes = scene.groups[static_cast<size_t>(group)];
      const auto inside = [&](const std::vector<float>& weights) {
        return attention_inside(weights, grid.rows, grid.columns, scenes.pictures->height(), boxes);
      };
      found.inside.add(inside(looked[i].select(0, static_cast<int64_t>(t)).to_vector<float>()));
      found.uniform.add(inside(everywhere));
      ++found.words;
    }
  }
}

}  // namespace

References::References(const std::vector<CaptionedPicture>& pictures, std::span<const int64_t> numbers) {
  for (const int64_t number : numbers) {
    const CaptionedPicture& picture = pictures[static_cast<size_t>(number)];
    std::vector<CaptionTokens>& captions = references_.emplace_back();
    for (const std::string& caption : picture.captions) captions.push_back(caption_tokens(caption));
  }
}

int64_t References::size() const {
  int64_t captions = 0;
  for (const std::vector<CaptionTokens>& picture : references_) captions += std::ssize(picture);
  return captions;
}

CaptionScores References::score(std::span<const std::string> captions) const {
  std::vector<CaptionTokens> hypotheses;
  for (const std::string& caption : captions) hypotheses.push_back(caption_tokens(caption));
  return {.bleu = caption_bleu(hypotheses, references_),
          .cider = cider_d(hypotheses, references_),
          .rouge_l = rouge_l(hypotheses, references_)};
}

ObjectAttention attention_on_objects(const Captioner& captioner, const PictureSet& scenes) {
  ObjectAttention found;
  if (scenes.scenes.empty()) return found;
  std::vector<int64_t> numbers(scenes.scenes.size());
  std::iota(numbers.begin(), numbers.end(), 0);
  const Tensor pictures = to_tensor(*scenes.pictures, numbers);
  for (size_t way = 0; way < scenes.scenes.front().captions.size(); ++way) {
    add_way(captioner, scenes, pictures, way, found);
  }
  return found;
}

}  // namespace attune::examples::captioning
