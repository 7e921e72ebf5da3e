#include "examples/captioning/validation.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "autograd/tape.h"
#include "examples/captioning/captioner.h"
#include "examples/support/finite.h"
#include "examples/support/interrupts.h"
#include "layers/loss.h"

namespace attune::examples::captioning {
namespace {

constexpr int64_t kBatchPictures = 64;
constexpr int64_t kSharedCaptions = 5;  // that a picture is read for once

}  // namespace

double mean_loss(CaptioningModel& model, CaptionLoader& loader, PartialEvaluation& parts) {
  const NoGrad no_grad;
  const Evaluating evaluating(model);
  const CrossEntropyLoss cross_entropy({.ignore_index = TextCodec::kPad, .reduction = Reduction::kSum});
  double sum = 0;
  int64_t tokens = 0;
  rewind(loader);
  for (int64_t number = 0; const CaptionBatch* batch = loader.next(); ++number) {
    sum += number_or_nan(parts.part(fmt::format("loss/{}", number), [&] {
      end_if_interrupted();
      const Variable features = model(batch->pictures, batch->picture_of, batch->target_in);
      return cross_entropy(features, model.decoder().head(), batch->target_out).item();
    }));
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

TextScores Validator::scores(CaptioningModel& model, int64_t max_length, PartialEvaluation& parts) {
  TextScores scores{.loss = mean_loss(model, loader_, parts)};
  if (!references_) return scores;
  const Captioner captioner({.model = model, .codec = *codec_, .max_length = max_length});
  std::vector<std::string> captions;
  const std::span<const int64_t> numbers = numbers_;
  const auto most = static_cast<size_t>(captioner.batch());
  for (size_t begin = 0; begin < numbers.size(); begin += most) {
    const PartialEvaluation::Json texts = parts.part(fmt::format("captions/{}", begin), [&] {
      PartialEvaluation::Json found;
      const auto batch = numbers.subspan(begin, std::min(most, numbers.size() - begin));
      for (const std::vector<Caption>& best : captioner(*pictures_, batch)) found.push_back(best.front().text);
      return found;
    });
    for (const PartialEvaluation::Json& text : texts) captions.push_back(text);
  }
  const CaptionScores found = references_->score(captions);
  scores.figures = {
      {"bleu1", found.bleu.front()}, {"bleu4", found.bleu.back()}, {"cider", found.cider}, {"rouge_l", found.rouge_l}};
  return scores;
}

TextScores Validator::operator()(CaptioningModel& model, PartialEvaluation& parts) {
  return scores(model, max_length_, parts);
}

TextScores Validator::rehearse(CaptioningModel& model) {
  PartialEvaluation parts;  // of nothing
  // A model that has learned nothing does not end its captions.
  constexpr double kLonger = 1.3;  // than the mean: the last of a batch are waited for
  const Sequences& captions = loader_.data().captions;
  const double mean = static_cast<double>(captions.token_count()) / static_cast<double>(captions.size());
  return scores(model, std::min(max_length_, static_cast<int64_t>(std::ceil(kLonger * mean))), parts);
}

}  // namespace attune::examples::captioning
