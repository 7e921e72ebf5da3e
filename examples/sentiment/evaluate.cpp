#include "examples/sentiment/evaluate.h"

#include <nlohmann/json.hpp>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace attune::examples {

std::string Scores::to_json() const {
  return nlohmann::ordered_json{
      {"accuracy", confusion.accuracy()}, {"f1", confusion.f1()}, {"loss", loss}, {"count", confusion.total()}}
      .dump();
}

int64_t predicted_class(const float* logits) { return logits[1] > logits[0] ? 1 : 0; }

Scores evaluate(SentimentModel& model, Loader& loader) {
  const NoGrad no_grad;
  const bool training = model.training();
  model.eval();
  Scores scores;
  Mean loss;
  while (const Batch* batch = loader.next()) {
    const Variable logits = model(batch->tokens, batch->lengths);
    const auto rows = batch->labels.numel();
    loss.add(cross_entropy(logits, batch->labels).item(), static_cast<double>(rows));
    const float* row = logits.value().data<float>();
    const int64_t* label = batch->labels.data<int64_t>();
    for (int64_t b = 0; b < rows; ++b) scores.confusion.add(label[b], predicted_class(row + 2 * b));
  }
  scores.loss = loss.value();
  model.train(training);
  return scores;
}

}  // namespace attune::examples
