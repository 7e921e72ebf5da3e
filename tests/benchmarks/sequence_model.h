#pragma once

#include <cstdint>
#include <string>

#include "autograd/ops/ops.h"
#include "autograd/optim/adam.h"
#include "autograd/tape.h"
#include "layers/decoding/search.h"
#include "layers/seq2seq/text_decoder.h"

namespace attune::bench {

/// model(inputs...) are the features of the tokens before `target`; token 0 is padding.
template <class Model, class... Inputs>
Variable sequence_loss(Model& model, const Tensor& target, const Inputs&... inputs) {
  const Variable features = model(inputs...);
  const Linear& head = model.decoder().head();
  return linear_cross_entropy(features, head.weight(), head.bias(), target, {.ignore_index = 0});
}

/// A model with a TextDecoder, and its training: forward, backward and Adam through the public API.
template <class Model>
class TrainingStep {
 public:
  template <class... Sizes>
  explicit TrainingStep(const Sizes&... sizes)
      : model_(sizes...), adam_(model_.named_parameters(), {.learning_rate = 1e-4}) {}

  /// As sequence_loss().
  template <class... Inputs>
  double operator()(const Tensor& target, const Inputs&... inputs) {
    const Variable loss = sequence_loss(model_, target, inputs...);
    loss.backward();
    adam_.step();
    return loss.item();
  }

 private:
  Model model_;
  Adam adam_;
};

/// Writes `tokens` tokens about every sample of `source`: a model that has not learned to end writes to the limit.
inline void write_sequences(TextDecoder& decoder, const EncoderOutput& source, int64_t tokens, int64_t beam) {
  const DecodingOptions options{.forbidden = {0}, .max_length = {tokens}, .min_length = tokens};
  const auto generation = decoder.start(source, {.capacity = tokens});
  if (beam == 1) {
    greedy_search(*generation, options);
  } else {
    beam_search(*generation, options, {.width = beam});
  }
}

inline std::string search_name(int64_t beam) { return beam == 1 ? "greedy" : "beam " + std::to_string(beam); }

}  // namespace attune::bench
