// Training of captioning models, step by step and by attune-captioning train from the outside.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "autograd/tape.h"
#include "examples/captioning/attention_loss.h"
#include "examples/captioning/trainer.h"
#include "framework/error.h"
#include "framework/storage.h"
#include "tests/support/captioning.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"
#include "tests/support/tensors.h"
#include "tests/support/training_runs.h"

namespace attune::examples::captioning {
namespace {

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;
using testing::check_error;
using testing::error_text;
using testing::Finished;
using testing::read_bytes;
using testing::run;
using testing::TemporaryDirectory;
using Words = std::vector<std::string>;

constexpr const char* kProgram = "attune-captioning";

/// Small models and few scenes.
Config shrunk(Config config) {
  testing::shrink(config);
  config.text = {.min_count = 1, .max_length = 20};
  config.training.pictures = 4;
  config.training.captions_per_picture = 5;
  config.training.warmup = 2;
  config.training.evaluate_every = 0;
  config.run.scenes = 24;
  return config;
}

Config small_config() { return shrunk(preset("scenes")); }

/// A trainer on embedded scenes.
struct Session {
  explicit Session(const Config& config)
      : codec(learn_words(load_corpus(config.run).train.captions, 1)),
        data(encode(config, *codec, load_corpus(config.run))),
        trainer(config, codec, data) {}

  std::shared_ptr<const TextCodec> codec;
  TrainingData data;
  Trainer trainer;
};

std::vector<float> values(const NamedTensors& tensors) {
  std::vector<float> all;
  for (const auto& [name, tensor] : tensors) {
    const std::vector<float> some = tensor.to_vector<float>();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

void go_on(Trainer& trainer, int64_t until) {
  while (trainer.step() < until && !trainer.done()) {
    trainer.train_step();
    if (trainer.evaluation_due()) trainer.evaluate();
  }
}

TEST_CASE("captions of scenes are learned, whatever the model's parts", "[captioning][training]") {
  Config config = small_config();
  config.model.dropout = 0;
  config.training.learning_rate = 0.01;
  config.training.schedule = "inverse_sqrt";
  config.training.epochs = 15;
  SECTION("soft attention") { config.training.doubly_stochastic = 1; }
  SECTION("hard attention") { config.model.attention = "hard-image"; }
  SECTION("no attention") {
    config.model.attention = "none";
    config.model.cell = "gru";
  }
  SECTION("patches and a Transformer") {
    config.model.encoder = "patch";
    config.model.decoder = "transformer";
    config.model.blind = true;
  }
  Session session(config);
  const double first = session.trainer.train_step().loss;
  double last = first;
  while (!session.trainer.done()) last = session.trainer.train_step().loss;
  CHECK(session.trainer.step() == 90);
  CHECK(first > 2.5);  // some twenty words
  CHECK(last < 0.7 * first);
}

TEST_CASE("every preset makes a model and takes a step", "[captioning][training]") {
  for (const std::string& name : preset_names()) {
    INFO(name);
    Config config = preset(name);
    check(config, name);
    config.training.average_last = 2;
    Session session(shrunk(config));
    const TextTrainer::Step step = session.trainer.train_step();
    CHECK(std::isfinite(step.loss));
    CHECK(step.units == 4);
    CHECK(step.tokens > 5 * step.units * 5);
    const TextScores scores = session.trainer.evaluate().scores;
    CHECK(std::isfinite(scores.loss));
    CHECK(scores.figure("cider").has_value());
    CHECK(session.trainer.model().decoder().vocabulary() == session.codec->size());
  }
}

TEST_CASE("a trainer of captions restored in the middle of an epoch repeats every step", "[captioning][training]") {
  const TemporaryDirectory directory;
  Config config = small_config();
  config.training.epochs = 2;
  config.training.evaluate_every = 2;
  config.training.average_decay = 0.9;
  config.training.min_area = 0.5;
  config.training.brightness = 0.3;
  SECTION("hard attention, average of the last checkpoints") {
    config.model.attention = "hard-image";
    config.training.average_last = 2;
  }
  SECTION("soft attention, average of the best checkpoints") {
    config.training.doubly_stochastic = 1;
    config.training.average_best = 2;
    config.training.select = "bleu4";
  }
  const auto bytes = [&](const Checkpoint& checkpoint) {
    checkpoint.save(directory / "state.h5");
    return read_bytes(directory / "state.h5");
  };

  Session first(config);
  const int64_t middle = first.trainer.steps_per_epoch() + 1;
  REQUIRE(first.trainer.steps_per_epoch() > 2);
  go_on(first.trainer, middle);
  first.trainer.checkpoint().save(directory / "middle.h5");
  go_on(first.trainer, first.trainer.total_steps());

  Session second(config);
  go_on(second.trainer, 2);  // a history of its own, to be forgotten
  second.trainer.restore(Checkpoint::load(directory / "middle.h5"));
  CHECK(second.trainer.step() == middle);
  go_on(second.trainer, second.trainer.total_steps());
  // In brackets: nobody wants to read the bytes.
  CHECK((bytes(first.trainer.checkpoint()) == bytes(second.trainer.checkpoint())));
  CHECK((bytes(first.trainer.weights()) == bytes(second.trainer.weights())));

  // What evaluations looked at is what last.h5 and best.h5 stand for.
  first.trainer.checkpoint().save(directory / "last.h5");
  first.trainer.weights().save(directory / "best.h5");
  const Snapshot last = load_snapshot(directory / "last.h5");
  const Snapshot best = load_snapshot(directory / "best.h5");
  CHECK((values(last.model->state_dict()) == values(best.model->state_dict())));
  CHECK((values(last.model->state_dict()) != values(first.trainer.model().state_dict())));
  CHECK(last.codec->bytes() == first.codec->bytes());
  CHECK_FALSE(last.model->training());
}

TEST_CASE("averages are of weights and of the statistics that belong to them", "[captioning][training]") {
  Config config = small_config();
  config.training.average_decay = 0;
  config.training.average_last = 2;
  config.training.select = "loss";
  Session session(config);
  std::vector<std::vector<float>> checkpoints;
  for (int i = 0; i < 3; ++i) {
    session.trainer.train_step();
    checkpoints.push_back(values(session.trainer.model().state_dict()));
    session.trainer.evaluate();
  }
  const NamedTensors averaged = session.trainer.weights().tensors("model");
  const auto statistics =
      std::count_if(averaged.begin(), averaged.end(), [](const auto& entry) { return entry.first.ends_with("var"); });
  CHECK(statistics > 0);
  const std::vector<float> found = values(averaged);
  REQUIRE(found.size() == checkpoints[2].size());
  double largest = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double mean = (static_cast<double>(checkpoints[1][i]) + checkpoints[2][i]) / 2;
    largest = std::max(largest, std::abs(found[i] - mean));
  }
  CHECK(largest < 1e-6);
  CHECK((values(session.trainer.model().state_dict()) == checkpoints[2]));
}

TEST_CASE("losses of soft and of hard attention", "[captioning][training]") {
  Config config = small_config();
  config.model.dropout = 0;
  config.training.doubly_stochastic = 3;
  const auto loader_of = [](const Session& session) {
    return CaptionLoader(session.data.train, session.data.pictures,
                         {.loader = {.batches = {.max_examples = 3}, .prefetch = 0}, .captions_per_picture = 2});
  };
  SECTION("soft: cross-entropy of the words and the penalty of every caption") {
    Session session(config);
    CaptionLoader loader = loader_of(session);
    const CaptionBatch& batch = *loader.next();
    CaptioningModel& model = session.trainer.model();
    const CaptionLoss::Result result = CaptionLoss(config)(model, batch);
    TaughtAttention taught;
    model.teach(for_captions(model.encoder()(batch.pictures), batch.picture_of), batch.target_in, taught);
    const Variable weights = without_padding(taught.weights, batch.target_lengths);
    const double penalty = doubly_stochastic_penalty(weights, 3).item();
    const auto captions = static_cast<double>(batch.target_lengths.numel());
    CHECK(penalty > 1);
    CHECK(result.loss.item() == Approx(result.cross_entropy.item() + captions * penalty).epsilon(1e-5));
    config.training.doubly_stochastic = 0;
    CHECK(CaptionLoss(config)(model, batch).loss.item() == Approx(result.cross_entropy.item()).epsilon(1e-5));

    config.training.words = 0.5;
    const Variable logits = model.decoder().head()(mean(model.encoder()(batch.pictures).states, {1}));
    const double words = word_likelihood(logits, batch.picture_of, batch.target_out, batch.target_lengths).item();
    CHECK(words < -3 * static_cast<double>(batch.target_tokens));
    CHECK(CaptionLoss(config)(model, batch).loss.item() ==
          Approx(result.cross_entropy.item() - 0.5 * words).epsilon(1e-5));
    config.model.blind = true;
    CHECK(CaptionLoss(config)(model, batch).loss.item() == Approx(result.cross_entropy.item()).epsilon(1e-5));
  }
  SECTION("hard: what is likely is rewarded, compared with what was likely before") {
    config.model.attention = "hard-image";
    config.training.doubly_stochastic = 0;
    config.training.reward = 2;
    config.training.entropy = 0;
    config.training.baseline_decay = 0.5;
    Session session(config);
    CaptionLoader loader = loader_of(session);
    const CaptionBatch& batch = *loader.next();
    CaptioningModel& model = session.trainer.model();
    CaptionLoss loss(config);
    manual_seed(3);
    const CaptionLoss::Result result = loss(model, batch);
    manual_seed(3);  // the same choices
    TaughtAttention taught;
    const Variable features =
        model.teach(for_captions(model.encoder()(batch.pictures), batch.picture_of), batch.target_in, taught);
    const std::vector<float> likelihood =
        log_likelihood(model.decoder().head()(features), batch.target_out, batch.target_lengths)
            .value()
            .to_vector<float>();
    const std::vector<float> choices =
        state_after(taught, batch.target_lengths).log_probability.value().to_vector<float>();
    double words = 0, rewards = 0;
    for (size_t b = 0; b < likelihood.size(); ++b) {
      words -= likelihood[b];
      rewards -= 2.0 * likelihood[b] * choices[b];
    }
    CHECK(result.cross_entropy.item() == Approx(words).epsilon(1e-5));
    CHECK(result.loss.item() == Approx(words + rewards).epsilon(1e-5));
    const NamedTensors state = loss.state_dict();
    REQUIRE(state.size() == 1);
    CHECK(state[0].first == "reinforce.baseline");
    const auto captions = static_cast<double>(likelihood.size());
    CHECK(state[0].second.item() == Approx(-0.5 * words / captions).epsilon(1e-5));
  }
  Tape::current().clear();
}

TEST_CASE("after the first epochs captioning training asks the system for no memory", "[captioning][steady]") {
  Config config = small_config();
  config.training.average_decay = 0.99;
  config.training.doubly_stochastic = 1;
  config.training.epochs = 6;
  Session session(config);
  Trainer& trainer = session.trainer;
  while (trainer.step() < 4 * trainer.steps_per_epoch()) trainer.train_step();
  const uint64_t before = memory_stats().system_allocations;
  while (!trainer.done()) trainer.train_step();
  CHECK(memory_stats().system_allocations == before);
}

TEST_CASE("settings of captioning that do not fit each other are named", "[captioning]") {
  const auto refused = [](const std::string& text, auto&& change) {
    Config config = preset("show-attend-tell");
    change(config);
    CHECK_THAT(error_text<FormatError>([&] { check(config, "file"); }), ContainsSubstring(text));
  };
  refused("file: model.dim is 256 and model.heads 3", [](Config& c) {
    c.model.encoder = "patch";
    c.model.heads = 3;
  });
  refused("training.doubly_stochastic is 1, expected 0", [](Config& c) { c.model.decoder = "transformer"; });
  refused("training.doubly_stochastic is 1, expected 0", [](Config& c) { c.model.attention = "none"; });
  refused("training.label_smoothing is 0.1, expected 0", [](Config& c) {
    c.model.attention = "hard-image";
    c.training.doubly_stochastic = 0;
  });
  refused("training.words is 0.5 and the encoder's states are 128 wide, expected model.dim, 256", [](Config& c) {
    c.training.words = 0.5;
    c.model.stages = 2;
  });
  refused("training.learning_rate is 0", [](Config& c) { c.training.learning_rate = 0; });
  refused("training.average_last is 2 and training.average_best 3", [](Config& c) {
    c.training.average_last = 2;
    c.training.average_best = 3;
  });

  Config config = preset("patch-transformer");
  config.run = {.data = "a \"b\"", .scenes = 7, .image_size = 48, .seed = 5, .threads = 3, .steps = 12};
  Config copy;
  settings_of(copy).update_from_json(to_json(config), "config.json");
  CHECK(copy == config);
}

/// Writes scenes as a folder of pictures and captions; returns its path.
std::string write_folder(const TemporaryDirectory& directory, const std::string& folder) {
  const std::vector<Scene> scenes = generate_scenes({.count = 10, .size = 32});
  const std::vector<CaptionedPicture> captions = to_captions(scenes);
  std::string lines, train, dev;
  for (size_t i = 0; i < scenes.size(); ++i) {
    const std::string name = captions[i].name + ".png";
    directory.write(folder + "/images/" + name, encode_png(scenes[i].picture));
    for (const std::string& caption : captions[i].captions) lines += name + '\t' + caption + '\n';
    (i < 8 ? train : dev) += name + '\n';
  }
  directory.write(folder + "/captions.tsv", lines);
  directory.write(folder + "/train.txt", train);
  directory.write(folder + "/dev.txt", dev);
  return directory / folder;
}

Words small_training(const std::string& out, const Words& more = {}) {
  return testing::small_caption_training(out, {}, more);
}

TEST_CASE("a training of captions leaves weights, settings and a log", "[program][captioning]") {
  const TemporaryDirectory directory;
  const std::string data = write_folder(directory, "data");
  directory.write("data/images/scene3.png", "no picture");
  const std::string out = directory / "out";
  const Finished trained = run(kProgram, small_training(out, {"--data", data, "--json", "--seed", "7"}));
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  CHECK_THAT(trained.err, ContainsSubstring("8 pictures with 40 captions from " + data + "/captions.tsv"));
  CHECK_THAT(trained.err, ContainsSubstring("1 unreadable: " + data + "/images/scene3.png"));
  CHECK_THAT(trained.out, ContainsSubstring("% of the time waiting for pictures"));
  const Json result = Json::parse(testing::last_line(trained.out));
  CHECK(result["complete"] == true);
  CHECK(result["share_waiting"].get<double>() < 1);

  std::istringstream log(read_bytes(out + "/log.jsonl"));
  Json best;
  int evaluations = 0;
  for (std::string line; std::getline(log, line); ++evaluations) {
    if (const Json entry = Json::parse(line); entry["best"] == true) best = entry;
  }
  CHECK(evaluations == 2);
  for (const char* figure : {"loss", "perplexity", "bleu1", "bleu4", "cider"}) CHECK(best[figure] == result[figure]);
  CHECK(best["step"] == result["best_step"]);

  const Json config = Json::parse(read_bytes(out + "/config.json"));
  CHECK(config["run"]["seed"] == 7);
  CHECK(config["run"]["steps"] == result["steps"]);
  CHECK(Json::parse(Checkpoint::load(out + "/best.h5").text("config")) == config);
}

TEST_CASE("a captioning run that was interrupted ends like one left alone", "[program][captioning]") {
  testing::check_interrupted_run(kProgram, [](const std::string& out) {
    return small_training(out,
                          {"--set", "training.save_every=0", "--set", "training.evaluate_every=2", "--set",
                           "training.average_decay=0.9", "--set", "model.attention=hard-image", "--precision", "bf16"});
  });
}

TEST_CASE("pictures and captions that cannot be trained on are named", "[program][captioning]") {
  const TemporaryDirectory directory;
  const std::string out = directory / "out";
  const auto refused = [&](const std::string& folder, const std::string& error, const Words& more = {}) {
    Words words = {"--data", folder};
    words.insert(words.end(), more.begin(), more.end());
    check_error(run(kProgram, small_training(out, words)), 1, error);
    CHECK_FALSE(std::filesystem::exists(out + "/config.json"));
  };
  refused(directory / "nowhere", directory / "nowhere");
  const std::string data = write_folder(directory, "data");
  refused(data, "are longer than 2 tokens; raise the limit", {"--set", "text.max_length=2"});
  refused(data, "pictures of 20 x 20 given, expected a multiple of 8", {"--set", "run.image_size=20"});
  for (int i = 8; i < 10; ++i) directory.write("data/images/scene" + std::to_string(i) + ".png", "");
  refused(data, "none of 2 pictures can be read");
  std::filesystem::remove(data + "/dev.txt");
  refused(data, "no dev.txt that lists the pictures of the split");
  directory.write("data/captions.tsv", "scene0.png a circle\n");
  refused(data, "captions.tsv: line 1: ");
}

TEST_CASE("wrong usage of a captioning training ends with status 2", "[program][captioning]") {
  const TemporaryDirectory directory;
  const std::string out = directory / "out";
  const struct {
    Words words;
    const char* error;
  } cases[] = {
      {{"train"}, "--out"},
      {{"train", "--out", out, "--preset", "vit"},
       "preset 'vit' is not known, expected one of scenes, show-attend-tell"},
      {{"train", "--out", out, "--set", "model.attention=soft"}, "expected one of none, dot"},
      {{"train", "--out", out, "--set", "training.flip=2"}, "training.flip is 2"},
  };
  for (const auto& [words, error] : cases) check_error(run(kProgram, words), 2, error);
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE("captioning resumes only a run of its own", "[program][captioning]") {
  const TemporaryDirectory directory;
  const std::string out = directory / "out";
  REQUIRE(run(kProgram, small_training(out, {"--epochs", "1"})).status == 0);
  check_error(run(kProgram, {"train", "--resume", "--out", out, "--set", "model.dim=32"}), 2,
              "model.dim is 32 here but 16 in the run");
  Checkpoint other;
  other.put_text("config", R"({"program": "attune-translation"})");
  std::filesystem::create_directories(directory / "other");
  other.save(directory / "other/last.h5");
  check_error(run(kProgram, {"train", "--resume", "--out", directory / "other"}), 1,
              "other/last.h5: made by program \"attune-translation\", expected attune-captioning");
}

}  // namespace
}  // namespace attune::examples::captioning
