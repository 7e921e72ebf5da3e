#include "examples/translation/trainer.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "datasets/bilingual.h"
#include "examples/support/finite.h"
#include "examples/support/interrupts.h"
#include "framework/error.h"
#include "framework/storage.h"
#include "tests/support/errors.h"
#include "tests/support/heap_counter.h"
#include "tests/support/paths.h"

namespace attune::examples::translation {
namespace {

using Catch::Approx;
using testing::read_bytes;
using testing::TemporaryDirectory;

Config small_config() {
  Config config;
  config.text = {.codec = "words", .joint = false, .vocabulary = 0, .max_length = 40};
  config.model = {.dim = 16,
                  .sharing = "target",
                  .encoder_blocks = 1,
                  .decoder_blocks = 1,
                  .heads = 2,
                  .ffn_dim = 32,
                  .hidden = 16};
  config.training.epochs = 3;
  config.training.max_tokens = 200;
  config.training.warmup = 4;
  config.run.source = "en";
  config.run.target = "es";
  return config;
}

/// A trainer on the first pairs of the grammar, which are its validation data too.
struct Session {
  Session(const Config& config, int64_t count)
      : corpus{.train = pairs(count), .val = pairs(count)},
        sides(learn_sides(config, corpus.train)),
        data(encode(config, sides, corpus)),
        trainer(config, sides, data) {}

  static ParallelCorpus pairs(int64_t count) { return to_corpus(generate_bilingual({.count = count}), "pairs"); }

  Corpus corpus;
  TextSides sides;
  TrainingData data;
  Trainer trainer;
};

std::vector<float> values(const NamedTensors& tensors) {
  std::vector<float> all;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.dtype() != DType::kFloat32) continue;
    const std::vector<float> some = tensor.to_vector<float>();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, static_cast<double>(std::abs(a[i] - b[i])));
  return largest;
}

TEST_CASE("a model learns 8 translations by heart, whatever its parts", "[translation][training]") {
  const auto learns = [](const ModelConfig& model) {
    Config config = small_config();
    config.model = model;
    config.model.dim = 32;
    config.model.hidden = 32;
    config.model.dropout = 0;
    config.training.label_smoothing = 0;
    config.training.epochs = 80;
    config.training.learning_rate = 0.01;
    config.training.schedule = "cosine";
    Session session(config, 8);
    while (!session.trainer.done()) session.trainer.train_step();
    const TextScores scores = session.trainer.evaluate().scores;
    CHECK(scores.loss < 0.05);
    CHECK(scores.figure("bleu") == Approx(100));
  };
  ModelConfig model = small_config().model;
  SECTION("transformer") { learns(model); }
  SECTION("post-norm transformer, rotary") {
    model.norm_first = false;
    model.positions = "rotary";
    model.sharing = "none";
    learns(model);
  }
  model.kind = "recurrent";
  SECTION("additive attention") { learns(model); }
  SECTION("no attention") {
    model.attention = "none";
    model.cell = "lstm";
    learns(model);
  }
  SECTION("general attention") {
    model.attention = "general";
    model.form = "luong";
    learns(model);
  }
}

TEST_CASE("every preset makes a model", "[translation]") {
  for (const std::string& name : preset_names()) {
    INFO(name);
    Config config = preset(name);
    check(config, name);
    config.model.dim = 16;
    config.model.heads = 2;
    config.model.hidden = 16;
    TranslationModel model(config.model, 30, 30, 20);
    const Tensor tokens = Tensor::from(std::vector<int64_t>{2, 5, 6, 3}, {1, 4});
    const Variable features = model(tokens, Tensor::from(std::vector<int64_t>{4}, {1}), tokens);
    CHECK(features.shape() == Shape{1, 4, 16});
    CHECK(model.decoder().vocabulary() == 30);
  }
}

TEST_CASE("a trainer restored in the middle of an epoch repeats every step of a translation", "[translation]") {
  const TemporaryDirectory directory;
  Config config = small_config();
  config.training.accumulation = 2;
  config.training.evaluate_every = 3;
  config.training.average_decay = 0.9;
  SECTION("average of the last checkpoints") { config.training.average_last = 2; }
  SECTION("average of the best checkpoints") {
    config.training.average_best = 2;
    config.text = {.joint = true, .vocabulary = 200, .tokenize = true, .max_length = 40};
    config.model.sharing = "all";
    config.training.select = "loss";
  }
  const auto go_on = [](Trainer& trainer, int64_t until) {
    while (trainer.step() < until && !trainer.done()) {
      trainer.train_step();
      if (trainer.evaluation_due()) trainer.evaluate();
    }
  };
  const auto bytes = [&](const Checkpoint& checkpoint) {
    checkpoint.save(directory / "state.h5");
    return read_bytes(directory / "state.h5");
  };

  Session first(config, 120);
  const int64_t middle = first.trainer.steps_per_epoch() + 2;
  REQUIRE(first.trainer.steps_per_epoch() > 2);
  go_on(first.trainer, middle);
  first.trainer.checkpoint().save(directory / "middle.h5");
  go_on(first.trainer, first.trainer.total_steps());

  Session second(config, 120);
  second.trainer.train_step();  // a history of its own, to be forgotten
  second.trainer.evaluate();
  second.trainer.restore(Checkpoint::load(directory / "middle.h5"));
  CHECK(second.trainer.step() == middle);
  go_on(second.trainer, second.trainer.total_steps());
  CHECK(bytes(first.trainer.checkpoint()) == bytes(second.trainer.checkpoint()));
  CHECK(bytes(first.trainer.weights()) == bytes(second.trainer.weights()));

  // What evaluations looked at is what last.h5 and best.h5 stand for.
  first.trainer.checkpoint().save(directory / "last.h5");
  first.trainer.weights().save(directory / "best.h5");
  const Snapshot last = load_snapshot(directory / "last.h5");
  const Snapshot best = load_snapshot(directory / "best.h5");
  CHECK(values(last.model->state_dict()) == values(best.model->state_dict()));
  CHECK(values(last.model->state_dict()) != values(first.trainer.model().state_dict()));
  CHECK(last.source.codec->bytes() == first.sides.source.codec->bytes());
  CHECK((last.source.codec == last.target.codec) == config.text.joint);
}

TEST_CASE("a checkpoint without codecs, or with damaged ones, is named", "[translation]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "model.h5";
  const Session session(small_config(), 8);
  const auto refused = [&](const std::optional<Tensor>& codec, const std::string& text) {
    Checkpoint checkpoint;
    checkpoint.put_text("config", session.trainer.config_json());
    if (codec) checkpoint.put("codec/source", *codec);
    checkpoint.save(path);
    CHECK_THROWS_MATCHES(load_snapshot(path), FormatError,
                         Catch::Matchers::MessageMatches(Catch::Matchers::StartsWith(path + ": ") &&
                                                         Catch::Matchers::ContainsSubstring(text)));
  };
  refused({}, "a checkpoint without codec/source");
  refused(Tensor::zeros({3}), "codec/source is not a codec");
  refused(Tensor::from(std::vector<int64_t>{17, 1, 2}, {3}), "codec/source is not a codec");
  refused(Tensor::from(std::vector<int64_t>{-1, 1, 2}, {3}), "codec/source is not a codec");
  refused(Tensor::from(std::vector<int64_t>{16, 1, 2}, {3}), "");

  Checkpoint sides;
  put_sides(sides, session.sides);
  refused(sides.tensor("codec/source"), "a checkpoint without codec/target");
}

/// After one step these are the gradients.
std::vector<float> first_moments(Session& session) {
  NamedTensors found;
  for (const auto& entry : session.trainer.checkpoint().tensors("optimizer")) {
    if (entry.first.ends_with(".m")) found.push_back(entry);
  }
  return values(found);
}

TEST_CASE("accumulated batches make the step of one large batch", "[translation]") {
  Config config = small_config();
  config.model.dropout = 0;
  config.training.clip_norm = 0;
  config.training.max_tokens = 4000;
  Session large(config, 60);
  REQUIRE(large.trainer.steps_per_epoch() == 1);
  config.training.max_tokens = 200;
  config.training.accumulation = Session(config, 60).trainer.steps_per_epoch();
  REQUIRE(config.training.accumulation > 2);
  Session small(config, 60);

  const Trainer::Step one = large.trainer.train_step();
  const Trainer::Step many = small.trainer.train_step();
  CHECK(many.loss == Approx(one.loss).epsilon(1e-5));
  CHECK(many.tokens == one.tokens);
  CHECK(many.units == one.units);
  const std::vector<float> expected = first_moments(large);
  const double size = largest_difference(expected, std::vector<float>(expected.size()));
  CHECK(size > 1e-4);
  CHECK(largest_difference(first_moments(small), expected) < 1e-4 * size);
}

TEST_CASE("R-Drop counts every pair once, and without dropout is plain training", "[translation]") {
  Config config = small_config();
  config.model.dropout = 0;
  config.training.clip_norm = 0;
  Session plain(config, 60);
  config.training.r_drop = 5;
  Session twice(config, 60);
  CHECK(twice.trainer.steps_per_epoch() == plain.trainer.steps_per_epoch());
  const Trainer::Step one = plain.trainer.train_step();
  const Trainer::Step both = twice.trainer.train_step();
  CHECK(both.loss == Approx(one.loss).epsilon(1e-5));
  CHECK(both.units == one.units);
  const std::vector<float> expected = first_moments(plain);
  const double size = largest_difference(expected, std::vector<float>(expected.size()));
  CHECK(largest_difference(first_moments(twice), expected) < 1e-4 * size);

  config.model.dropout = 0.3;
  Session drawn(config, 60);
  config.training.r_drop = 0;
  Session alone(config, 60);
  CHECK(drawn.trainer.train_step().loss > 1.02 * alone.trainer.train_step().loss);
}

TEST_CASE("weights are the mean of the last checkpoints, or of the best", "[translation]") {
  Config config = small_config();
  config.training.select = "loss";
  const auto mean_of_two = [&](const std::vector<std::vector<float>>& checkpoints, size_t a, size_t b) {
    std::vector<float> mean = checkpoints[a];
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += (checkpoints[b][i] - mean[i]) / 2;
    return mean;
  };
  const auto three = [](Session& session, double* losses) {
    std::vector<std::vector<float>> checkpoints;
    for (int i = 0; i < 3; ++i) {
      session.trainer.train_step();
      checkpoints.push_back(values(session.trainer.model().state_dict()));
      losses[i] = session.trainer.evaluate().scores.loss;
    }
    return checkpoints;
  };
  double losses[3];
  SECTION("last") {
    config.training.average_last = 2;
    Session session(config, 20);
    const auto checkpoints = three(session, losses);
    CHECK(values(session.trainer.weights().tensors("model")) == mean_of_two(checkpoints, 1, 2));
    CHECK(values(session.trainer.model().state_dict()) == checkpoints[2]);
  }
  SECTION("best") {
    config.training.learning_rate = 2;  // goes up and down
    config.training.warmup = 0;
    double own[3];
    const auto checkpoints = [&] {
      Session session(config, 20);
      return three(session, own);
    }();
    const size_t worst = static_cast<size_t>(std::max_element(own, own + 3) - own);
    config.training.average_best = 2;
    Session session(config, 20);
    three(session, losses);
    const std::vector<float> mean = mean_of_two(checkpoints, worst == 0 ? 1 : 0, worst == 2 ? 1 : 2);
    CHECK(largest_difference(values(session.trainer.weights().tensors("model")), mean) < 1e-6);
    CHECK(losses[0] == own[0]);
    CHECK(losses[1] != own[1]);
    if (worst == 2) CHECK(losses[2] == losses[1]);
  }
}

TEST_CASE("training ends when patience does", "[translation]") {
  Config config = small_config();
  config.training.learning_rate = 1e-12;
  config.training.evaluate_every = 1;
  config.training.select = "loss";
  config.training.patience = 2;
  Session session(config, 60);
  Trainer& trainer = session.trainer;
  REQUIRE(trainer.total_steps() > 5);
  while (!trainer.done()) {
    trainer.train_step();
    if (trainer.evaluation_due()) trainer.evaluate();
  }
  CHECK(trainer.step() == 3);
}

TEST_CASE("epochs are counted as the data are gone through, whatever the accumulation", "[translation]") {
  Config config = small_config();
  config.training.select = "loss";
  config.training.epochs = 12;
  const int64_t batches = Session(config, 60).trainer.steps_per_epoch();
  REQUIRE(batches >= 3);
  for (const int64_t accumulation : {int64_t{1}, int64_t{2}, batches - 1, batches, batches + 1, 2 * batches, 1000L}) {
    INFO(accumulation << " batches a step, " << batches << " an epoch");
    config.training.accumulation = accumulation;
    Session session(config, 60);
    Trainer& trainer = session.trainer;
    CHECK(trainer.total_epochs() == 12);
    const int64_t total = trainer.total_steps();
    CHECK(total == (12 * batches + accumulation - 1) / accumulation);
    int64_t evaluations = 0;
    double before = 0;
    while (!trainer.done()) {
      trainer.train_step();
      CHECK(trainer.total_steps() == total);
      CHECK((std::floor(trainer.epochs()) > std::floor(before)) == trainer.evaluation_due());
      before = trainer.epochs();
      if (!trainer.evaluation_due()) continue;
      trainer.evaluate();
      ++evaluations;
    }
    CHECK(trainer.step() == total);
    CHECK(trainer.epochs() == 12);
    CHECK(evaluations == std::min<int64_t>(12, total));
    CHECK_THAT(trainer.history().back(), Catch::Matchers::ContainsSubstring(R"("epoch":12.0,)"));
    CHECK(trainer.evaluations_per_step() == Approx(std::min(1.0, static_cast<double>(accumulation) / batches)));
  }
}

TEST_CASE("where all texts are equally good the loss decides, also about averages and patience", "[translation]") {
  Config config = small_config();
  config.model.dropout = 0;
  config.training.learning_rate = 1e-4;  // the loss falls
  config.training.warmup = 0;
  config.training.evaluate_every = 1;
  config.training.patience = 2;
  config.training.epochs = 4;
  SECTION("average of the best") { config.training.average_best = 2; }
  SECTION("average of the last") { config.training.average_last = 2; }
  SECTION("no average") {}
  Corpus corpus{.train = Session::pairs(60), .val = Session::pairs(60)};
  const TextSides sides = learn_sides(config, corpus.train);
  TrainingData data = encode(config, sides, corpus);
  for (std::string& reference : data.val.references) reference = "qqq";  // no word of it is ever written: BLEU is 0
  Trainer trainer(config, sides, data);
  REQUIRE(trainer.total_steps() > 6);
  double loss = HUGE_VAL;
  std::vector<std::vector<float>> checkpoints;
  while (!trainer.done()) {
    trainer.train_step();
    checkpoints.push_back(values(trainer.model().state_dict()));
    const Trainer::Evaluation found = trainer.evaluate();
    INFO("step " << trainer.step());
    REQUIRE(found.scores.figure("bleu") == 0);
    CHECK(found.scores.loss < loss);
    CHECK(found.best);
    loss = found.scores.loss;
  }
  CHECK(trainer.step() == trainer.total_steps());
  if (config.training.average_best == 0) return;
  std::vector<float> mean = checkpoints.back();
  const std::vector<float>& before = checkpoints[checkpoints.size() - 2];
  for (size_t i = 0; i < mean.size(); ++i) mean[i] += (before[i] - mean[i]) / 2;
  CHECK(largest_difference(values(trainer.weights().tensors("model")), mean) < 1e-6);
}

TEST_CASE("an evaluation that is interrupted or killed goes on where it was", "[translation]") {
  const TemporaryDirectory directory;
  Config config = small_config();
  config.training.evaluate_every = 4;
  config.training.average_decay = 0.9;
  SECTION("average of the last") { config.training.average_last = 2; }
  SECTION("average of the best") { config.training.average_best = 2; }
  const auto bytes = [&](Trainer& trainer) {
    trainer.checkpoint().save(directory / "state.h5");
    return read_bytes(directory / "state.h5");
  };
  const auto train = [](Trainer& trainer, int64_t steps) {
    while (trainer.step() < steps) {
      trainer.train_step();
      if (trainer.evaluation_due() && trainer.step() < steps) trainer.evaluate();
    }
  };
  Session alone(config, 60);
  train(alone.trainer, 8);
  REQUIRE(alone.trainer.evaluation_pending());
  const Trainer::Evaluation expected = alone.trainer.evaluate();
  CHECK_FALSE(alone.trainer.evaluation_pending());

  Session session(config, 60);
  Trainer& trainer = session.trainer;
  train(trainer, 8);
  trainer.partial_evaluation().begin(directory / "evaluation.json", "run", 8, 0);
  struct sigaction before {};
  sigaction(SIGTERM, nullptr, &before);
  catch_interrupts();
  std::raise(SIGTERM);
  {
    const InterruptibleWork work;
    CHECK_THROWS_AS(trainer.evaluate(), Interrupted);
  }
  catch_interrupts();  // forgets it
  sigaction(SIGTERM, &before, nullptr);
  CHECK(trainer.evaluation_pending());
  trainer.checkpoint().save(directory / "interrupted.h5");
  CHECK(trainer.evaluate().scores.loss == expected.scores.loss);  // in the same process
  CHECK(bytes(trainer) == bytes(alone.trainer));

  // Another process: all but the last part are found in the file, so that only that one is computed.
  Session resumed(config, 60);
  resumed.trainer.restore(Checkpoint::load(directory / "interrupted.h5"));
  REQUIRE(resumed.trainer.evaluation_pending());
  resumed.trainer.partial_evaluation().begin(directory / "evaluation.json", "run", 8, 0);
  const Trainer::Evaluation found = resumed.trainer.evaluate();
  CHECK(found.scores.loss == expected.scores.loss);
  CHECK(found.scores.figures == expected.scores.figures);
  CHECK(bytes(resumed.trainer) == bytes(alone.trainer));

  // The file is what counts.
  std::string parts = read_bytes(directory / "evaluation.json");
  const std::string key = "\"average/loss/0\":";
  const size_t at = parts.find(key);
  REQUIRE(at != std::string::npos);
  parts.insert(at + key.size(), "1000");
  directory.write("evaluation.json", parts);
  Session changed(config, 60);
  changed.trainer.restore(Checkpoint::load(directory / "interrupted.h5"));
  changed.trainer.partial_evaluation().begin(directory / "evaluation.json", "run", 8, 0);
  CHECK(changed.trainer.evaluate().scores.loss > expected.scores.loss);
}

TEST_CASE("a loss that is not a number stops the step before the weights learn it", "[translation]") {
  Config config = small_config();
  config.training.clip_norm = 0;
  Session session(config, 20);
  Trainer& trainer = session.trainer;
  trainer.train_step();
  NamedTensors weights = clone(trainer.model().state_dict());
  trainer.set_weights(weights);
  Tensor head = weights.back().second;
  head.fill_(std::nan(""));
  trainer.set_weights(weights);
  const std::string text = testing::error_text<NotFinite>([&] { trainer.train_step(); });
  CHECK_THAT(text, Catch::Matchers::StartsWith("step 2: the loss is ") && Catch::Matchers::EndsWith("nan"));
  CHECK(trainer.step() == 1);
}

TEST_CASE("an evaluation that finds NaN is never the best", "[translation]") {
  Config config = small_config();
  config.training.select = "loss";
  Session session(config, 20);
  Trainer& trainer = session.trainer;
  const NamedTensors good = clone(trainer.model().state_dict());
  NamedTensors bad = clone(good);
  bad.back().second.fill_(std::nan(""));
  trainer.set_weights(bad);
  const Trainer::Evaluation broken = trainer.evaluate();
  CHECK(std::isnan(broken.scores.loss));
  CHECK_FALSE(broken.best);
  CHECK_FALSE(trainer.has_best());
  CHECK(trainer.summary() == "no evaluation yet that could be the best");
  trainer.set_weights(good);
  CHECK(trainer.evaluate().best);
  trainer.set_weights(bad);
  CHECK_FALSE(trainer.evaluate().best);
}

TEST_CASE("after the first epochs translation training asks the system for no memory", "[translation][steady]") {
  Config config = small_config();
  config.training.average_decay = 0.99;
  config.training.average_last = 2;
  config.training.accumulation = 2;
  config.training.epochs = 6;
  Session session(config, 200);
  Trainer& trainer = session.trainer;
  while (trainer.step() < 4 * trainer.steps_per_epoch()) {
    trainer.train_step();
    if (trainer.step() % trainer.steps_per_epoch() == 0) trainer.evaluate();
  }
  const uint64_t before = memory_stats().system_allocations;
  const uint64_t heap = testing::heap_allocations();
  while (!trainer.done()) trainer.train_step();
  CHECK(testing::heap_allocations() == heap);
  CHECK(memory_stats().system_allocations == before);
}

TEST_CASE("settings of a translation that do not fit each other are named", "[translation]") {
  const auto refused = [](const std::string& text, auto&& change) {
    Config config;
    change(config);
    CHECK_THROWS_MATCHES(check(config, "file"), FormatError,
                         Catch::Matchers::MessageMatches(Catch::Matchers::ContainsSubstring(text)));
  };
  refused("file: model.dim is 128 and model.heads 3", [](Config& c) { c.model.heads = 3; });
  refused("model.hidden is 7, expected an even number", [](Config& c) {
    c.model.kind = "recurrent";
    c.model.hidden = 7;
  });
  refused("model.attention is hard-image, which does not fit: it chooses, which has no gradient", [](Config& c) {
    c.model.kind = "recurrent";
    c.model.attention = "hard-image";
  });
  refused("model.sharing is all and text.joint false", [](Config& c) { c.text.joint = false; });
  refused("text.vocabulary is 0, expected the number of bpe pieces", [](Config& c) { c.text.vocabulary = 0; });
  refused("text.dropout is 0.1 and text.codec unigram, expected bpe", [](Config& c) {
    c.text.codec = "unigram";
    c.text.dropout = 0.1;
  });
  refused("training.learning_rate is 0", [](Config& c) { c.training.learning_rate = 0; });
  refused("training.max_tokens is 100 and text.max_length 256", [](Config& c) { c.training.max_tokens = 100; });
  refused("training.average_last is 2 and training.average_best 3", [](Config& c) {
    c.training.average_last = 2;
    c.training.average_best = 3;
  });

  Config config = preset("transformer-tiny");
  config.run = {.data = "a \"b\"", .source = "de", .target = "en", .seed = 5, .threads = 3, .steps = 12};
  Config copy;
  settings_of(copy).update_from_json(to_json(config), "config.json");
  CHECK(copy == config);
}

}  // namespace
}  // namespace attune::examples::translation
