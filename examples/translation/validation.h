#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "datasets/pair_loader.h"
#include "datasets/scores/bleu.h"
#include "examples/translation/config.h"
#include "examples/translation/corpus.h"
#include "examples/translation/model.h"
#include "examples/translation/snapshot.h"

namespace attune::examples::translation {

/// How a model does on pairs.
struct Scores {
  double loss = 0;             ///< mean over the target's tokens of -log(probability), without label smoothing
  std::optional<double> bleu;  ///< 0 to 100; none where training.select is loss

  double perplexity() const;
};

/// Scores of models on the same pairs again and again.
class Validator {
 public:
  Validator(const Config& config, TextSides sides, const Validation& data);

  /// Without gradients and dropout; the model is left in the mode it was in. Translations are greedy.
  Scores operator()(TranslationModel& model);
  /// The same with translations about as long as those of a trained model, whatever this one would write.
  Scores rehearse(TranslationModel& model);

 private:
  Scores scores(TranslationModel& model, int64_t max_length);
  double bleu(TranslationModel& model, int64_t max_length) const;

  TextConfig text_;
  bool tokenised_;
  std::string target_language_;
  TextSides sides_;
  PairLoader loader_;
  std::vector<std::vector<int64_t>> sources_;  // to be translated
  std::vector<std::string> references_;
};

/// The mean loss over an epoch of `loader`, as Scores has it.
double mean_loss(TranslationModel& model, PairLoader& loader);

}  // namespace attune::examples::translation
