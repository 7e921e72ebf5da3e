#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "datasets/caption_loader.h"
#include "datasets/text_codec.h"
#include "examples/captioning/config.h"
#include "examples/captioning/corpus.h"
#include "examples/captioning/model.h"
#include "examples/captioning/scores.h"
#include "examples/support/text_trainer.h"

namespace attune::examples::captioning {

/// Scores of models on the same pictures again and again.
class Validator {
 public:
  Validator(const Config& config, std::shared_ptr<const TextCodec> codec, const TrainingData& data);

  /// Without gradients and dropout; the model is left in the mode it was in. Its captions are greedy; figures "bleu1",
  /// "bleu4", "cider" and "rouge_l", as CaptionScores has them, unless training.select is loss.
  /// parts: what has been found of it already. Throws Interrupted where work may be interrupted.
  TextScores operator()(CaptioningModel& model, PartialEvaluation& parts);
  /// The same with captions about as long as those of a trained model, whatever this one would write.
  TextScores rehearse(CaptioningModel& model);

 private:
  TextScores scores(CaptioningModel& model, int64_t max_length, PartialEvaluation& parts);

  int64_t max_length_;
  std::shared_ptr<const TextCodec> codec_;
  std::shared_ptr<const PictureStore> pictures_;
  std::vector<int64_t> numbers_;  // of the pictures that captions are written for
  std::optional<References> references_;
  CaptionLoader loader_;
};

/// The mean loss over an epoch of `loader`, as TextScores has it. parts: what has been found of it already.
double mean_loss(CaptioningModel& model, CaptionLoader& loader, PartialEvaluation& parts);
inline double mean_loss(CaptioningModel& model, CaptionLoader& loader) {
  PartialEvaluation parts;
  return mean_loss(model, loader, parts);
}

}  // namespace attune::examples::captioning
