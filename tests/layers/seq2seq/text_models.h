#pragma once

// What every pair of a text encoder and a text decoder is tested for.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/optim/adam.h"
#include "autograd/tape.h"
#include "layers/loss.h"
#include "layers/seq2seq/text_encoder.h"
#include "tests/support/gradients.h"

namespace attune::testing {

/// Encoder and decoder in one module. `decoder` may share what the encoder has.
template <class Encoder, class Decoder>
struct TextModel : Module {
  template <class EncoderOptions, class DecoderOptions>
  TextModel(const EncoderOptions& source, const DecoderOptions& target, bool share = false)
      : encoder(child<Encoder>("encoder", source)),
        decoder(child<Decoder>("decoder", target, share ? encoder.embedding().table() : Variable())) {}

  /// Logits by teacher forcing [B, T, V].
  Variable operator()(const Tensor& source, const Tensor& lengths, const Tensor& target) {
    return decoder.head()(decoder(encoder(source, lengths), target));
  }

  Encoder& encoder;
  Decoder& decoder;
};

inline Tensor ids(const std::vector<int64_t>& values, const Shape& shape) { return Tensor::from(values, shape); }

// Ragged sources and targets of 7 tokens.
inline Tensor source_ids() { return ids({1, 2, 3, 4, 5, 6, 1, 0, 0, 0, 3, 3, 5, 0, 0}, {3, 5}); }
inline Tensor source_lengths() { return ids({5, 2, 3}, {3}); }
inline Tensor target_ids() { return ids({0, 4, 4, 1, 0, 2, 6, 5, 0, 3, 1, 3}, {3, 4}); }

/// Column t of ids [B, T].
inline Tensor column(const Tensor& x, int64_t t) { return x.select(1, t).contiguous(); }

/// step() gives what teacher forcing gives; select() gives what sequences that were repeated, dropped and reordered
/// give by themselves; a longer pad and the other samples of a batch change nothing.
template <class Model>
void check_generation(Model& model, DType dtype, double tolerance) {
  randomise(model);
  model.to(dtype);
  model.eval();
  const NoGrad values_only;
  const EncoderOutput source = model.encoder(source_ids(), source_lengths());
  const Tensor whole = model.decoder.head()(model.decoder(source, target_ids())).value();
  auto generation = model.decoder.start(source, {.attention = true});
  CHECK(generation->vocabulary() == 7);
  for (int64_t t = 0; t < 4; ++t) {
    INFO("step " << t);
    CHECK(generation->batch() == 3);
    CHECK(max_difference(generation->step(column(target_ids(), t)), whole.select(1, t)) < tolerance);
    const Tensor weights = generation->attention();
    if (!weights.defined()) continue;
    REQUIRE(weights.shape() == Shape{3, 5});
    for (int64_t b = 0; b < 3; ++b) {
      CHECK(all_zero(weights.select(0, b).slice(0, source_lengths().data<int64_t>()[b], 5)));
    }
  }

  const Tensor longer = Tensor::full({3, 8}, 6, DType::kInt64);
  longer.slice(1, 0, 5).copy_(source_ids());
  CHECK(max_difference(model(longer, source_lengths(), target_ids()).value(), whole) < tolerance);

  auto beams = model.decoder.start(source, {.capacity = 2});
  beams->select(ids({0, 0, 1, 1, 2, 2}, {6}));
  std::vector<std::vector<int64_t>> told(6);  // the tokens that each beam has read
  std::vector<int64_t> sample{0, 0, 1, 1, 2, 2};
  const std::vector<int64_t> moves[] = {{1, 1, 2, 3, 5, 4}, {0, 1, 2, 3, 4, 5}, {5, 2, 2, 0}, {3, 3}};
  int64_t token = 0;
  for (const std::vector<int64_t>& move : moves) {
    std::vector<int64_t> next;
    for (auto& beam : told) {
      beam.push_back(token = (token + 3) % 7);
      next.push_back(token);
    }
    const Tensor logits = beams->step(ids(next, {std::ssize(next)}));
    for (int64_t b = 0; b < std::ssize(told); ++b) {
      const auto& beam = told[static_cast<size_t>(b)];
      const int64_t from = sample[static_cast<size_t>(b)], length = source_lengths().data<int64_t>()[from];
      const Tensor alone = model(source_ids().slice(0, from, from + 1).slice(1, 0, length).contiguous(),
                                 ids({length}, {1}), ids(beam, {1, std::ssize(beam)}))
                               .value();
      CHECK(max_difference(logits.select(0, b), alone.select(0, 0).select(0, std::ssize(beam) - 1)) < tolerance);
    }
    beams->select(ids(move, {std::ssize(move)}));
    CHECK(beams->batch() == std::ssize(move));
    std::vector<std::vector<int64_t>> chosen;
    std::vector<int64_t> samples;
    for (int64_t row : move) {
      chosen.push_back(told[static_cast<size_t>(row)]);
      samples.push_back(sample[static_cast<size_t>(row)]);
    }
    told = chosen;
    sample = samples;
  }
  CHECK(Tape::current().size() == 0);
}

/// Gradients of every parameter along a random direction, in training mode, without dropout.
template <class Model>
void check_text_gradients(Model& model) {
  randomise(model);
  model.to(DType::kFloat64);
  const auto logits = [&] {
    manual_seed(5);
    return model(source_ids(), source_lengths(), target_ids());
  };
  const GradcheckOptions options{.mode = GradcheckMode::kProjections, .projections = 1};
  const GradcheckReport report = gradcheck(std::function<Variable()>(logits), model.named_parameters(), options);
  INFO(report.to_string());
  CHECK(report.ok);
}

/// Trains on 8 pairs until their loss is nearly zero, then writes all of them by greedy search.
template <class Model>
void check_overfitting(Model& model, int64_t steps) {
  constexpr int64_t kPairs = 8, kLength = 5;
  RandomStream words(9);
  std::vector<int64_t> source, target, wanted, lengths;
  for (int64_t i = 0; i < kPairs; ++i) {
    lengths.push_back(kLength - i % 3);
    target.push_back(0);
    for (int64_t t = 0; t < kLength; ++t) {
      source.push_back(1 + static_cast<int64_t>(words.below(6)));
      wanted.push_back(1 + static_cast<int64_t>(words.below(6)));
      if (t + 1 < kLength) target.push_back(wanted.back());
    }
  }
  const Tensor x = ids(source, {kPairs, kLength}), of_x = ids(lengths, {kPairs});
  const Tensor y = ids(target, {kPairs, kLength}), next = ids(wanted, {kPairs, kLength});
  Adam adam(model.named_parameters(), {.learning_rate = 0.01});
  CrossEntropyLoss loss;
  double last = 0;
  for (int64_t step = 0; step < steps; ++step) {
    const Variable now = loss(model.decoder(model.encoder(x, of_x), y), model.decoder.head(), next);
    last = now.item();
    now.backward();
    adam.step();
  }
  CHECK(last < 0.02);
  model.eval();
  const NoGrad values_only;
  auto generation = model.decoder.start(model.encoder(x, of_x), {.capacity = kLength});
  std::vector<int64_t> read(kPairs, 0);
  for (int64_t t = 0; t < kLength; ++t) {
    const std::vector<double> logits = values(generation->step(ids(read, {kPairs})));
    for (int64_t b = 0; b < kPairs; ++b) {
      const auto begin = logits.begin() + b * 7;
      read[static_cast<size_t>(b)] = std::max_element(begin, begin + 7) - begin;
      CHECK(read[static_cast<size_t>(b)] == wanted[static_cast<size_t>(b * kLength + t)]);
    }
  }
}

}  // namespace attune::testing
