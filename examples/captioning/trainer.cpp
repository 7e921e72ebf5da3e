#include "examples/captioning/trainer.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <utility>

#include "examples/support/placement.h"
#include "examples/support/saved_parts.h"
#include "examples/support/table.h"
#include "framework/random.h"

namespace attune::examples::captioning {
namespace {

std::unique_ptr<CaptioningModel> seeded_model(const Config& config, const TextCodec& codec, Device device) {
  manual_seed(config.run.seed);
  auto model = make_model(config, codec);
  place(*model, {device, parse_precision(config.run.precision)});
  return model;
}

CaptionLoaderOptions loader_options(const Config& config) {
  const TrainingConfig& training = config.training;
  return {.loader = {.batches = {.max_examples = training.pictures, .seed = config.run.seed}},
          .augmentation = {.min_area = training.min_area,
                           .max_stretch = training.max_stretch,
                           .flip = training.flip,
                           .brightness = training.brightness,
                           .contrast = training.contrast,
                           .saturation = training.saturation},
          .captions_per_picture = training.captions_per_picture};
}

}  // namespace

Trainer::Trainer(const Config& config, const std::shared_ptr<const TextCodec>& codec, const TrainingData& data,
                 Device device, GraphMode graphs)
    : Trainer(seeded_model(config, *codec, device), config, codec, data, device, graphs) {}

Trainer::Trainer(std::unique_ptr<CaptioningModel> model, const Config& config, std::shared_ptr<const TextCodec> codec,
                 const TrainingData& data, Device device, GraphMode graphs)
    : TextTrainer(*model, {.program = "attune-captioning",
                           .training = config.training,
                           .steps = config.run.steps,
                           .averaged = averaged_parts(*model),
                           .shown = {{.name = "bleu1", .title = "BLEU-1", .factor = 100},
                                     {.name = "bleu4", .title = "BLEU-4", .factor = 100},
                                     {.name = "cider", .title = "CIDEr", .digits = 3}},
                           .decisive = config.training.select,
                           .graphs = graphs}),
      config_(config),
      codec_(std::move(codec)),
      model_(std::move(model)),
      loss_(config),
      train_(data.train, data.pictures, loader_options(config)),
      validate_(config, codec_, data) {
  loss_.to(device);
}

TextTrainer::Learned Trainer::learn_batch() {
  const CaptionBatch& batch = next_batch(train_);
  const Tensor inputs[] = {batch.pictures, batch.picture_of, batch.target_in, batch.target_out};
  const std::vector<Tensor>& found = graphs().run(inputs, [&](std::vector<Tensor>& results) {
    const CaptionLoss::Result result = loss_(*model_, batch);
    result.loss.backward();
    results.push_back(result.cross_entropy);
  });
  return {.loss = found[0], .tokens = batch.target_tokens, .units = batch.pictures.dim(0)};
}

TrainerBase::StepReport Trainer::report_step() {
  const double waited = train_.seconds_waited();
  const auto begin = std::chrono::steady_clock::now();
  StepReport report = TextTrainer::report_step();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double waiting = train_.seconds_waited() - waited;
  seconds_ += seconds;
  seconds_waited_ += waiting;
  report.figures[1] = {"waiting", 100 * waiting / seconds, 1, "%"};
  return report;
}

double Trainer::share_waited() const { return seconds_ > 0 ? seconds_waited_ / seconds_ : 0; }

void Trainer::put_codecs(Checkpoint& checkpoint) const { put_codec(checkpoint, kCodecPath, *codec_); }

void Trainer::put_state(Checkpoint& checkpoint) const { checkpoint.put_tensors("loss", loss_.state_dict()); }

void Trainer::restore_state(const Checkpoint& checkpoint) { loss_.load_state_dict(checkpoint.tensors("loss")); }

std::string Trainer::description() const {
  const TrainingConfig& training = config_.training;
  return fmt::format("{}{} pictures with up to {} captions each, {} an epoch", description_begun(), training.pictures,
                     training.captions_per_picture, with_commas(steps_per_epoch()));
}

std::string Trainer::summary() const {
  return fmt::format("{}; {:.1f}% of the time waiting for pictures", TextTrainer::summary(), 100 * share_waited());
}

nlohmann::ordered_json Trainer::result() const {
  nlohmann::ordered_json json = TextTrainer::result();
  json["share_waiting"] = share_waited();
  return json;
}

}  // namespace attune::examples::captioning
