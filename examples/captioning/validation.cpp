#include "examples/captioning/validation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "autograd/tape.h"
#include "examples/captioning/captioner.h"
#include "layers/loss.h"

namespace attune::examples::captioning {
namespace {

constexpr int64_t kBatchPictures = 64;
constexpr int64_t kSharedCaptions = 5;  // that a picture is read for once

}  // namespace

double mean_loss(CaptioningModel& model, CaptionLoader& loader) {
  const NoGrad no_grad;
  const Evaluating evaluating(model);
  const CrossEntropyLoss cross_entropy({.ignore_index = TextCodec::kPad, .reduction = Reduction::kSum});
  double sum = 0;
  int64_t tokens = 0;
  while (const CaptionBatch* batch = loader.next()) {
    const Variable features = model(batch->pictures, batch->picture_of, batch->target_in);
    sum += cross_entropy(features, model.decoder().head(), batch->target_out).item();
    tokens += batch->target_tokens;
  }
  return sum / static_cast<double>(tokens);
}

Validator::Validator(const Config& config, std::shared_ptr<const TextCodec> codec, const TrainingData& data)
    : max_length_(config.text.max_length),
      codec_(std::move(codec)),
      pictures_(data.val.pictures),
      loader_(data.val_captions, data.val.pictures,
              {.loader = {.batches = {.max_examples = kBatchPictures, .shuffle = false}, .prefetch = 0},
               .captions_per_picture = kSharedCaptions}) {
  if (config.training.select == "loss") return;
  numbers_ = data.val.readable(config.training.validation_pictures);
  references_.emplace(data.val.captions, numbers_);
}

TextScores Validator::scores(CaptioningModel& model, int64_t max_length) {
  TextScores scores{.loss = mean_loss(model, loader_)};
  if (!references_) return scores;
  const Captioner captioner({.model = model, .codec = *codec_, .max_length = max_length});
  std::vector<std::string> captions;
  for (std::vector<Caption>& found : captioner(*pictures_, numbers_)) captions.push_back(std::move(found.front().text));
  const CaptionScores found = references_->score(captions);
  scores.figures = {
      {"bleu1", found.bleu.front()}, {"bleu4", found.bleu.back()}, {"cider", found.cider}, {"rouge_l", found.rouge_l}};
  return scores;
}

TextScores Validator::operator()(CaptioningModel& model) { return scores(model, max_length_); }

TextScores Validator::rehearse(CaptioningModel& model) {
  // A model that has learned nothing does not end its captions.
  constexpr double kLonger = 1.3;  // than the mean: the last of a batch are waited for
  const Sequences& captions = loader_.data().captions;
  const double mean = static_cast<double>(captions.token_count()) / static_cast<double>(captions.size());
  return scores(model, std::min(max_length_, static_cast<int64_t>(std::ceil(kLonger * mean))));
}

}  // namespace attune::examples::captioning
