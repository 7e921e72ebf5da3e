#include "examples/sentiment/evaluate.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

#include "autograd/tape.h"
#include "examples/support/evaluating.h"
#include "examples/support/finite.h"
#include "examples/support/interrupts.h"
#include "examples/support/loaders.h"

namespace attune::examples {

std::string Scores::to_json() const {
  return nlohmann::ordered_json{
      {"accuracy", confusion.accuracy()}, {"f1", confusion.f1()}, {"loss", loss}, {"count", confusion.total()}}
      .dump();
}

namespace {

/// The probability of "positive" for each row of a batch. NaN stays NaN, whatever it becomes in a file.
PartialEvaluation::Json probabilities(SentimentModel& model, const Batch& batch) {
  const Tensor logits = model(batch.tokens, batch.lengths).value();
  return SentimentModel::probabilities(logits).to_vector<double>();
}

}  // namespace

Scores evaluate(SentimentModel& model, Loader& loader, PartialEvaluation& parts) {
  const NoGrad no_grad;
  const Evaluating evaluating(model);
  constexpr double kLeast = 1e-12;  // of a probability, so that one error cannot make the mean infinite
  Scores scores;
  Mean loss;
  rewind(loader);
  for (int64_t number = 0; const Batch* batch = loader.next(); ++number) {
    const PartialEvaluation::Json found = parts.part(fmt::format("probabilities/{}", number), [&] {
      end_if_interrupted();
      return probabilities(model, *batch);
    });
    const std::vector<int64_t> label = batch->labels.to_vector<int64_t>();
    for (size_t b = 0; b < label.size(); ++b) {
      const double positive = number_or_nan(found.at(b));
      const double probability = label[b] == 1 ? positive : 1 - positive;
      loss.add(-std::log(probability < kLeast ? kLeast : probability));  // NaN stays
      scores.confusion.add(label[b], positive > 0.5 ? 1 : 0);
    }
  }
  scores.loss = loss.value();
  return scores;
}

}  // namespace attune::examples
