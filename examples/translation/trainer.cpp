#include "examples/translation/trainer.h"

#include <fmt/format.h>

#include <utility>

#include "datasets/bpe_dropout.h"
#include "examples/support/placement.h"
#include "examples/support/table.h"
#include "framework/random.h"

namespace attune::examples::translation {
namespace {

std::unique_ptr<TranslationModel> seeded_model(const Config& config, const TextSides& sides, Device device) {
  manual_seed(config.run.seed);
  auto model = make_model(config, sides);
  place(*model, {device, parse_precision(config.run.precision)});
  return model;
}

/// Times that a batch is learned at once.
int64_t repeats_of(const Config& config) { return config.training.r_drop == 0 ? 1 : 2; }

/// Never longer than the model may be given.
Reading reading_of(const TextConfig& text, const TextCodec& codec) {
  if (text.dropout == 0) return {};
  return [dropout = BpeDropout(codec, text.dropout), most = static_cast<size_t>(text.max_length)](
             std::span<const int64_t> tokens, RandomStream& random, std::vector<int64_t>& read) {
    dropout(tokens, random, read);
    if (read.size() > most) read.assign(tokens.begin(), tokens.end());
  };
}

}  // namespace

Trainer::Trainer(const Config& config, const TextSides& sides, const TrainingData& data, Device device,
                 GraphMode graphs)
    : Trainer(seeded_model(config, sides, device), config, sides, data, graphs) {}

Trainer::Trainer(std::unique_ptr<TranslationModel> model, const Config& config, TextSides sides,
                 const TrainingData& data, GraphMode graphs)
    : TextTrainer(*model, {.program = "attune-translation",
                           .training = config.training,
                           .steps = config.run.steps,
                           .averaged = model->named_parameters(),
                           .shown = {{.name = "bleu", .title = "BLEU"}},
                           .decisive = "bleu",
                           .graphs = graphs}),
      config_(config),
      sides_(std::move(sides)),
      model_(std::move(model)),
      loss_({.label_smoothing = config.training.label_smoothing,
             .ignore_index = TextCodec::kPad,
             .reduction = Reduction::kSum,
             .r_drop = config.training.r_drop}),
      train_(data.train,
             {.batches = {.max_examples = 0, .max_tokens = config.training.max_tokens, .seed = config.run.seed}},
             {.source = reading_of(config.text, *sides_.source.codec),
              .target = reading_of(config.text, *sides_.target.codec),
              .repeats = repeats_of(config)}),
      validate_(config, sides_, data.val) {}

TextTrainer::Learned Trainer::learn_batch() {
  const PairBatch& batch = next_batch(train_);
  const Tensor inputs[] = {batch.source, batch.source_lengths, batch.target_in, batch.target_out};
  const std::vector<Tensor>& found = graphs().run(inputs, [&](std::vector<Tensor>& results) {
    const Variable features = (*model_)(batch.source, batch.source_lengths, batch.target_in);  // [B, T, D]
    const Variable loss = loss_(features, model_->decoder().head(), batch.target_out);
    loss.backward();
    results.push_back(loss.value());
  });
  return {.loss = found[0],
          .tokens = batch.target_tokens,
          .units = (batch.source_tokens + batch.target_tokens) / repeats_of(config_)};
}

std::string Trainer::description() const {
  return fmt::format("{}up to {} tokens, {} an epoch", description_begun(), with_commas(config_.training.max_tokens),
                     with_commas(steps_per_epoch()));
}

}  // namespace attune::examples::translation
