#include <memory>
#include <optional>

#include "examples/support/initial.h"
#include "examples/support/training_run.h"
#include "examples/translation/commands.h"
#include "examples/translation/corpus.h"
#include "examples/translation/snapshot.h"
#include "examples/translation/trainer.h"

namespace attune::examples::translation {
namespace {

void set_languages(const TrainOptions& options, RunConfig& run) {
  if (options.data) run.data = *options.data;
  if (options.source) run.source = *options.source;
  if (options.target) run.target = *options.target;
  if (run.data.empty()) {
    if (run.source.empty()) run.source = "en";
    if (run.target.empty()) run.target = "es";
    if (run.source != "en" || run.target != "es") {
      throw UsageError("--source and --target are given without --data: the embedded grammar is from en to es");
    }
  }
  if (run.source.empty() || run.target.empty()) {
    throw UsageError("--data needs --source and --target: the languages, as in --source en --target de");
  }
}

Config requested(const TrainOptions& options, const std::optional<Config>& saved, Initial<Snapshot>& initial) {
  return requested_config(
      options, saved,
      [&] {
        Config config = preset(options.preset.value_or(options.data ? "transformer-tiny" : "grammar"));
        if (options.init && !options.preset && !options.config) {
          const Config& trained = initial(*options.init).config;
          config.text = trained.text;
          config.model = trained.model;
        }
        return config;
      },
      [&](Config& config) { set_languages(options, config.run); });
}

}  // namespace

int train(const TrainOptions& options) {
  Initial initial(load_snapshot);
  if (!options.resume) requested(options, {}, initial);  // what is wrong in it comes before any folder is made
  TrainingRun run(options, "attune-translation");
  const std::optional<Checkpoint>& saved = run.saved();
  Config config = run.configured<Config>([&](const auto& begun) { return requested(options, begun, initial); });
  const Snapshot* first = saved ? nullptr : initial.of(config.run.init);

  const Corpus corpus = load_corpus(config.run);
  const TextSides sides = saved   ? sides_of(*saved, config, run.saved_path())
                          : first ? TextSides{.source = first->source, .target = first->target}
                                  : learn_sides(config, corpus.train);
  const TrainingData data = encode(config, sides, corpus);
  return run.go(
      [&](int64_t steps) {
        if (steps > 0) config.run.steps = steps;
        auto trainer = std::make_unique<Trainer>(config, sides, data, options.device, options.graphs);
        if (first != nullptr) begin_with(*trainer, first->model->state_dict(), config.run.init);
        return trainer;
      },
      data.description);
}

}  // namespace attune::examples::translation
