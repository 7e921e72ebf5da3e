#include <fmt/format.h>

#include <memory>
#include <optional>

#include "examples/sentiment/commands.h"
#include "examples/sentiment/corpus.h"
#include "examples/sentiment/snapshot.h"
#include "examples/sentiment/trainer.h"
#include "examples/support/initial.h"
#include "examples/support/table.h"
#include "examples/support/training_run.h"

namespace attune::examples {
namespace {

Config requested(const TrainOptions& options, const std::optional<Config>& saved, Initial<Snapshot>& initial) {
  return requested_config(
      options, saved,
      [&] {
        Config config = preset(options.preset.value_or(options.data ? "sst2" : "reviews"));
        if (options.init && !options.preset && !options.config) {
          const Config& trained = initial(*options.init).config;
          config.text = trained.text;
          config.model = trained.model;
        }
        return config;
      },
      [&](Config& config) {
        if (options.data) config.run.data = *options.data;
        if (options.dev) config.run.dev = *options.dev;
        if (config.run.data.empty() && !config.run.dev.empty()) throw UsageError("--dev is given without --data");
      });
}

}  // namespace

int train(const TrainOptions& options) {
  Initial initial(load_snapshot);
  if (!options.resume) requested(options, {}, initial);  // what is wrong in it comes before any folder is made
  TrainingRun run(options, "attune-sentiment");
  const std::optional<Checkpoint>& saved = run.saved();
  Config config = run.configured<Config>([&](const auto& begun) { return requested(options, begun, initial); });
  const Snapshot* first = saved ? nullptr : initial.of(config.run.init);

  const Corpus corpus = load_corpus(config.run);
  const Vocabulary vocabulary = saved   ? vocabulary_of(*saved, run.saved_path())
                                : first ? first->vocabulary
                                        : make_vocabulary(config.text, corpus.train);
  const LabelledSequences train = encode(config.text, vocabulary, corpus.train).sequences;
  const EncodedClassification dev = encode(config.text, vocabulary, corpus.dev);
  return run.go(
      [&](int64_t steps) {
        if (steps > 0) config.run.steps = steps;
        auto trainer =
            std::make_unique<Trainer>(config, vocabulary, train, dev.sequences, options.device, options.graphs);
        if (first != nullptr) begin_with(*trainer, first->model->state_dict(), config.run.init);
        return trainer;
      },
      fmt::format("{}\n{} tokens, vocabulary {}, {:.2f}% of the development words unknown", corpus.description,
                  with_commas(train.token_count()), with_commas(vocabulary.size()),
                  100.0 * static_cast<double>(dev.unknown) / static_cast<double>(dev.sequences.token_count())));
}

}  // namespace attune::examples
