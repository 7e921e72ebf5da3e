// The three programs learn in bfloat16 what they learn in float32.

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "datasets/bilingual.h"
#include "datasets/reviews.h"
#include "examples/captioning/trainer.h"
#include "examples/sentiment/corpus.h"
#include "examples/sentiment/trainer.h"
#include "examples/support/placement.h"
#include "examples/translation/trainer.h"
#include "framework/random.h"
#include "tests/support/captioning.h"

namespace attune::examples {
namespace {

constexpr int kSteps = 40;
constexpr int kLast = 10;  // steps whose losses are compared

/// Makes the trainer of a precision; what it refers to outlives it.
using MakeTrainer = std::function<std::unique_ptr<TrainerBase>(const std::string& precision)>;

/// The same seed, data and dropout in both precisions.
void check_both(const MakeTrainer& make) {
  double first[2] = {}, last[2] = {};
  for (const int i : {0, 1}) {
    const std::unique_ptr<TrainerBase> trainer = make(precision_names()[static_cast<size_t>(i)]);
    for (int step = 0; step < kSteps; ++step) {
      const double loss = trainer->report_step().figures[0].value;
      if (step == 0) first[i] = loss;
      if (step >= kSteps - kLast) last[i] += loss / kLast;
    }
    CHECK(std::isfinite(trainer->report_evaluation().figures[0].value));
    for (const auto& [name, tensor] : trainer->checkpoint().tensors("model")) CHECK(tensor.dtype() == DType::kFloat32);
    // Either precision goes on with what the other has learned.
    const std::unique_ptr<TrainerBase> other = make(precision_names()[static_cast<size_t>(1 - i)]);
    other->restore(trainer->checkpoint());
    const RandomState random = default_stream().state();
    const double theirs = other->report_step().figures[0].value;
    default_stream().set_state(random);
    CHECK(std::abs(theirs - trainer->report_step().figures[0].value) < 0.01 * first[i]);
  }
  INFO(first[0] << " -> " << last[0] << " in float32, " << first[1] << " -> " << last[1] << " in bfloat16");
  CHECK(first[0] != first[1]);
  CHECK(std::abs(first[1] - first[0]) < 0.01 * first[0]);
  CHECK(last[0] < 0.9 * first[0]);
  CHECK(std::abs(last[1] - last[0]) < 0.03 * first[0]);
}

TEST_CASE("sentiment is learned in bfloat16 as in float32", "[sentiment][training][precision]") {
  Config config;
  config.model = {.members = 2, .dim = 32, .heads = 2, .blocks = 1, .ffn_dim = 64, .neighbours = 1};
  config.training.warmup = 0;
  config.training.batch_size = 16;
  config.training.epochs = 20;
  ClassificationData data;
  data.examples = generate_reviews({.count = 64, .split = ReviewSplit::kTrain});
  const Vocabulary vocabulary = make_vocabulary(config.text, data);
  check_both([&](const std::string& precision) {
    config.run.precision = precision;
    return std::make_unique<Trainer>(config, vocabulary, encode(config.text, vocabulary, data).sequences,
                                     encode(config.text, vocabulary, data).sequences);
  });
}

TEST_CASE("translation is learned in bfloat16 as in float32", "[translation][training][precision]") {
  using namespace translation;
  translation::Config config;
  SECTION("Transformer") {}
  SECTION("recurrent, with attention") { config = translation::preset("rnn-additive"); }
  config.text = {.codec = "words", .joint = false, .vocabulary = 0, .max_length = 40};
  config.model.dim = config.model.hidden = config.model.ffn_dim = 32;
  config.model.encoder_blocks = config.model.decoder_blocks = 1;
  config.model.heads = 2;
  config.model.sharing = "target";
  config.training.epochs = 50;
  config.training.max_tokens = 200;
  config.training.warmup = 4;
  config.training.learning_rate = 5e-3;
  config.run.source = "en";
  config.run.target = "es";
  const auto pairs = [] { return to_corpus(generate_bilingual({.count = 30}), "pairs"); };
  const translation::Corpus corpus{.train = pairs(), .val = pairs()};
  const TextSides sides = learn_sides(config, corpus.train);
  const translation::TrainingData data = encode(config, sides, corpus);
  check_both([&](const std::string& precision) {
    config.run.precision = precision;
    return std::make_unique<translation::Trainer>(config, sides, data);
  });
}

TEST_CASE("captions are learned in bfloat16 as in float32", "[captioning][training][precision]") {
  using namespace captioning;
  captioning::Config config = captioning::preset("scenes");
  SECTION("convolutions and soft attention") { config.training.doubly_stochastic = 1; }
  SECTION("patches and a Transformer") {
    config.model.encoder = "patch";
    config.model.decoder = "transformer";
    config.training.words = 0.1;
  }
  testing::shrink(config);
  config.text = {.min_count = 1, .max_length = 20};
  config.training.pictures = 4;
  config.training.captions_per_picture = 5;
  config.training.warmup = 2;
  config.training.learning_rate = 5e-3;
  config.training.epochs = 20;
  config.run.scenes = 24;
  const std::shared_ptr<const TextCodec> codec = learn_words(load_corpus(config.run).train.captions, 1);
  const captioning::TrainingData data = encode(config, *codec, load_corpus(config.run));
  check_both([&](const std::string& precision) {
    config.run.precision = precision;
    return std::make_unique<captioning::Trainer>(config, codec, data);
  });
}

}  // namespace
}  // namespace attune::examples
