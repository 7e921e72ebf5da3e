#include "examples/sentiment/evaluate.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"

namespace attune::examples {

std::string Scores::to_json() const {
  return nlohmann::ordered_json{
      {"accuracy", confusion.accuracy()}, {"f1", confusion.f1()}, {"loss", loss}, {"count", confusion.total()}}
      .dump();
}

Scores evaluate(SentimentModel& model, Loader& loader) {
  const NoGrad no_grad;
  const bool training = model.training();
  model.eval();
  constexpr double kLeast = 1e-12;  // of a probability, so that one error cannot make the mean infinite
  Scores scores;
  Mean loss;
  while (const Batch* batch = loader.next()) {
    const Tensor logits = model(batch->tokens, batch->lengths).value().to(Device::cpu());
    const int64_t* label = batch->labels.data<int64_t>();
    for (int64_t b = 0; b < batch->labels.numel(); ++b) {
      const double positive = SentimentModel::probability(logits, b);
      loss.add(-std::log(std::max(label[b] == 1 ? positive : 1 - positive, kLeast)));
      scores.confusion.add(label[b], positive > 0.5 ? 1 : 0);
    }
  }
  scores.loss = loss.value();
  model.train(training);
  return scores;
}

}  // namespace attune::examples
