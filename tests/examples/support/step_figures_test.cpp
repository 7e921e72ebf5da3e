// Training steps on a CUDA device: nobody waits for them, and what they are said to have found is what a CPU finds.

#include "examples/support/step_figures.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

#include "datasets/reviews.h"
#include "examples/sentiment/corpus.h"
#include "examples/sentiment/trainer.h"
#include "tests/support/devices.h"
#include "tests/support/paths.h"

namespace attune::examples {
namespace {

using Catch::Approx;
using testing::read_bytes;
using testing::TemporaryDirectory;

std::unique_ptr<TrainerBase> sentiment(Device device, GraphMode graphs) {
  Config config;
  config.model = {.dim = 16, .heads = 2, .blocks = 1, .ffn_dim = 32};
  config.training.epochs = 20;
  config.training.batch_size = 64;  // all: batches are of one shape
  config.training.average_decay = 0.9;
  config.training.word_dropout = 0.1;
  ClassificationData data;
  data.examples = generate_reviews({.count = 64, .split = ReviewSplit::kTrain});
  Vocabulary vocabulary = make_vocabulary(config.text, data);
  const LabelledSequences sequences = encode(config.text, vocabulary, data).sequences;
  return std::make_unique<Trainer>(config, vocabulary, sequences, sequences, device, graphs);
}

double loss_of(TrainerBase& trainer) { return trainer.report_step().figures[0].value; }

/// Of the steps since the last evaluation.
double loss_sum(const Checkpoint& checkpoint) {
  return nlohmann::json::parse(checkpoint.text("state/progress")).at("since_evaluation").at("loss_sum");
}

TEST_CASE("a training step waits for no CUDA device and its figures come one step late", "[examples][cuda]") {
  const Device cuda = testing::cuda_or_skip();
  if (!testing::is_emulated(cuda)) SKIP("a device that counts how often it is waited for");
  const TemporaryDirectory directory;
  const auto bytes = [&](TrainerBase& trainer) {
    trainer.checkpoint().save(directory / "run.h5");
    return read_bytes(directory / "run.h5");
  };
  std::vector<double> losses;
  const std::unique_ptr<TrainerBase> near = sentiment(Device::cpu(), GraphMode::kOff);
  for (int step = 0; step < 6; ++step) losses.push_back(loss_of(*near));
  const double sum = loss_sum(near->checkpoint());

  std::string saved, evaluated;
  for (const GraphMode graphs : {GraphMode::kOff, GraphMode::kOn}) {
    const int64_t replays = testing::emulated_replays();
    const std::unique_ptr<TrainerBase> far = sentiment(cuda, graphs);  // begins the random numbers anew
    for (int step = 0; step < 6; ++step) {
      INFO(far->description() << ", step " << step);
      const int64_t before = testing::emulated_waits();
      CHECK(loss_of(*far) == Approx(losses[step == 0 ? 0 : static_cast<size_t>(step - 1)]).epsilon(1e-5));
      CHECK(testing::emulated_waits() == before);
    }
    // Nothing is missing from sums, and graphs change nothing.
    const Checkpoint checkpoint = far->checkpoint();
    CHECK(loss_sum(checkpoint) == Approx(sum).epsilon(1e-5));
    const std::string own = bytes(*far);
    CHECK((saved.empty() || own == saved));
    saved = own;
    // What was on its way is not part of a run that is restored.
    far->report_step();
    far->restore(Checkpoint::load(directory / "run.h5"));
    CHECK((bytes(*far) == saved));
    far->report_step();
    const std::string line = far->report_evaluation().line;
    CHECK((evaluated.empty() || line == evaluated));
    evaluated = line;
    CHECK((testing::emulated_replays() - replays > 4) == (graphs == GraphMode::kOn));
  }
}

}  // namespace
}  // namespace attune::examples
