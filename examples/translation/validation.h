#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/pair_loader.h"
#include "datasets/scores/bleu.h"
#include "examples/support/text_trainer.h"
#include "examples/translation/config.h"
#include "examples/translation/corpus.h"
#include "examples/translation/model.h"
#include "examples/translation/snapshot.h"

namespace attune::examples::translation {

/// Scores of models on the same pairs again and again.
class Validator {
 public:
  Validator(const Config& config, TextSides sides, const Validation& data);

  /// Without gradients and dropout; the model is left in the mode it was in. Translations are greedy. Figure "bleu", 0
  /// to 100, unless training.select is loss.
  /// parts: what has been found of it already. Throws Interrupted where work may be interrupted.
  TextScores operator()(TranslationModel& model, PartialEvaluation& parts);
  /// The same with translations about as long as those of a trained model, whatever this one would write.
  TextScores rehearse(TranslationModel& model);

 private:
  TextScores scores(TranslationModel& model, int64_t max_length, PartialEvaluation& parts);
  double bleu(TranslationModel& model, int64_t max_length, PartialEvaluation& parts) const;

  TextConfig text_;
  bool tokenised_;
  std::string target_language_;
  TextSides sides_;
  PairLoader loader_;
  std::vector<std::vector<int64_t>> sources_;  // to be translated
  std::vector<std::string> references_;
};

/// The mean loss over an epoch of `loader`, as TextScores has it. parts: what has been found of it already.
double mean_loss(TranslationModel& model, PairLoader& loader, PartialEvaluation& parts);
inline double mean_loss(TranslationModel& model, PairLoader& loader) {
  PartialEvaluation parts;
  return mean_loss(model, loader, parts);
}

}  // namespace attune::examples::translation
