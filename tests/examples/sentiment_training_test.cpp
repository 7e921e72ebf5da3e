#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <string>

#include "datasets/reviews.h"
#include "examples/sentiment/corpus.h"
#include "examples/sentiment/trainer.h"
#include "examples/support/finite.h"
#include "framework/device.h"
#include "framework/storage.h"
#include "tests/support/errors.h"

namespace attune::examples {
namespace {

using Catch::Approx;

ClassificationData reviews(int64_t count, ReviewSplit split = ReviewSplit::kTrain) {
  ClassificationData data;
  data.examples = generate_reviews({.count = count, .split = split});
  return data;
}

Config small_config() {
  Config config;
  config.model = {.dim = 32, .heads = 2, .blocks = 1, .ffn_dim = 64};
  config.training.warmup = 0;
  return config;
}

struct Session {
  Session(const Config& config, int64_t count)
      : train(reviews(count)),
        vocabulary(make_vocabulary(config.text, train)),
        trainer(config, vocabulary, encode(config.text, vocabulary, train).sequences,
                encode(config.text, vocabulary, train).sequences) {}

  ClassificationData train;
  Vocabulary vocabulary;
  Trainer trainer;
};

TEST_CASE("the classifier learns 8 texts by heart, whatever its parts", "[sentiment][training]") {
  const auto learns = [](ModelConfig model) {
    Config config = small_config();
    config.model = std::move(model);
    config.model.dropout = config.model.embedding_dropout = config.model.head_dropout = 0;
    config.training.epochs = 80;
    config.training.learning_rate = 3e-3;
    Session session(config, 8);
    while (!session.trainer.done()) session.trainer.train_step();
    const Scores scores = session.trainer.evaluate().scores;
    CHECK(scores.confusion.accuracy() == 1);
    CHECK(scores.loss < 0.05);
  };
  const ModelConfig plain = small_config().model;
  for (const char* positions : {"sinusoidal", "learned", "none"}) {
    DYNAMIC_SECTION(positions) {
      ModelConfig model = plain;
      model.positions = positions;
      learns(model);
    }
  }
  for (const char* pooling : {"mean", "first"}) {
    DYNAMIC_SECTION(pooling) {
      ModelConfig model = plain;
      model.pooling = pooling;
      model.norm_first = false;
      learns(model);
    }
  }
  for (const char* attention : {"additive", "linear", "performer", "linformer", "relative"}) {
    DYNAMIC_SECTION(attention) {
      ModelConfig model = plain;
      model.attention = attention;
      learns(model);
    }
  }
  SECTION("members and neighbours") {
    ModelConfig model = plain;
    model.members = 3;
    model.neighbours = 2;
    learns(model);
  }
}

TEST_CASE("the first steps on the embedded reviews have known losses", "[sentiment][training]") {
  Config config = small_config();
  config.training.average_decay = 0.99;
  config.training.word_dropout = 0.1;
  config.training.label_smoothing = 0.1;
  config.training.epochs = 2;
  Session session(config, 512);
  const double expected[] = {0.759902, 0.809090, 0.670697, 0.782612};
  for (const double loss : expected) CHECK(session.trainer.train_step().loss == Approx(loss).epsilon(1e-4));
  while (!session.trainer.done()) session.trainer.train_step();
  CHECK(session.trainer.evaluate().scores.loss == Approx(0.739388).epsilon(1e-3));
}

TEST_CASE("a classifier without an evaluation, or of NaN only, has no best", "[sentiment]") {
  Session session(small_config(), 64);
  Trainer& trainer = session.trainer;
  CHECK_FALSE(trainer.has_best());
  CHECK(trainer.summary() == "no evaluation yet that could be the best");
  CHECK(trainer.result()["accuracy"].is_null());
  CHECK(trainer.result()["best_step"].is_null());
  const StateDict good = clone(trainer.weights().tensors("model"));
  NamedTensors bad = clone(good);
  bad.front().second.fill_(std::nan(""));
  trainer.set_weights(bad);
  const Trainer::Evaluation broken = trainer.evaluate();
  CHECK(std::isnan(broken.scores.loss));
  CHECK_FALSE(broken.best);
  CHECK_FALSE(trainer.has_best());
  trainer.set_weights(good);
  CHECK(trainer.evaluate().best);
  CHECK(trainer.has_best());
  // The step is not made: the loss is looked at first.
  trainer.set_weights(bad);
  CHECK(testing::error_text<NotFinite>([&] { trainer.train_step(); }).starts_with("step 1: the loss is "));
  CHECK(trainer.step() == 0);
}

TEST_CASE("padding and company in a batch change nothing", "[sentiment]") {
  const Config config = small_config();
  SentimentModel model({.members = 2, .dim = 32, .heads = 2, .blocks = 2, .ffn_dim = 64, .neighbours = 2}, 50,
                       config.text.max_length);
  model.eval();
  const Tensor alone = Tensor::from(std::vector<int64_t>{3, 4, 5}, {1, 3});
  const Tensor batch = Tensor::from(std::vector<int64_t>{3, 4, 5, 0, 0, 9, 8, 7, 6, 5}, {2, 5});
  const Tensor one = model(alone, Tensor::from(std::vector<int64_t>{3}, {1})).value();
  const Tensor two = model(batch, Tensor::from(std::vector<int64_t>{3, 5}, {2})).value();
  CHECK(SentimentModel::probabilities(one).select(0, 0).item() ==
        Approx(SentimentModel::probabilities(two).select(0, 0).item()).epsilon(1e-5));
}

TEST_CASE("after the first epoch training asks the system for no memory", "[sentiment][steady]") {
  Config config = small_config();
  config.training.word_dropout = 0.1;
  config.training.average_decay = 0.99;
  config.training.epochs = 4;
  Session session(config, 1000);
  Trainer& trainer = session.trainer;
  while (trainer.step() < 2 * trainer.steps_per_epoch()) trainer.train_step();
  trainer.evaluate();
  const uint64_t before = memory_stats().system_allocations;
  while (!trainer.done()) trainer.train_step();
  trainer.evaluate();
  CHECK(memory_stats().system_allocations == before);
}

}  // namespace
}  // namespace attune::examples
