// A run that is killed at any moment and resumed ends like one that was left alone.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <string>

#include "examples/sentiment/corpus.h"
#include "examples/sentiment/trainer.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"
#include "tests/support/sentiment.h"
#include "tests/support/training_runs.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using testing::Finished;
using testing::read_bytes;
using testing::run;
using testing::small_training;
using testing::TemporaryDirectory;

constexpr const char* kProgram = "attune-sentiment";

/// Dropout of all kinds, an average, evaluations inside epochs, and a save at every step.
const std::vector<std::string> kEverything = {
    "--set", "training.save_every=0",      "--set", "training.evaluations_per_epoch=2",
    "--set", "training.average_decay=0.9", "--set", "training.word_dropout=0.1",
    "--set", "training.batch_size=8",      "--set", "model.members=2"};

/// The data lie in the file that `directory` has.
testing::TrainCommand training(const TemporaryDirectory& directory) {
  const std::string data = directory.write("data.tsv", testing::review_lines(120));
  return [data](const std::string& out) { return small_training(data, out, kEverything); };
}

TEST_CASE("a run killed again and again ends with the same bytes", "[program][sentiment]") {
  const TemporaryDirectory directory;
  testing::check_killed_run(kProgram, training(directory));
}

TEST_CASE("an interrupted run says how to go on, and goes on", "[program][sentiment]") {
  const TemporaryDirectory directory;
  testing::check_interrupted_run(kProgram, training(directory));
}

TEST_CASE("a trainer restored in the middle of an epoch repeats every step", "[sentiment]") {
  using namespace examples;
  const TemporaryDirectory directory;
  Config config;
  config.model = {.members = 2, .dim = 16, .heads = 2, .blocks = 2, .ffn_dim = 32, .neighbours = 1};
  config.training.average_decay = 0.9;
  config.training.word_dropout = 0.2;
  config.training.batch_size = 8;
  const Corpus corpus = [&] {
    RunConfig paths;
    paths.data = paths.dev = directory.write("data.tsv", testing::review_lines(100));
    return load_corpus(paths);
  }();
  const Vocabulary vocabulary = make_vocabulary(config.text, corpus.train);
  const LabelledSequences data = encode(config.text, vocabulary, corpus.train).sequences;
  const auto bytes = [&](Trainer& trainer) {
    trainer.checkpoint().save(directory / "state.h5");
    return read_bytes(directory / "state.h5");
  };

  Trainer first(config, vocabulary, data, data);
  while (first.step() < first.steps_per_epoch() + 5) first.train_step();
  first.evaluate();
  first.train_step();
  first.checkpoint().save(directory / "middle.h5");
  while (!first.done()) first.train_step();

  Trainer second(config, vocabulary, data, data);
  second.train_step();  // a history of its own, to be forgotten
  second.restore(Checkpoint::load(directory / "middle.h5"));
  CHECK(second.step() == second.steps_per_epoch() + 6);
  while (!second.done()) second.train_step();
  CHECK(bytes(first) == bytes(second));
}

TEST_CASE("a resumed run must be the one that was begun", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(40));
  const std::string out = directory / "out";
  REQUIRE(run(kProgram, small_training(data, out)).status == 0);
  const std::string last = read_bytes(out + "/last.h5");
  const auto refused = [&](const std::vector<std::string>& words, int status, const std::string& text) {
    const Finished finished = run(kProgram, words);
    CHECK(finished.status == status);
    CHECK_THAT(finished.err, ContainsSubstring(text));
    CHECK(std::count(finished.err.begin(), finished.err.end(), '\n') == 1);
    CHECK(read_bytes(out + "/last.h5") == last);
  };
  refused(small_training(data, out), 1, "holds a run already; go on with it by --resume");
  refused({"train", "--out", out, "--resume", "--seed", "2"}, 2, "--resume: run.seed is 2 here but 1 in the run");
  refused({"train", "--out", out, "--resume", "--threads", "1"}, 2, "run.threads is 1 here but 2");
  refused({"train", "--out", out, "--resume", "--set", "model.dim=32"}, 2, "model.dim is 32 here but 16");
  directory.write("data.tsv", testing::review_lines(41));
  refused({"train", "--out", out, "--resume"}, 1, "cannot be resumed: loader: the position was saved with other data");
}

}  // namespace
}  // namespace attune
