#pragma once

#include <string>

#include "datasets/loader.h"
#include "datasets/metrics.h"
#include "examples/sentiment/model.h"
#include "examples/support/partial_evaluation.h"

namespace attune::examples {

/// How a model does on labelled texts.
struct Scores {
  double loss = 0;  ///< mean of -log(probability of the label)
  ConfusionMatrix confusion{SentimentModel::kClasses};

  /// {"accuracy":0.83,"f1":0.84,"loss":0.41,"count":872}
  std::string to_json() const;
};

/// One epoch of `loader`, without gradients and dropout; the model is left in the mode it was in. parts: what has been
/// found of it already. Throws Interrupted where work may be interrupted.
Scores evaluate(SentimentModel& model, Loader& loader, PartialEvaluation& parts);
inline Scores evaluate(SentimentModel& model, Loader& loader) {
  PartialEvaluation parts;
  return evaluate(model, loader, parts);
}

}  // namespace attune::examples
