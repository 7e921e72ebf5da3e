#include <memory>
#include <optional>
#include <utility>

#include "examples/captioning/commands.h"
#include "examples/captioning/corpus.h"
#include "examples/captioning/snapshot.h"
#include "examples/captioning/trainer.h"
#include "examples/support/initial.h"
#include "examples/support/saved_parts.h"
#include "examples/support/training_run.h"

namespace attune::examples::captioning {
namespace {

Config requested(const TrainOptions& options, const std::optional<Config>& saved, Initial<Snapshot>& initial) {
  return requested_config(
      options, saved,
      [&] {
        Config config = preset(options.preset.value_or(options.data ? "show-attend-tell" : "scenes"));
        if (options.init && !options.preset && !options.config) {
          const Config& trained = initial(*options.init).config;
          config.text = trained.text;
          config.model = trained.model;
          config.run.image_size = trained.run.image_size;
        }
        return config;
      },
      [&](Config& config) {
        if (options.data) config.run.data = *options.data;
      });
}

}  // namespace

int train(const TrainOptions& options) {
  Initial initial(load_snapshot);
  if (!options.resume) requested(options, {}, initial);  // what is wrong in it comes before any folder is made
  TrainingRun run(options, "attune-captioning");
  const std::optional<Checkpoint>& saved = run.saved();
  Config config = run.configured<Config>([&](const auto& begun) { return requested(options, begun, initial); });
  const Snapshot* first = saved ? nullptr : initial.of(config.run.init);

  Corpus corpus = load_corpus(config.run);
  const std::shared_ptr<const TextCodec> codec = saved   ? codec_of(*saved, kCodecPath, run.saved_path())
                                                 : first ? first->codec
                                                         : learn_words(corpus.train.captions, config.text.min_count);
  const TrainingData data = encode(config, *codec, std::move(corpus));
  return run.go(
      [&](int64_t steps) {
        if (steps > 0) config.run.steps = steps;
        auto trainer = std::make_unique<Trainer>(config, codec, data, options.device, options.graphs);
        if (first != nullptr) begin_with(*trainer, first->model->state_dict(), config.run.init);
        return trainer;
      },
      data.description);
}

}  // namespace attune::examples::captioning
